"""Attentive heads of a grid of rates and decays: pools and linear heads, fitted side by side to tokens that are kept.

The query sees tokens standardised by their moments, and the linear head the pooled features by the moments that they
have at first; both are divided into the weights in the end, exactly: what is constant over the tokens changes no
softmax, and weights that sum to one let the mean through.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from models.network.pooling import parts_of_time
from models.training.probing.features import Tokens
from models.training.probing.heads import LEAST_DEVIATION, Fitting, Pair, Score, score, updating
from models.training.standardise import Moments

# Clips that go through the pools at a time, where none is trained.
_AT_A_TIME = 16


class AttentiveHeads(NamedTuple):
    """G pools and linear heads side by side, on plain tokens.

    Attributes:
      query: float32 [heads, G, D].
      position: float32 [heads, G, T].
      kernel: float32 [heads, D + T, G, K].
      bias: float32 [G, K].
    """

    query: np.ndarray
    position: np.ndarray
    kernel: np.ndarray
    bias: np.ndarray

    def scores(self, found: Tokens, sizes: Mapping[str, int]) -> list[Score]:
        """The `score` of each, of the mean of the views' logits."""
        logits = [
            sum(_logits(_pool(tokens, self.query, self.position), self.kernel, self.bias) for tokens in views).numpy()
            for views in _chunks(found)
        ]
        mean = np.concatenate(logits) / found.values.shape[1]
        return [score(mean[:, number], found.labels, sizes) for number in range(len(self.bias))]

    def weights(self, number: int) -> dict[str, np.ndarray]:
        """Those of one pool and head, by name, as the network has them."""
        kernel = self.kernel[:, :, number]
        plain = {"kernel": kernel.reshape(-1, kernel.shape[-1]), "bias": self.bias[number]}
        return {**plain, "query": self.query[:, number], "position": self.position[:, number]}

    def moments(self, found: Tokens) -> Moments:
        """Of the features that the first head sees."""
        return _pooled_moments(found, self.query[:, :1], self.position[:, :1])


def fit_attentive(
    found: Tokens, grid: Sequence[Pair], fitting: Fitting, *, num_heads: int, frames: int
) -> AttentiveHeads:
    """Fits one pool and head for each rate and decay of `grid`, all at once, by AdamW; kernels of linear heads decay.

    Args:
      found: The tokens.
      grid, fitting: As in `fit_heads`.
      num_heads, frames: As in `AttentivePool`.
    """
    count, width, classes = len(grid), found.values.shape[-1], sum(fitting.sizes.values())
    deviation = _or_infinite(np.sqrt(_token_variance(found)))
    # Steps are of one size for all weights: a position moves its scores as far as a token of that width does.
    far = width**0.5
    drawn = np.random.default_rng(fitting.seed).normal(0, width**-0.5, (num_heads, 1, width)).astype(np.float32)
    first = parts_of_time(num_heads, frames)[:, np.newaxis]
    mean, variance = (
        values.reshape(num_heads, width + frames) for values in _pooled_moments(found, drawn / deviation, first)
    )
    scale = np.sqrt(variance)
    # A share of time that hardly varies at first will, once the query attends to something.
    scale[:, width:] = np.maximum(scale[:, width:], 1 / frames)
    scale = _or_infinite(scale)
    query = tf.Variable(np.repeat(drawn, count, axis=1))
    position = tf.Variable(np.repeat(first / far, count, axis=1))
    kernel = tf.Variable(tf.zeros([num_heads, width + frames, count, classes]))
    bias = tf.Variable(tf.zeros([count, classes]))

    def logits_of(tokens):
        pooled = _pool(tf.cast(tokens, tf.float32), query / deviation, position * far)
        return _logits((pooled - mean[:, np.newaxis]) / scale[:, np.newaxis], kernel, bias)

    update = updating(logits_of, [query, position, kernel, bias], [kernel], grid, fitting)
    targets = fitting.targets(found.labels)
    for rows, view, factor in fitting.batches(len(found.rows), found.values.shape[1]):
        update(found.values[found.rows[rows], view], targets[rows], factor)
    plain = kernel.numpy() / scale[:, :, np.newaxis, np.newaxis]
    offset = bias.numpy() - np.einsum("hf,hfgk->gk", mean, plain)
    return AttentiveHeads(query.numpy() / deviation, position.numpy() * far, plain, offset)


def _pool(tokens, query, position):
    """Tokens [B, T * N, D] to features [B, heads, G, D + T], as `AttentivePool` for each of the grid."""
    heads, count, frames = position.shape
    length, width = tokens.shape[1:]
    scores = tf.matmul(tf.reshape(query, [1, heads * count, width]), tokens, transpose_b=True)
    position = tf.repeat(tf.reshape(position, [heads * count, frames]), length // frames, axis=1)
    weights = tf.nn.softmax(scores + position)
    times = tf.reduce_sum(tf.reshape(weights, [-1, heads * count, frames, length // frames]), axis=-1)
    pooled = tf.concat([tf.matmul(weights, tokens), times], axis=-1)
    return tf.reshape(pooled, [-1, heads, count, width + frames])


def _logits(features, kernel, bias):
    """[B, G, K]."""
    return tf.einsum("bhgf,hfgk->bgk", features, kernel) + bias


def _chunks(found: Tokens) -> Iterator[list[tf.Tensor]]:
    """The views, float32 [B, T * N, D] each, of some clips at a time."""
    for start in range(0, len(found.rows), _AT_A_TIME):
        rows = found.rows[start : start + _AT_A_TIME]
        yield [tf.cast(found.values[rows, view], tf.float32) for view in range(found.values.shape[1])]


def _token_variance(found: Tokens) -> np.ndarray:
    """Over all tokens of all clips and views: float32 [D]."""
    moments = [tf.nn.moments(tokens, axes=[1]) for views in _chunks(found) for tokens in views]
    means, variances = (np.concatenate(values).astype(np.float64) for values in zip(*moments, strict=True))
    return (variances.mean(axis=0) + means.var(axis=0)).astype(np.float32)


def _pooled_moments(found: Tokens, query: np.ndarray, position: np.ndarray) -> Moments:
    """Of the features of one pool, over all clips and views: [heads * (D + T)] each."""
    pooled = [_pool(tokens, query, position).numpy() for views in _chunks(found) for tokens in views]
    return Moments.of(np.concatenate([values.reshape(len(values), -1) for values in pooled]))


def _or_infinite(deviation: np.ndarray) -> np.ndarray:
    """The deviation, infinite where it is of a constant, which then has no weight."""
    return np.where(deviation < LEAST_DEVIATION, np.inf, deviation).astype(np.float32)
