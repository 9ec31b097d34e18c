"""Training augmentation: `draw` on the host, once per clip; `apply` on the device, the same for all frames of a clip.

Decoding one 256 x 340 frame takes 0.4 ms of a core, and resizing it for scale jitter twice that, so the host only cuts
out the window of pixels that the jittered crop reads (`window`). What was drawn travels with it, a few hundred
floats per clip, and the device resizes, crops, flips and colours whole batches of uint8 in static shapes: the step
compiles for TPUs, and the random numbers do not depend on the device.

The order and the ranges are the reference's (spec §4.4): scale jitter, crop, flip, then either RandAugment on the
pixels, or colour augmentation on the normalised clip; random erasing comes last, as in VideoMAE.
"""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

import tensorflow as tf

from models.clips import colour, cutmix, erasing, images, mixup, randaugment, still
from models.clips.colour import ColourDraws
from models.clips.erasing import ErasingDraws
from models.clips.randaugment import RandAugmentDraws
from models.clips.sampling import ClipConfig
from models.clips.still import StillDraws

# What each stateless draw of a clip is for; a number must never change its meaning, or resumed runs would differ.
_SCALE, _CROP, _FLIP, _COLOUR, _RANDAUGMENT, _MIXUP, _ERASING, _CUTMIX, _SWITCH, _STILL = range(10)


@dataclasses.dataclass(frozen=True)
class AugmentConfig:
    """What is drawn for every training clip; the defaults are the reference's for Kinetics.

    Attributes:
      scale: Range of the factors, drawn apart for height and width, by which frames are resized; None is off.
      random_crop: Crop anywhere, else at the centre.
      flip: Probability of a horizontal flip. Must be 0 where the direction of motion is the label.
      colour: Probability of brightness, saturation, contrast and hue jitter.
      drop_colour: Probability of greyscale, drawn apart from `colour`.
      randaugment_layers: Operations per clip, 0 is off; excludes `colour` and `drop_colour`, as in the reference.
      randaugment_magnitude: Strength of the operations; 10 is the scale's nominal maximum, the paper uses 15 and 20.
      erasing: Probability that a box of the clip becomes noise, see `models.clips.erasing`.
      still: Probability that a clip shows part of one frame only, and has no class: see `models.clips.still`. Where
        motion is the label, the model then names none where nothing moves.
      mixup: Alpha of mixup's Beta(alpha, alpha), see `models.clips.mixup`; 0 is off.
      cutmix: Alpha of CutMix's Beta(alpha, alpha), see `models.clips.cutmix`; 0 is off.
      switch: Where both are on, the probability that a batch has CutMix; else it has mixup.
      repeats: Clips that are made of each video when it is read, R (Hoffer et al., CVPR 2020): the same frames, decoded
        once, with R draws of everything else. A batch holds B / R videos. An epoch counts the clips that are seen: it
        takes as many steps as without, reads N / R of the N videos, and R epochs read each of them once.
      parity: Compute RandAugment with the reference's defects (`models.clips.randaugment`).
    """

    scale: tuple[float, float] | None = (0.9, 1.33)
    random_crop: bool = True
    flip: float = 0.5
    colour: float = 0.8
    drop_colour: float = 0.1
    randaugment_layers: int = 0
    randaugment_magnitude: int = 10
    erasing: float = 0.0
    still: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    switch: float = 0.5
    repeats: int = 1
    parity: bool = False

    def __post_init__(self):
        for name in ("flip", "colour", "drop_colour", "erasing", "still", "switch"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"AugmentConfig.{name} is a probability in [0, 1], got {getattr(self, name)}.")
        if self.scale is not None and not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"AugmentConfig.scale must be None or (low, high) with 0 < low <= high, got {self.scale}.")
        for name in ("mixup", "cutmix"):
            if getattr(self, name) < 0:
                raise ValueError(f"AugmentConfig.{name} must be 0 or more, got {getattr(self, name)}.")
        if self.repeats < 1:
            raise ValueError(f"AugmentConfig.repeats must be 1 or more, got {self.repeats}.")
        if self.randaugment_layers < 0 or self.randaugment_magnitude < 0:
            raise ValueError(
                "AugmentConfig.randaugment_layers and randaugment_magnitude must be 0 or more, got "
                f"{self.randaugment_layers} and {self.randaugment_magnitude}."
            )
        if self.randaugment_layers and (self.colour or self.drop_colour):
            raise ValueError(
                "AugmentConfig.colour and drop_colour must be 0 with RandAugment, which takes their place; got "
                f"{self.colour} and {self.drop_colour}."
            )


NO_AUGMENTATION = AugmentConfig(scale=None, random_crop=False, flip=0.0, colour=0.0, drop_colour=0.0)


