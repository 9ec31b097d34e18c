"""The head sees features by the moments of the batch, and in the end those moments are part of its weights.

Features of a pretrained network have a large common part and little that tells clips apart. A head on plain features
sends back gradients along the common part, and training destroys what it came for; batch normalisation without scale
and offset before the head takes it out (Ioffe and Szegedy, ICML 2015; MAE's linear evaluation, He et al., CVPR 2022).
"""

from __future__ import annotations

from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from models.network.vivit import HEAD, LOGITS

EPSILON = 1e-5
# Share of a batch's moments in the running ones; the first batches are averaged evenly.
_SHARE = 0.1
# Features that are widened at a time.
_ROWS = 4096


class Moments(NamedTuple):
    """Mean and variance of the D features before the head, float32 [D] each."""

    mean: np.ndarray | tf.Tensor
    variance: np.ndarray | tf.Tensor

    @classmethod
    def of(cls, features: np.ndarray) -> Moments:
        """Over all axes of features [..., D] but the last."""
        rows = features.reshape(-1, features.shape[-1])
        mean, squares = rows.mean(axis=0, dtype=np.float64), np.zeros(rows.shape[-1])
        # Part after part: in float64, all of them would take twice their memory.
        for start in range(0, len(rows), _ROWS):
            squares += ((rows[start : start + _ROWS] - mean) ** 2).sum(axis=0)
        return cls(mean.astype(np.float32), (squares / len(rows)).astype(np.float32))


class PlainHead:
    """The head of a network while it trains, on features as they are."""

    def __init__(self, model: keras.Model):
        self._model = model

    @property
    def variables(self) -> list[tf.Variable]:
        """What a checkpoint keeps besides the network's variables."""
        return []

    def train(self, clips: tf.Tensor) -> tuple[dict[str, tf.Tensor], Moments | tuple[()]]:
        """Logits by head of clips float32 [B, T, H, W, 3] in training, and what `update` takes."""
        return self._model(clips, training=True), ()

    def score(self, clips: tf.Tensor) -> dict[str, tf.Tensor]:
        """Logits by head in evaluation."""
        return self._model(clips, training=False)

    def fold(self) -> None:
        """Gives the head, in place, the weights that compute the same logits from plain features."""


class StandardisedHead(PlainHead):
    """The head of a network while it trains: on features that are standardised, by the batch or by running moments.

    Made in the strategy's scope. Each replica standardises by its share of the batch; the running moments are the mean
    over the replicas.
    """

    def __init__(self, model: keras.Model, first: Moments | None = None):
        """Takes over the head of a network of `build_vivit`, which computes other logits until `fold`.

        Args:
          model: The network.
          first: Moments at the first weights, where the head was fitted to plain features; None for a fresh head.
        """
        super().__init__(model)
        self._head = model.get_layer(HEAD)
        self._features = keras.Model(model.input, self._head.input)
        self._split = model.get_layer(LOGITS)
        width = self._head.input.shape[-1]

        def running(value):
            # Replicas assign the same; MEAN says how.
            return tf.Variable(value, trainable=False, dtype=tf.float32, aggregation=tf.VariableAggregation.MEAN)

        self._mean = running(np.zeros(width) if first is None else first.mean)
        self._variance = running(np.ones(width) if first is None else first.variance)
        self._batches = running(0.0 if first is None else 1 / _SHARE)
        if first is not None:
            kernel, bias = self._head.get_weights()
            deviation = np.sqrt(np.asarray(first.variance) + EPSILON)
            self._head.set_weights([kernel * deviation[:, np.newaxis], bias + first.mean @ kernel])

    @property
    def variables(self) -> list[tf.Variable]:
        """The running moments, and how many batches they are of."""
        return [self._mean, self._variance, self._batches]

    def train(self, clips: tf.Tensor) -> tuple[dict[str, tf.Tensor], Moments]:
        """Logits by head of clips float32 [B, T, H, W, 3], and the moments of this batch, which standardise it."""
        features = self._features(clips, training=True)
        moments = Moments(*tf.nn.moments(features, axes=[0]))
        return self._logits(features, moments), moments

    def score(self, clips: tf.Tensor) -> dict[str, tf.Tensor]:
        """Logits by head by the running moments."""
        return self._logits(self._features(clips, training=False), Moments(self._mean, self._variance))

    def update(self, moments: Moments) -> None:
        """Adds the moments of a batch to the running ones."""
        self._batches.assign_add(1.0)
        share = tf.maximum(_SHARE, 1 / self._batches)
        for running, value in zip((self._mean, self._variance), moments, strict=True):
            running.assign(running + share * (value - running))

    def fold(self) -> None:
        """Gives the head, in place, the weights that compute the same logits from plain features."""
        kernel, bias = self._head.get_weights()
        kernel = kernel / np.sqrt(self._variance.numpy() + EPSILON)[:, np.newaxis]
        self._head.set_weights([kernel, bias - self._mean.numpy() @ kernel])

    def _logits(self, features: tf.Tensor, moments: Moments) -> dict[str, tf.Tensor]:
        standardised = (features - moments.mean) * tf.math.rsqrt(moments.variance + EPSILON)
        return self._split(self._head(standardised))
