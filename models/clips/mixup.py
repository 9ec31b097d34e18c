"""Mixup: each clip of a device's batch mixed with its mirror in the batch (Zhang et al., 2018).

Every clip draws a weight on the host; the step takes the first of its batch, as the reference has one per batch.
"""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf


def draw(alpha: float, seed: tf.Tensor) -> tf.Tensor:
    """Draws a weight from Beta(alpha, alpha), a float32 scalar in [0, 1]; `seed` is int [2].

    The ratio of two gamma variables, in logarithms: at alpha = 0.1 the variables themselves underflow.
    """
    seeds = tf.random.split(seed, 2)
    shape = tf.fill([2], alpha + 1.0)
    log_gamma = tf.math.log(tf.random.stateless_gamma([2], seeds[0], shape))
    uniform = tf.random.stateless_uniform([2], seeds[1], minval=1e-30)
    first, second = tf.unstack(log_gamma + tf.math.log(uniform) / alpha)
    return tf.sigmoid(first - second)


def mix(values: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
    """weight * x + (1 - weight) * reverse(x) of float [B, ...] along the batch; a batch of one stays as it is."""
    return weight * values + (1.0 - weight) * tf.reverse(values, axis=[0])


def apply(
    clips: tf.Tensor, targets: Mapping[str, tf.Tensor], weights: tf.Tensor
) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """Mixes float clips [B, ...] and the targets [B, K] of every head by the first of `weights`, [B]."""
    weight = weights[0]
    return mix(clips, weight), {head: mix(target, weight) for head, target in targets.items()}
