"""Linear heads of a grid of rates and decays, fitted side by side to features that do not change."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from models.training.probing.features import Features
from models.training.standardise import Moments

_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-8
# A feature that varies less, by its standard deviation, is constant: no head sees it.
LEAST_DEVIATION = 1e-6

# A learning rate and a weight decay.
Pair = tuple[float, float]
# Top-1, and minus the cross entropy.
Score = tuple[float, float]


class Fitting(NamedTuple):
    """How heads are fitted.

    Attributes:
      sizes: Classes by label head, in the order of the logits.
      epochs: Passes over the clips; of each clip a view is drawn in each.
      batch_size: Clips per step, no more than there are.
      label_smoothing: As in `LearningConfig`.
      seed: Seed of the order, of the views, and of first weights that are drawn.
    """

    sizes: Mapping[str, int]
    epochs: int
    batch_size: int
    label_smoothing: float
    seed: int

    def targets(self, labels: Mapping[str, np.ndarray]) -> np.ndarray:
        """One-hot of labels int32 [N] by head, side by side: float32 [N, K]."""
        return np.concatenate([np.eye(size, dtype=np.float32)[labels[head]] for head, size in self.sizes.items()], 1)

    def batches(self, clips: int, views: int) -> Iterator[tuple[np.ndarray, np.ndarray, tf.Tensor]]:
        """Yields the clips and views of each step, int64 [B], and the factor of the rate: a cosine from 1 to 0."""
        batch_size = min(self.batch_size, clips)
        total = self.epochs * (clips // batch_size)
        rng, step = np.random.default_rng(self.seed), 0
        for _ in range(self.epochs):
            order, view = rng.permutation(clips), rng.integers(0, views, clips)
            for start in range(0, clips - batch_size + 1, batch_size):
                rows = order[start : start + batch_size]
                falling = 0.5 * (1 + math.cos(math.pi * step / total))
                yield rows, view[rows], tf.constant(falling, tf.float32)
                step += 1

    def loss(self, logits: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        """The sum over the grid, so that no head sees another, of logits [B, G, K] for targets [B, K]."""
        sizes = tuple(self.sizes.values())
        parts = zip(tf.split(logits, sizes, -1), tf.split(targets, sizes, -1), strict=True)
        losses = [tf.reduce_mean(_cross_entropy(part, target, self.label_smoothing), axis=0) for part, target in parts]
        return tf.add_n([tf.reduce_sum(of_head) for of_head in losses]) / len(sizes)


class Heads(NamedTuple):
    """G linear heads side by side, on plain features: kernel float32 [D, G, K], bias float32 [G, K]."""

    kernel: np.ndarray
    bias: np.ndarray

    def scores(self, found: Features, sizes: Mapping[str, int]) -> list[Score]:
        """The `score` of each."""
        mean = found.values.mean(axis=1)
        of_grid = zip(self.kernel.swapaxes(0, 1), self.bias, strict=True)
        return [score(mean @ kernel + bias, found.labels, sizes) for kernel, bias in of_grid]

    def weights(self, number: int) -> dict[str, np.ndarray]:
        """Those of one head, by name."""
        return {"kernel": self.kernel[:, number], "bias": self.bias[number]}

    def moments(self, found: Features) -> Moments:
        """Of the features that the first head sees."""
        return found.moments()


def fit_heads(found: Features, grid: Sequence[Pair], fitting: Fitting) -> Heads:
    """Fits one head for each rate and decay of `grid`, all at once, by AdamW on standardised features."""
    mean, variance = found.moments()
    deviation = np.sqrt(variance)
    deviation[deviation < LEAST_DEVIATION] = np.inf
    clips, views, width = found.values.shape
    classes = sum(fitting.sizes.values())
    kernel = tf.Variable(tf.zeros([width, len(grid), classes]))
    bias = tf.Variable(tf.zeros([len(grid), classes]))

    def logits_of(batch):
        logits = tf.matmul(batch, tf.reshape(kernel, [width, len(grid) * classes]))
        return tf.reshape(logits, [-1, len(grid), classes]) + bias

    update = updating(logits_of, [kernel, bias], [kernel], grid, fitting)
    targets = fitting.targets(found.labels)
    for rows, view, factor in fitting.batches(clips, views):
        update((found.values[rows, view] - mean) / deviation, targets[rows], factor)
    plain = kernel.numpy() / deviation[:, None, None]
    return Heads(plain, bias.numpy() - np.einsum("d,dgk->gk", mean, plain))


def updating(
    logits_of: Callable[[tf.Tensor], tf.Tensor],
    weights: Sequence[tf.Variable],
    decayed: Sequence[tf.Variable],
    grid: Sequence[Pair],
    fitting: Fitting,
) -> Callable[[np.ndarray, np.ndarray, tf.Tensor], None]:
    """A step of AdamW (Loshchilov and Hutter, ICLR 2019) on a batch, its targets [B, K], and a factor of the rates.

    Args:
      logits_of: A batch to logits [B, G, K].
      weights: What is learned, [..., G, X]: each of the grid with a rate and a decay of its own.
      decayed: Those among them that decay.
      grid: Rates and decays.
      fitting: Gives the loss.
    """
    rates, decays = (tf.constant(values, tf.float32)[:, tf.newaxis] for values in zip(*grid, strict=True))
    steps = tf.Variable(0.0)
    moments = [[tf.Variable(tf.zeros_like(weight)) for weight in weights] for _ in range(2)]

    @tf.function(reduce_retracing=True, autograph=False)
    def update(batch, targets, factor):
        with tf.GradientTape() as tape:
            loss = fitting.loss(logits_of(batch), targets)
        steps.assign_add(1.0)
        gradients = tape.gradient(loss, weights)
        falling = rates * factor
        for weight, gradient, first, second in zip(weights, gradients, *moments, strict=True):
            first.assign(_BETA_1 * first + (1 - _BETA_1) * gradient)
            second.assign(_BETA_2 * second + (1 - _BETA_2) * tf.square(gradient))
            direction = (first / (1 - _BETA_1**steps)) / (tf.sqrt(second / (1 - _BETA_2**steps)) + _EPSILON)
            decay = decays * weight if any(weight is one for one in decayed) else 0.0
            weight.assign_sub(falling * (direction + decay))

    return update


def _cross_entropy(logits: tf.Tensor, targets: tf.Tensor, label_smoothing: float) -> tf.Tensor:
    """[B, G] of logits [B, G, K] and one-hot targets [B, K]."""
    targets = targets * (1 - label_smoothing) + label_smoothing / targets.shape[-1]
    return -tf.reduce_sum(targets[:, tf.newaxis] * tf.nn.log_softmax(logits), axis=-1)


def score(logits: np.ndarray, labels: Mapping[str, np.ndarray], sizes: Mapping[str, int]) -> Score:
    """Top-1 and minus the cross entropy of logits [N, K]; means over the label heads."""
    parts = np.split(logits, np.cumsum(list(sizes.values()))[:-1], axis=1)
    correct, likely = [], []
    for head, part in zip(sizes, parts, strict=True):
        correct.append(np.mean(part.argmax(axis=1) == labels[head]))
        shifted = part - part.max(axis=1, keepdims=True)
        log_softmax = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        likely.append(np.mean(log_softmax[np.arange(len(part)), labels[head]]))
    return float(np.mean(correct)), float(np.mean(likely))