class Draws(NamedTuple):
    """What is drawn for one clip and travels with it to the device; with a first axis B for a batch.

    Attributes:
      grid: For each row and column of the crop, the position in the window that it shows: float32 [2, S], in pixels.
      colour: Arguments of the colour augmentation; empty where it is off.
      randaugment: Operations of RandAugment; empty where it is off.
      erasing: Box and noise of random erasing; empty where it is off.
      still: The picture that a still clip shows; empty where it is off.
      mixup: Weight of mixup, a float32 scalar; empty where it is off.
      cutmix: Box of CutMix, int32 [4]; empty where it is off.
    """

    grid: tf.Tensor
    colour: ColourDraws | tuple[()] = ()
    randaugment: RandAugmentDraws | tuple[()] = ()
    erasing: ErasingDraws | tuple[()] = ()
    still: StillDraws | tuple[()] = ()
    mixup: tf.Tensor | tuple[()] = ()
    cutmix: tf.Tensor | tuple[()] = ()


def window_size(clip: ClipConfig, config: AugmentConfig) -> int:
    """Side P, in pixels, of the square of source pixels that holds every crop the jitter can require.

    Raises:
      ValueError: the smallest jitter makes frames smaller than the crop.
    """
    if config.scale is None:
        return clip.crop_size
    low = config.scale[0]
    if int(low * clip.min_resize) < clip.crop_size:
        lowest = math.ceil(100 * clip.crop_size / clip.min_resize) / 100
        raise ValueError(
            f"augment.scale goes down to {low}, where clip.min_resize={clip.min_resize} makes frames of "
            f"{int(low * clip.min_resize)} pixels, smaller than clip.crop_size={clip.crop_size}: "
            f"let it begin at {lowest}, or raise clip.min_resize"
        )
    # Sizes are rounded down, which shrinks a frame a little more than the factor says.
    shrink = max(clip.min_resize / (low * clip.min_resize - (low < 1)), 1.0)
    return math.ceil((clip.crop_size - 1) * shrink) + 2


def draw(size: tf.Tensor, clip: ClipConfig, config: AugmentConfig, seed: tf.Tensor) -> tuple[tf.Tensor, Draws]:
    """Draws all random values of one clip except its first frame.

    Args:
      size: int32 [2], (height, width) of the frames after `images.resize_smallest`, in pixels.
      clip: Sizes of the clip.
      config: Ranges and probabilities.
      seed: int [2].

    Returns:
      First row and column of the window, int32 [2]; and the draws.
    """

    def uniform(purpose, shape, low=0.0, high=1.0):
        return tf.random.stateless_uniform(shape, tf.random.fold_in(seed, purpose), low, high)

    new_size = size
    if config.scale is not None:
        new_size = tf.cast(uniform(_SCALE, [2], *config.scale) * tf.cast(size, tf.float32), tf.int32)
    room = new_size - clip.crop_size
    offset = room // 2
    if config.random_crop:
        offset = tf.cast(uniform(_CROP, [2]) * tf.cast(room + 1, tf.float32), tf.int32)
    positions = sampling_positions(size, new_size, offset, clip.crop_size)
    limit = tf.maximum(size - window_size(clip, config), 0)
    corner = tf.minimum(tf.cast(tf.reduce_min(positions, axis=1), tf.int32), limit)
    grid = positions - tf.cast(corner, tf.float32)[:, tf.newaxis]
    if config.flip:
        rows, columns = tf.unstack(grid)
        grid = tf.stack([rows, tf.where(uniform(_FLIP, []) < config.flip, columns[::-1], columns)])
    draws = Draws(grid)
    if config.colour or config.drop_colour:
        drawn = colour.draw(config.colour, config.drop_colour, tf.random.fold_in(seed, _COLOUR))
        draws = draws._replace(colour=drawn)
    if config.randaugment_layers:
        drawn = randaugment.draw(config.randaugment_layers, tf.random.fold_in(seed, _RANDAUGMENT))
        draws = draws._replace(randaugment=drawn)
    if config.erasing:
        drawn = erasing.draw(config.erasing, clip.crop_size, tf.random.fold_in(seed, _ERASING))
        draws = draws._replace(erasing=drawn)
    if config.still:
        drawn = still.draw(config.still, clip.num_frames, clip.crop_size, tf.random.fold_in(seed, _STILL))
        draws = draws._replace(still=drawn)
    if config.mixup:
        draws = draws._replace(mixup=mixup.draw(config.mixup, tf.random.fold_in(seed, _MIXUP)))
    if config.cutmix:
        draws = draws._replace(cutmix=cutmix.draw(config.cutmix, clip.crop_size, tf.random.fold_in(seed, _CUTMIX)))
    if config.mixup and config.cutmix:
        cut = uniform(_SWITCH, []) < config.switch
        draws = draws._replace(mixup=tf.where(cut, 1.0, draws.mixup), cutmix=tf.where(cut, draws.cutmix, 0))
    return corner, draws


