"""From stored frames to pixels: decode, resize, crop, normalise; pure tensor functions in that order.

Contract: frames are ``string [n]`` (JPEG bytes) or ``uint8 [n, h, w, 3]``, in time order, n dynamic. Whatever the route
(tf.data, ``tf.map_fn`` in a serving signature, eager) the same frames give the same uint8 pixels, bit for bit: sampling
comes before decoding, JPEG is decoded with TensorFlow's default DCT method, every resize is bilinear with half-pixel
centres and no antialiasing and truncates to uint8, as DMVR does, and all of it runs on the CPU. `normalise` is the one
function that turns pixels into the network's input.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf

from models.clips.sampling import CENTRE_VIEW, ClipConfig, ViewsConfig, view_indices


def stored_frames(feature: tf.Tensor | tf.SparseTensor) -> tf.Tensor:
    """Frames of one parsed example, by either storage of `schemas.features.stored_spec`.

    Args:
      feature: SparseTensor of JPEG bytes with dense shape [n], or a string scalar, a serialised uint8 [n, h, w, 3].

    Returns:
      string [n] or uint8 [n, h, w, 3].
    """
    if isinstance(feature, tf.SparseTensor):
        return feature.values
    return tf.ensure_shape(tf.io.parse_tensor(feature, tf.uint8), [None, None, None, 3])


def decode_frame(frame: tf.Tensor) -> tf.Tensor:
    """JPEG bytes (string scalar) to uint8 [h, w, 3]; a frame that is uint8 already passes through."""
    return tf.io.decode_jpeg(frame, channels=3) if frame.dtype == tf.string else frame


def frame_size(frame: tf.Tensor) -> tf.Tensor:
    """(height, width) in pixels, int32 [2], of a JPEG (string scalar; only its header is read) or uint8 [h, w, 3]."""
    return (tf.io.extract_jpeg_shape(frame) if frame.dtype == tf.string else tf.shape(frame))[:2]


def resized_size(size: tf.Tensor, smallest: int) -> tf.Tensor:
    """(height, width), int32 [2], of frames of `size` after `resize_smallest`: max(r, h * r // w) and likewise."""
    return tf.maximum(smallest, size * smallest // size[::-1])


def resize(frames: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Bilinear resize of uint8 [..., h, w, 3] to `size`, half-pixel centres, no antialiasing, truncated to uint8."""
    return tf.cast(tf.image.resize(frames, size, antialias=False), tf.uint8)


def resize_smallest(
    frames: tf.Tensor,
    smallest: int,
    finish: Callable[[tf.Tensor], tf.Tensor] = tf.identity,
    finished_shape: Sequence[int | None] = (None, None, 3),
) -> tf.Tensor:
    """Decodes the frames of one video, resizes them to a short side of `smallest` pixels, aspect kept; finishes each.

    Sizes and truncation are DMVR's. Frame by frame, so that float intermediates never exceed one frame. Whether a
    resize is needed is checked once, as every operation repeated per frame slows the input.

    Args:
      frames: string [n] of JPEG bytes or uint8 [n, h, w, 3]; n is 1 or more, all frames of one size.
      smallest: Short side, in pixels.
      finish: Last operation on each frame, uint8 [h, w, 3] to uint8 of `finished_shape`.
      finished_shape: Shape of one finished frame.

    Returns:
      uint8 [n, *finished_shape].
    """
    stored = frame_size(frames[0])
    size = resized_size(stored, smallest)

    def each(prepare):
        spec = tf.TensorSpec(finished_shape, tf.uint8)
        return tf.map_fn(lambda frame: finish(prepare(frame)), frames, fn_output_signature=spec)

    return tf.cond(
        tf.reduce_all(stored == size),
        lambda: each(decode_frame),
        lambda: each(lambda frame: resize(decode_frame(frame), size)),
    )


def crop(frames: tf.Tensor, top: tf.Tensor, left: tf.Tensor, size: int) -> tf.Tensor:
    """The square [n, size, size, 3] of uint8 [n, h, w, 3] whose first pixel is (top, left).

    Raises:
      tf.errors.InvalidArgumentError: the square is not inside the frames; the message gives their shape.
    """
    corner, shape = tf.stack([top, left]), tf.shape(frames)
    inside = tf.reduce_all((corner >= 0) & (corner <= shape[1:3] - size))
    message = f"A crop of {size} x {size} pixels must lie inside the frames; offset and shape [n, h, w, 3]:"
    with tf.control_dependencies([tf.debugging.Assert(inside, [message, corner, shape], summarize=4)]):
        cropped = _cut(frames, corner, tf.constant([size, size]))
    return tf.ensure_shape(cropped, [frames.shape[0], size, size, 3])


def _cut(frames: tf.Tensor, corner: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """The rectangle of uint8 [n, h, w, 3] of `size`, (height, width), whose first pixel is `corner`, int32 [2] each."""
    return tf.slice(frames, tf.pad(corner, [[1, 1]]), tf.pad(size, [[1, 1]], constant_values=-1))


def central_crop(frames: tf.Tensor, size: int) -> tf.Tensor:
    """Centre square of uint8 [n, h, w, 3], offsets rounded down; smaller frames are padded with zeros (black).

    What tf.image.resize_with_crop_or_pad does, in a fifth of its operations: each view that is served has them.
    """
    stored = tf.shape(frames)[1:3]
    kept = tf.minimum(stored, size)
    missing = size - kept
    before = missing // 2
    cropped = _cut(frames, (stored - kept) // 2, kept)
    padded = tf.pad(cropped, tf.pad(tf.stack([before, missing - before], axis=1), [[1, 1], [0, 0]]))
    return tf.ensure_shape(padded, [frames.shape[0], size, size, 3])


def three_crops(frames: tf.Tensor, size: int) -> list[tf.Tensor]:
    """Three squares along the longer side, each uint8 [n, size, size, 3], of uint8 [n, h, w, 3].

    Top, centre, bottom where the height exceeds the width, else left, centre, right. The centre is rounded up, unlike
    `central_crop` (spec §4.5, and the reference).

    Raises:
      tf.errors.InvalidArgumentError: the frames are smaller than the crop.
    """
    shape = tf.shape(frames)
    room = shape[1:3] - size
    message = f"frames must be at least {size} x {size} pixels; shape [n, h, w, 3]:"
    with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(room >= 0), [message, shape], summarize=4)]):
        centre = (room + 1) // 2
    # The longer side is the one with more room; the width, where both are equal.
    moves = tf.stack([room[0] > room[1], room[0] <= room[1]])
    corners = [tf.where(moves, at, centre) for at in (tf.zeros_like(room), centre, room)]
    crops = [_cut(frames, corner, tf.constant([size, size])) for corner in corners]
    return [tf.ensure_shape(one, [frames.shape[0], size, size, 3]) for one in crops]


def spatial_views(frames: tf.Tensor, size: int, spatial: int) -> list[tf.Tensor]:
    """The 1 (centre) or 3 crops of uint8 [n, h, w, 3], each uint8 [n, size, size, 3]."""
    return [central_crop(frames, size)] if spatial == 1 else three_crops(frames, size)


def make_views(frames: tf.Tensor, clip: ClipConfig, views: ViewsConfig, and_centre: bool = False) -> tf.Tensor:
    """All views of one video, for evaluation and serving.

    Each stored frame is decoded and resized at most once, however many views use it.

    Args:
      frames: string [n] of JPEG bytes, or uint8 [n, h, w, 3].
      clip: Length, stride and sizes.
      views: Number of clips and crops; 1x1 is the middle clip with the central crop.
      and_centre: Adds that middle clip with the central crop as the last view.

    Returns:
      uint8 [V, T, S, S, 3]; crop 0 with every clip first, then crop 1, then crop 2 (spec §4.5).

    Raises:
      tf.errors.InvalidArgumentError: no frames, or bytes that are no JPEG.
    """
    wanted = (views, CENTRE_VIEW) if and_centre else (views,)
    # The GPU's resize rounds differently, and truncation turns that into a whole grey level.
    with tf.device("CPU:0"):
        indices = [view_indices(tf.shape(frames)[0], clip, each.temporal) for each in wanted]
        used, position = tf.unique(tf.reshape(tf.concat(indices, axis=0), [-1]))
        decoded = resize_smallest(tf.gather(frames, used), clip.min_resize)
        clips = tf.split(tf.reshape(position, [-1, clip.num_frames]), [each.temporal for each in wanted])
        crops, at = [], []
        for each, of_clips in zip(wanted, clips, strict=True):
            for cropped in spatial_views(decoded, clip.crop_size, each.spatial):
                at.append(of_clips + len(crops) * tf.size(used))
                crops.append(cropped)
        # One copy of all crops, and one of the views: they are tens of megabytes.
        return tf.gather(tf.concat(crops, axis=0), tf.concat(at, axis=0))


def inside(box: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Which pixels are in a box, int32 [4] of (top, left, bottom, right), the last two exclusive: bool [H, W, 1]."""
    top, left, bottom, right = tf.unstack(box)
    rows, columns = tf.range(height), tf.range(width)
    in_rows, in_columns = (rows >= top) & (rows < bottom), (columns >= left) & (columns < right)
    return in_rows[:, tf.newaxis, tf.newaxis] & in_columns[tf.newaxis, :, tf.newaxis]


def planes(pixels: tf.Tensor) -> tf.Tensor:
    """[..., T, H, W, 3] to [..., 3, T, H, W], where a processor's vectors hold values of one channel: twice as fast."""
    rank = pixels.shape.rank
    return tf.transpose(pixels, [*range(rank - 4), rank - 1, *range(rank - 4, rank - 1)])


def interleaved(planes: tf.Tensor) -> tf.Tensor:
    """[..., 3, T, H, W] to [..., T, H, W, 3], as the network takes clips."""
    rank = planes.shape.rank
    return tf.transpose(planes, [*range(rank - 4), *range(rank - 3, rank), rank - 4])


def normalise(pixels: tf.Tensor) -> tf.Tensor:
    """uint8 pixels of any shape to the network's input, float32 in [-1, 1]: pixel * (2 / 255) - 1."""
    return tf.cast(pixels, tf.float32) * tf.constant(2 / 255, tf.float32) - 1.0
