"""Losses of logits against targets, and class weights (spec §5).

Contract: logits and targets are float [B, K]; targets are one-hot, multi-hot or mixed rows; a mask is float [B], 1 for
a real example and 0 for padding. Losses are computed in float32 and are means over the real examples.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import tensorflow as tf


def softmax_cross_entropy(
    logits: tf.Tensor,
    targets: tf.Tensor,
    *,
    label_smoothing: float = 0.0,
    class_weights: tf.Tensor | None = None,
    mask: tf.Tensor | None = None,
) -> tf.Tensor:
    """Mean cross entropy of a softmax head, a float32 scalar.

    Args:
      logits: [B, K].
      targets: [B, K], rows summing to 1.
      label_smoothing: Share of each target that is spread evenly over all K classes.
      class_weights: float [K], factors of the targets (see `balanced_class_weights`).
      mask: [B].
    """
    targets = _weighted(targets, label_smoothing, class_weights)
    losses = -tf.reduce_sum(targets * tf.nn.log_softmax(tf.cast(logits, tf.float32)), axis=-1)
    return _mean(losses, mask)


def sigmoid_cross_entropy(
    logits: tf.Tensor,
    targets: tf.Tensor,
    *,
    class_weights: tf.Tensor | None = None,
    mask: tf.Tensor | None = None,
) -> tf.Tensor:
    """Cross entropy of a multi-label head, summed over classes and averaged over examples, a float32 scalar.

    Args:
      logits: [B, K].
      targets: [B, K] in [0, 1], any number of ones in a row.
      class_weights: float [K], factors of each class's loss.
      mask: [B].
    """
    losses = tf.nn.sigmoid_cross_entropy_with_logits(tf.cast(targets, tf.float32), tf.cast(logits, tf.float32))
    return _mean(tf.reduce_sum(_weighted(losses, 0.0, class_weights), axis=-1), mask)


def mean_over_heads(losses: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """Unweighted mean of the heads' losses."""
    return tf.add_n(list(losses.values())) / len(losses)


def l2_penalty(weights: Iterable[tf.Variable]) -> tf.Tensor:
    """Half the sum of squares of all weights but vectors; the reference's `l2_decay_factor` multiplies it."""
    return tf.add_n([tf.nn.l2_loss(weight) for weight in weights if len(weight.shape) > 1])


def balanced_class_weights(counts: Iterable[int]) -> list[float]:
    """A weight per class, inverse to its number of training clips, with mean 1 over clips: total / (K * count).

    Raises:
      ValueError: a class has no clips.
    """
    counts = list(counts)
    missing = [index for index, count in enumerate(counts) if count < 1]
    if missing:
        raise ValueError(f"Class weights need at least one clip of every class; none has class id {missing}.")
    return [sum(counts) / (len(counts) * count) for count in counts]


def _weighted(values: tf.Tensor, label_smoothing: float, class_weights: tf.Tensor | None) -> tf.Tensor:
    values = tf.cast(values, tf.float32)
    if label_smoothing:
        values = values * (1.0 - label_smoothing) + label_smoothing / values.shape[-1]
    return values if class_weights is None else values * tf.constant(class_weights, tf.float32)


def _mean(losses: tf.Tensor, mask: tf.Tensor | None) -> tf.Tensor:
    if mask is None:
        return tf.reduce_mean(losses)
    mask = tf.cast(mask, tf.float32)
    return tf.reduce_sum(losses * mask) / (tf.reduce_sum(mask) + 1e-8)