def sampling_positions(size: tf.Tensor, new_size: tf.Tensor, offset: tf.Tensor, crop_size: int) -> tf.Tensor:
    """Where in the source each row and column of a crop of the resized frame lies: float32 [2, S], in pixels.

    Half-pixel centres, as `images.resize` computes them; positions beyond the border are those of the border.
    """
    size, new_size = tf.cast(size, tf.float32), tf.cast(new_size, tf.float32)
    target = tf.cast(offset[:, tf.newaxis] + tf.range(crop_size), tf.float32)
    positions = (target + 0.5) * (size / new_size)[:, tf.newaxis] - 0.5
    return tf.clip_by_value(positions, 0.0, size[:, tf.newaxis] - 1)


def window(frame: tf.Tensor, start: tf.Tensor, side: int, smallest: int) -> tf.Tensor:
    """The [side, side, 3] of uint8 [h, w, 3] from `start` on; black, and never shown, where the frame ends before.

    `start` is int32 [3], row, column and 0; `smallest` the least that h and w can be: up to there nothing is padded.
    """
    if side <= smallest:
        return tf.ensure_shape(tf.slice(frame, start, [side, side, 3]), [side, side, 3])
    cut = tf.slice(frame, start, tf.minimum(tf.shape(frame) - start, [side, side, 3]))
    missing = [side, side, 3] - tf.shape(cut)
    return tf.ensure_shape(tf.pad(cut, tf.stack([tf.zeros_like(missing), missing], axis=1)), [side, side, 3])


def resample(windows: tf.Tensor, grid: tf.Tensor) -> tf.Tensor:
    """Shows each clip's window at the positions of its grid: resize, crop and flip in one.

    The arithmetic is that of TensorFlow's bilinear kernel: equal to `images.resize` followed by `images.crop`, up
    to the device's rounding. Clip after clip, which takes less memory, and less time than gathers in a batch.

    Args:
      windows: uint8 [B, T, P, P, 3] (the two sides may differ).
      grid: float32 [B, 2, S], positions of rows and columns, in pixels of the window.

    Returns:
      uint8 [B, 3, T, S, S].
    """
    size = grid.shape[2]
    spec = tf.TensorSpec([3, windows.shape[1], size, size], tf.uint8)
    return tf.map_fn(lambda clip: _resample_clip(*clip), (windows, grid), fn_output_signature=spec)


def _resample_clip(window: tf.Tensor, grid: tf.Tensor) -> tf.Tensor:
    lower = tf.floor(grid)
    weight = grid - lower
    lower = tf.cast(lower, tf.int32)
    upper = tf.minimum(lower + 1, tf.constant([[window.shape[1] - 1], [window.shape[2] - 1]]))
    # The three bytes of a pixel as one integer: a gather takes as long for one byte.
    red, green, blue = tf.unstack(tf.cast(window, tf.int32), axis=-1)
    packed = red + 256 * green + 65536 * blue
    shifts = tf.constant([0, 8, 16])[:, tf.newaxis, tf.newaxis, tf.newaxis]

    def levels(columns):
        shifted = tf.bitwise.right_shift(tf.gather(packed, columns, axis=2), shifts)
        return tf.cast(tf.bitwise.bitwise_and(shifted, 255), tf.float32)

    # Columns first: the kernel interpolates along a row before it does between two rows.
    low, high = levels(lower[1]), levels(upper[1])
    rows = low + (high - low) * weight[1]
    low, high = tf.gather(rows, lower[0], axis=2), tf.gather(rows, upper[0], axis=2)
    return tf.cast(low + (high - low) * weight[0][:, tf.newaxis], tf.uint8)


def apply(windows: tf.Tensor, draws: Draws, config: AugmentConfig) -> tf.Tensor:
    """Augments a batch of clips and normalises it, in static shapes.

    Still clips, mixup and CutMix, which need the labels, come after it.

    Args:
      windows: uint8 [B, T, P, P, 3] of `window`; the crop itself (P = S) where `config` has neither scale nor flip.
      draws: The draws of each clip, batched.
      config: As in `draw`.

    Returns:
      float32 [B, T, S, S, 3] in [-1, 1] (RandAugment and colour keep the range; the noise of erasing may leave it).
    """
    moved = config.scale is not None or config.flip
    planes = resample(windows, draws.grid) if moved else images.planes(windows)
    if config.randaugment_layers:
        planes = randaugment.apply(planes, draws.randaugment, config.randaugment_magnitude, parity=config.parity)
    if config.colour or config.drop_colour:
        clip = images.interleaved(colour.apply(planes, draws.colour))
    else:
        clip = images.normalise(images.interleaved(planes))
    if config.erasing:
        clip = erasing.apply(clip, draws.erasing)
    return clip
