"""Still clips: some training clips show part of one of their frames only, and their target says nothing.

A network must name a class of whatever it sees, and may be sure of one where nothing moves. Clips of nothing with the
uniform target, outlier exposure (Hendrycks et al., ICLR 2019), teach it to be sure of none. A part of a frame, as it
may lack the thing that moves.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import tensorflow as tf

# Side of the part that is shown, as a share of the frame's.
SIDE = (0.2, 1.0)


class StillDraws(NamedTuple):
    """What is drawn for one clip; with a first axis B for a batch.

    Attributes:
      frame: Place of its only frame, an int32 scalar; -1 for a clip that stays as it is.
      grid: Which rows and columns of that frame are shown, int32 [2, S].
    """

    frame: tf.Tensor
    grid: tf.Tensor


def draw(probability: float, frames: int, size: int, seed: tf.Tensor) -> StillDraws:
    """Draws for one clip of T `frames` of `size` x `size` pixels; `seed` is int [2]."""
    seeds = tf.unstack(tf.random.split(seed, 4))
    is_still = tf.random.stateless_uniform([], seeds[0]) < probability
    frame = tf.random.stateless_uniform([], seeds[1], 0, frames, tf.int32)
    side = size * tf.random.stateless_uniform([], seeds[2], *SIDE)
    corner = (size - side) * tf.random.stateless_uniform([2, 1], seeds[3])
    return StillDraws(
        frame=tf.where(is_still, frame, -1),
        grid=tf.cast(corner + (tf.range(size, dtype=tf.float32) + 0.5) * side / size, tf.int32),
    )


def apply(
    clips: tf.Tensor, targets: Mapping[str, tf.Tensor], draws: StillDraws
) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """Shows of float clips [B, T, S, S, 3] what was drawn for each, the nearest pixel enlarged.

    The targets [B, K] of every head become uniform there; one of zeros, that of a clip without a label, stays.
    """
    still = draws.frame >= 0
    rows, columns = tf.unstack(draws.grid, axis=1)
    pictures = tf.gather(clips, tf.maximum(draws.frame, 0), axis=1, batch_dims=1)
    pictures = tf.gather(tf.gather(pictures, rows, axis=1, batch_dims=1), columns, axis=2, batch_dims=1)

    def said(target: tf.Tensor) -> tf.Tensor:
        uniform = tf.reduce_mean(target, axis=-1, keepdims=True)
        return tf.where(still[:, tf.newaxis], uniform, target)

    shown = tf.where(tf.reshape(still, [-1, 1, 1, 1, 1]), pictures[:, tf.newaxis], clips)
    return shown, {head: said(target) for head, target in targets.items()}
