"""From Transform's output to batches: training data that can be resumed at any step, and evaluation data.

An element is a dict: "clip" uint8, "labels" {head: int32 [B]}, "id" string [B]; training adds "augment", the draws that
`models.augment.apply` needs on the device. Serialised examples are read, shuffled and skipped; only frames that a clip
uses are decoded. Order and draws depend on `seed` and on the position in the stream alone, never on timing.
"""

from __future__ import annotations

import collections
from collections.abc import Sequence

import tensorflow as tf

from models import augment, clips
from models.augment import AugmentConfig
from models.clips import ClipConfig, ViewsConfig
from schemas import features
from schemas.features import Storage

_FILES_AT_ONCE = 16


def host_files(files: Sequence[str], index: int, hosts: int) -> list[str]:
    """The files that host `index` of `hosts` reads: every `hosts`-th, in sorted order.

    Raises:
      ValueError: fewer files than hosts.
    """
    if len(files) < hosts:
        raise ValueError(
            f"{hosts} hosts cannot share {len(files)} files: have Transform write at least {hosts} shards per split."
        )
    return sorted(files)[index::hosts]


def count_labels(files: Sequence[str], heads: Sequence[str]) -> dict[str, dict[int, int]]:
    """Number of clips by class id, for each head; frames are not parsed. Each head's values sum to the clips."""
    spec = {features.label_id_key(head): tf.io.FixedLenFeature([], tf.int64) for head in heads}
    parsed = _records(files).batch(256).map(lambda batch: tf.io.parse_example(batch, spec), tf.data.AUTOTUNE)
    counts = {head: collections.Counter() for head in heads}
    for batch in parsed.as_numpy_iterator():
        for head in heads:
            counts[head].update(batch[features.label_id_key(head)].tolist())
    return {head: dict(sorted(count.items())) for head, count in counts.items()}


def train_dataset(
    files: Sequence[str],
    *,
    heads: Sequence[str],
    storage: Storage,
    clip: ClipConfig,
    augmentation: AugmentConfig,
    batch_size: int,
    num_examples: int,
    seed: int,
    start_step: int = 0,
    shuffle_buffer: int = 1024,
) -> tf.data.Dataset:
    """Endless training batches; `start_step` = s gives what the dataset from step 0 would give after s batches.

    Every epoch sees every clip once, in an order of its own. A resumed dataset starts in the epoch that `start_step`
    falls into and reads, without decoding, what that epoch has already seen.

    Args:
      files: GZIP TFRecords of transformed examples, of this host.
      heads: Label heads.
      storage: How Transform stored the frames.
      clip: What a clip is.
      augmentation: What is drawn for each clip.
      batch_size: Clips per batch of this host, B.
      num_examples: Clips in `files` (see `count_labels`).
      seed: Of the order and of every draw.
      start_step: Batches already consumed.
      shuffle_buffer: Serialised clips held in memory to be shuffled.

    Returns:
      Dataset of {"clip": uint8 [B, T, P, P, 3] (P of `augment.window_size`), "augment": dict of [B, ...],
      "labels": {head: int32 [B]}, "id": string [B]}.

    Raises:
      ValueError: no files or examples, or an augmentation that the clip's sizes do not allow.
    """
    if not files or num_examples < 1:
        raise ValueError(f"Training needs at least one file and one clip, got {len(files)} and {num_examples}.")
    augment.window_size(clip, augmentation)
    start = start_step * batch_size
    first_epoch = start // num_examples

    def epoch(number):
        order = tf.random.experimental.stateless_shuffle(tf.constant(sorted(files)), tf.stack([seed, number]))
        return _interleave(order).shuffle(shuffle_buffer, seed=seed + number)

    def example(position, serialised):
        draw_seed = tf.stack([tf.constant(seed, tf.int64), position])
        frames, element = _parse(serialised, heads, storage)
        pixels, drawn = training_clip(frames, clip, augmentation, draw_seed)
        return element | {"clip": pixels, "augment": drawn}

    dataset = tf.data.Dataset.range(first_epoch, tf.int64.max).flat_map(epoch)
    dataset = dataset.enumerate(start=first_epoch * num_examples).skip(start - first_epoch * num_examples)
    dataset = dataset.map(example, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    dataset = dataset.batch(batch_size, drop_remainder=True, num_parallel_calls=tf.data.AUTOTUNE)
    return dataset.prefetch(tf.data.AUTOTUNE)


def eval_dataset(
    files: Sequence[str],
    *,
    heads: Sequence[str],
    storage: Storage,
    clip: ClipConfig,
    batch_size: int,
    views: ViewsConfig | None = None,
) -> tf.data.Dataset:
    """One pass over the clips in reading order; the last batch may be smaller, nothing is padded.

    Args:
      files: GZIP TFRecords of transformed examples.
      heads: Label heads.
      storage: How Transform stored the frames.
      clip: What a clip is.
      batch_size: Videos per batch, B.
      views: All views of a video; None: the centre view alone, without an axis for views.

    Returns:
      Dataset of {"clip": uint8 [B, T, S, S, 3], or [B, V, T, S, S, 3] with `views`, "labels": {head: int32 [B]},
      "id": string [B]}.
    """

    def example(serialised):
        frames, element = _parse(serialised, heads, storage)
        pixels = clips.make_views(frames, clip, views or clips.CENTRE_VIEW)
        return element | {"clip": pixels if views else pixels[0]}

    dataset = _records(sorted(files)).map(example, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return dataset.batch(batch_size, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def training_clip(
    frames: tf.Tensor, clip: ClipConfig, augmentation: AugmentConfig, seed: tf.Tensor
) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """One random clip of a video: sampled, decoded, resized to the short side, cut to its window.

    Args:
      frames: string [n] of JPEG bytes or uint8 [n, h, w, 3].
      clip: What a clip is.
      augmentation: What is drawn.
      seed: int [2].

    Returns:
      uint8 [T, P, P, 3], and the draws for `augment.apply`.
    """
    offset_seed, draw_seed = tf.unstack(tf.random.split(seed, 2))
    sampled = tf.gather(frames, clips.train_indices(tf.shape(frames)[0], clip, offset_seed))
    size = clips.resized_size(clips.frame_size(sampled[0]), clip.min_resize)
    drawn = augment.draw(size, clip, augmentation, draw_seed)
    corner = drawn.pop("corner")
    side = augment.window_size(clip, augmentation)

    def window(frame):
        return augment.window(clips.resize_smallest(clips.decode_frame(frame), clip.min_resize), corner, side)

    spec = tf.TensorSpec([side, side, 3], tf.uint8)
    pixels = tf.map_fn(window, sampled, fn_output_signature=spec)
    return tf.ensure_shape(pixels, [clip.num_frames, side, side, 3]), drawn


def _interleave(files: tf.Tensor) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices(files).interleave(
        lambda file: tf.data.TFRecordDataset(file, compression_type="GZIP"),
        cycle_length=_FILES_AT_ONCE,
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )


def _records(files: Sequence[str]) -> tf.data.Dataset:
    return _interleave(tf.constant(list(files)))


def _parse(serialised: tf.Tensor, heads: Sequence[str], storage: Storage) -> tuple[tf.Tensor, dict]:
    """The stored frames of one transformed example, and its labels and id."""
    parsed = tf.io.parse_single_example(serialised, features.transformed_spec(heads, storage))
    labels = {head: tf.cast(parsed[features.label_id_key(head)], tf.int32) for head in heads}
    return clips.stored_frames(parsed[features.CLIP_FRAMES]), {"id": parsed[features.CLIP_ID], "labels": labels}
