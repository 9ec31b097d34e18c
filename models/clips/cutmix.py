"""CutMix: a box of each clip of a device's batch, in all frames, is its mirror's in the batch (Yun et al., ICCV 2019).

Every clip draws a box on the host; the step takes the first of its batch, as with mixup. Where both are on, one of the
two leaves the batch as it is: mixup by a weight of 1, CutMix by a box of nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from models.clips import images, mixup


def draw(alpha: float, size: int, seed: tf.Tensor) -> tf.Tensor:
    """Draws a box of `size` x `size` pixels: int32 [4], (top, left, bottom, right), the last two exclusive.

    Its share of the frame is 1 - Beta(alpha, alpha), before what lies beyond the border is cut off; its centre is
    anywhere. `seed` is int [2].
    """
    seeds = tf.unstack(tf.random.split(seed, 2))
    half = tf.cast(tf.sqrt(1.0 - mixup.draw(alpha, seeds[0])) * size, tf.int32) // 2
    centre = tf.random.stateless_uniform([2], seeds[1], 0, size, tf.int32)
    return tf.clip_by_value(tf.concat([centre - half, centre + half], axis=0), 0, size)


def apply(
    clips: tf.Tensor, targets: Mapping[str, tf.Tensor], boxes: tf.Tensor
) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """Pastes into float clips [B, T, H, W, 3] by the first of `boxes`, [B, 4]; a batch of one stays as it is.

    The targets [B, K] of every head are mixed by the share of pixels that is pasted.
    """
    inside = images.inside(boxes[0], *clips.shape[2:4])
    pasted = tf.reduce_mean(tf.cast(inside, tf.float32))
    mixed = {head: mixup.mix(target, 1.0 - pasted) for head, target in targets.items()}
    return tf.where(inside, tf.reverse(clips, axis=[0]), clips), mixed
