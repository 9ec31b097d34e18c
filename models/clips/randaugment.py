"""RandAugment without its geometric operations, for whole clips: one draw of operations, the same for all frames.

Contract of every operation: planes of one clip, uint8 [3, T, H, W], to the same, in static shapes; `magnitude` 10 is
the nominal maximum and more is allowed. Arguments are those of the reference (spec §4.4). With `parity` an operation
has the reference's defects, which came from stacking the frames into one tall image and from integer overflow:

- Solarize: the threshold wraps modulo 256 (magnitude 15 inverts from 128 on, 20 everything); else it is compared as is.
- Contrast: the grey level blended with is the number of pixels / 256, at most 255; else the clip's mean luma.
- Sharpness: frames are mixed at their seams, and blurred in float32; else each frame keeps its own border.
- Cutout: the box is black; else it is mid-grey, as in tf-models' image version.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import tensorflow as tf

from models.clips.colour import LUMA


def autocontrast(clip: tf.Tensor) -> tf.Tensor:
    """Stretches each channel of the clip to 0..255."""
    pixels = tf.cast(clip, tf.float32)
    # Of many columns at once, then of all; the signs keep XLA from joining both into one, which takes twice as long.
    low = -tf.reduce_max(-tf.reduce_min(pixels, axis=[1, 2], keepdims=True), axis=3, keepdims=True)
    high = -tf.reduce_min(-tf.reduce_max(pixels, axis=[1, 2], keepdims=True), axis=3, keepdims=True)
    scale = 255.0 / (high - low)
    stretched = tf.clip_by_value(pixels * scale - low * scale, 0.0, 255.0)
    return tf.where(high > low, tf.cast(stretched, tf.uint8), clip)


def equalize(clip: tf.Tensor) -> tf.Tensor:
    """Spreads each channel's histogram, taken over the clip, evenly over 0..255 (as PIL)."""
    levels = tf.cast(clip, tf.int32) + 256 * tf.range(3)[:, tf.newaxis, tf.newaxis, tf.newaxis]
    flat = tf.reshape(levels, [-1])
    histogram = tf.reshape(tf.math.unsorted_segment_sum(tf.ones_like(flat), flat, 3 * 256), [3, 256])
    highest = tf.reduce_max(tf.where(histogram > 0, tf.range(256), 0), axis=1)
    step = (tf.reduce_sum(histogram, axis=1) - tf.gather(histogram, highest, batch_dims=1)) // 255
    step = step[:, tf.newaxis]
    below = tf.cumsum(histogram, axis=1, exclusive=True)
    table = tf.where(tf.range(256) == 0, 0, (below + step // 2) // tf.maximum(step, 1))
    table = tf.where(step == 0, tf.range(256), tf.clip_by_value(table, 0, 255))
    return tf.cast(tf.gather(tf.reshape(table, [-1]), levels), tf.uint8)


def invert(clip: tf.Tensor) -> tf.Tensor:
    """The negative."""
    return 255 - clip


def posterize(clip: tf.Tensor, magnitude: float) -> tf.Tensor:
    """Keeps the int(magnitude / 10 * 4) highest bits; 8 from magnitude 20 on."""
    shift = tf.constant(8 - min(int(magnitude / 10 * 4), 8), tf.uint8)
    return tf.bitwise.left_shift(tf.bitwise.right_shift(clip, shift), shift)


def solarize(clip: tf.Tensor, magnitude: float, *, parity: bool) -> tf.Tensor:
    """Inverts the levels from int(magnitude / 10 * 256) on."""
    threshold = int(magnitude / 10 * 256)
    threshold = threshold % 256 if parity else threshold
    return tf.where(tf.cast(clip, tf.int32) < threshold, clip, 255 - clip)


def solarize_add(clip: tf.Tensor, magnitude: float) -> tf.Tensor:
    """Adds int(magnitude / 10 * 110) to the levels below 128."""
    added = tf.cast(clip, tf.int32) + int(magnitude / 10 * 110)
    return tf.where(clip < 128, tf.cast(tf.minimum(added, 255), tf.uint8), clip)


def color(clip: tf.Tensor, magnitude: float) -> tf.Tensor:
    """Moves away from greyscale."""
    return _blend(luma(clip), clip, magnitude)


def contrast(clip: tf.Tensor, magnitude: float, *, parity: bool) -> tf.Tensor:
    """Moves away from a uniform grey."""
    if parity:
        grey = tf.cast(min(math.prod(clip.shape[1:]) // 256, 255), tf.uint8)
    else:
        grey = tf.cast(tf.round(tf.reduce_mean(tf.cast(luma(clip), tf.float32))), tf.uint8)
    return _blend(grey, clip, magnitude)


def brightness(clip: tf.Tensor, magnitude: float) -> tf.Tensor:
    """Moves away from black."""
    return _blend(tf.constant(0, tf.uint8), clip, magnitude)


def sharpness(clip: tf.Tensor, magnitude: float, *, parity: bool) -> tf.Tensor:
    """Moves away from a 3x3 blur; a border of one pixel stays as it is."""
    frames = tf.reshape(clip, [3, 1, -1, clip.shape[3]]) if parity else clip
    blurred = _blur(frames, parity)
    border = [[0, 0], [0, 0], [1, 1], [1, 1]]
    inside = tf.pad(tf.ones_like(blurred), border)
    return tf.reshape(_blend(tf.where(inside == 1, tf.pad(blurred, border), frames), frames, magnitude), clip.shape)


def cutout(clip: tf.Tensor, magnitude: float, centre: tf.Tensor, *, parity: bool) -> tf.Tensor:
    """Fills a box of int(magnitude / 10 * 40) pixels to each side of `centre`, float32 [2], fractions of (H, W)."""
    half = int(magnitude / 10 * 40)
    inside = []
    for axis, size in enumerate(clip.shape[2:]):
        middle = tf.cast(centre[axis] * size, tf.int32)
        position = tf.range(size)
        inside.append((position >= middle - half) & (position < middle + half))
    box = inside[0][:, tf.newaxis] & inside[1]
    return tf.where(box, tf.constant(0 if parity else 128, tf.uint8), clip)


def luma(clip: tf.Tensor) -> tf.Tensor:
    """tf.image.rgb_to_grayscale of planes, by the same roundings for every colour: uint8 [1, T, H, W]."""
    red, green, blue = (w * p for w, p in zip(LUMA, tf.unstack(tf.cast(clip, tf.float32) * (1 / 255)), strict=True))
    return tf.cast((red + green + blue) * 255.5, tf.uint8)[tf.newaxis]


# `apply` has one branch per operation and a last one that leaves the clip alone.
_OPERATIONS = 12


class RandAugmentDraws(NamedTuple):
    """What is drawn for one clip; with a first axis B for a batch.

    Attributes:
      operations: Which operation each layer applies, int32 [layers].
      centres: Centres of Cutout's boxes, float32 [layers, 2], fractions of (H, W).
    """

    operations: tf.Tensor
    centres: tf.Tensor


def draw(layers: int, seed: tf.Tensor) -> RandAugmentDraws:
    """Draws for one clip; `seed` is int [2]."""
    seeds = tf.random.split(seed, 2)
    return RandAugmentDraws(
        operations=tf.random.stateless_uniform([layers], seeds[0], 0, _OPERATIONS, tf.int32),
        centres=tf.random.stateless_uniform([layers, 2], seeds[1]),
    )


def apply(clips: tf.Tensor, draws: RandAugmentDraws, magnitude: float, *, parity: bool) -> tf.Tensor:
    """Applies to each clip of uint8 [B, 3, T, H, W] the operations that were drawn for it, in order."""

    def one_clip(arguments):
        clip, of_clip = arguments
        for layer in range(of_clip.operations.shape[0]):
            clip = tf.switch_case(of_clip.operations[layer], _branches(clip, magnitude, of_clip.centres[layer], parity))
        return clip

    return tf.map_fn(one_clip, (clips, draws), fn_output_signature=tf.TensorSpec(clips.shape[1:], tf.uint8))


def _branches(clip: tf.Tensor, magnitude: float, centre: tf.Tensor, parity: bool) -> list:
    return [
        lambda: autocontrast(clip),
        lambda: equalize(clip),
        lambda: invert(clip),
        lambda: posterize(clip, magnitude),
        lambda: solarize(clip, magnitude, parity=parity),
        lambda: color(clip, magnitude),
        lambda: contrast(clip, magnitude, parity=parity),
        lambda: brightness(clip, magnitude),
        lambda: sharpness(clip, magnitude, parity=parity),
        lambda: cutout(clip, magnitude, centre, parity=parity),
        lambda: solarize_add(clip, magnitude),
        lambda: clip,
    ]


def _blur(frames: tf.Tensor, parity: bool) -> tf.Tensor:
    """The mean over 3x3 pixels of uint8 [3, T, H, W], the centre five times, rounded down: uint8 [3, T, H - 2, W - 2].

    With `parity` it is rounded as in the reference's convolution: nine fused multiply-adds in float32, one after the
    other, which come out below a whole level now and then. TensorFlow's own rounds as the processor does.
    """
    height, width = frames.shape[2] - 2, frames.shape[3] - 2
    taps = [
        (frames[:, :, row : row + height, column : column + width], 5 if row == column == 1 else 1)
        for row in range(3)
        for column in range(3)
    ]
    if not parity:
        return tf.cast(tf.add_n([weight * tf.cast(pixels, tf.int32) for pixels, weight in taps]) // 13, tf.uint8)
    total = tf.zeros([*frames.shape[:2], height, width])
    for pixels, weight in taps:
        # Exact in float64, so that it is rounded once, to float32.
        product = tf.cast(pixels, tf.float64) * tf.cast(tf.constant(float(weight)) / 13.0, tf.float64)
        total = tf.cast(tf.cast(total, tf.float64) + product, tf.float32)
    return tf.cast(tf.clip_by_value(total, 0.0, 255.0), tf.uint8)


def _blend(base: tf.Tensor, clip: tf.Tensor, magnitude: float) -> tf.Tensor:
    """base + factor * (clip - base), truncated to uint8; factor = magnitude / 10 * 1.8 + 0.1."""
    factor = magnitude / 10 * 1.8 + 0.1
    base = tf.cast(base, tf.float32)
    return tf.cast(tf.clip_by_value(base + factor * (tf.cast(clip, tf.float32) - base), 0.0, 255.0), tf.uint8)
