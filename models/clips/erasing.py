"""Random erasing: a box of the clip, the same in all frames, becomes noise (Zhong et al., AAAI 2020).

Ranges and filling are those of VideoMAE's fine-tuning (Tong et al., NeurIPS 2022; its probability is 0.25): normal
noise, another value for each pixel of each frame, with the mean and deviation of ImageNet's pixels, not clipped.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import tensorflow as tf

from models.clips import images

# Share of the frame, and height over width.
AREA = (0.02, 1 / 3)
ASPECT = (0.3, 1 / 0.3)
# Of red, green and blue in [0, 1].
MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)
# One box in a hundred does not fit into the frame.
_TRIES = 10


class ErasingDraws(NamedTuple):
    """What is drawn for one clip; with a first axis B for a batch.

    Attributes:
      box: int32 [4], (top, left, bottom, right) in pixels, the last two exclusive; zeros where nothing is erased.
      noise: Seed of the noise, int32 [2].
    """

    box: tf.Tensor
    noise: tf.Tensor


def draw(probability: float, size: int, seed: tf.Tensor) -> ErasingDraws:
    """Draws for one clip of `size` x `size` pixels; `seed` is int [2]."""
    seeds = tf.unstack(tf.random.split(seed, 5))
    areas = tf.random.stateless_uniform([_TRIES], seeds[0], *AREA) * size**2
    aspects = tf.exp(tf.random.stateless_uniform([_TRIES], seeds[1], *map(math.log, ASPECT)))
    sides = tf.cast(tf.round(tf.sqrt(tf.stack([areas * aspects, areas / aspects], axis=1))), tf.int32)
    fits = tf.reduce_all(sides < size, axis=1)
    side = sides[tf.argmax(tf.cast(fits, tf.int32))]
    corner = tf.cast(tf.random.stateless_uniform([2], seeds[2]) * tf.cast(size - side + 1, tf.float32), tf.int32)
    erased = (tf.random.stateless_uniform([], seeds[3]) < probability) & tf.reduce_any(fits)
    box = tf.where(erased, tf.concat([corner, corner + side], axis=0), 0)
    return ErasingDraws(box, tf.random.stateless_uniform([2], seeds[4], None, None, tf.int32))


def apply(clips: tf.Tensor, draws: ErasingDraws) -> tf.Tensor:
    """Erases the box of each clip of float32 [B, T, H, W, 3], normalised to [-1, 1]; the noise may leave that range."""

    def erase(clip, of_clip):
        noise = (tf.constant(MEAN) + tf.constant(DEVIATION) * _normal(clip.shape, of_clip.noise)) * 2.0 - 1.0
        return tf.where(images.inside(of_clip.box, *clip.shape[1:3]), noise, clip)

    def one_clip(arguments):
        clip, of_clip = arguments
        return tf.cond(of_clip.box[2] > of_clip.box[0], lambda: erase(clip, of_clip), lambda: clip)

    return tf.map_fn(one_clip, (clips, draws), fn_output_signature=tf.TensorSpec(clips.shape[1:], tf.float32))


def _normal(shape: tf.TensorShape, seed: tf.Tensor) -> tf.Tensor:
    """Standard normal numbers, float32, from bits that are the same on all devices, compiled or not.

    TensorFlow's own floats are not: each device chooses an algorithm, and XLA makes others of the same bits.
    """
    bits = tf.random.stateless_uniform(shape, seed, None, None, tf.int32, alg="philox")
    # The 24 highest bits, as float32 in (-1, 1).
    return math.sqrt(2) * tf.math.erfinv((tf.cast(bits // 2**8, tf.float32) + 0.5) * 2.0**-23)
