"""Accuracies of logits against labels, for one head and for several together (EPIC-KITCHENS' action).

Contract: logits are float [B, K], labels int [B]; a mask is float [B], 1 for a real example and 0 for padding. Counting
functions return a value per example, so that sums over batches, devices and slices are exact.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import tensorflow as tf

from models.training import losses

TOP_K = 5


def correct(logits: tf.Tensor, labels: tf.Tensor, k: int = 1) -> tf.Tensor:
    """Whether each label is among the k highest logits, float32 [B] of 0 and 1; of equals the first class wins."""
    _, best = tf.math.top_k(logits, k)
    return tf.cast(tf.reduce_any(best == tf.cast(labels, tf.int32)[:, tf.newaxis], axis=-1), tf.float32)


def joint_scores(logits: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """Probability of every combination of the heads' classes, taken as independent: float32 [B, K1 * K2 * ...].

    The last head's class varies fastest: for {noun: [B, N], verb: [B, V]} the index is noun * V + verb.
    """
    joint, *others = [tf.nn.softmax(tf.cast(head, tf.float32)) for head in logits.values()]
    for scores in others:
        pairs = joint[:, :, tf.newaxis] * scores[:, tf.newaxis]
        joint = tf.reshape(pairs, [-1, pairs.shape[1] * pairs.shape[2]])
    return joint


def joint_labels(labels: Mapping[str, tf.Tensor], classes: Mapping[str, int]) -> tf.Tensor:
    """Index of each example's combination of labels in `joint_scores`, int32 [B]."""
    index = 0
    for head, label in labels.items():
        index = index * classes[head] + tf.cast(label, tf.int32)
    return index


def jointly_correct(logits: Mapping[str, tf.Tensor], labels: Mapping[str, tf.Tensor], k: int = 1) -> tf.Tensor:
    """Whether each combination of labels is among the k that `joint_scores` finds most probable: float32 [B], 0 or 1.

    As `correct` of all combinations, none of which but k * k are formed: the k best are made of each head's k best
    classes. Only different products that float32 rounds to the same number may be taken in another order.
    """
    label = joint_labels({head: labels[head] for head in logits}, {head: logits[head].shape[-1] for head in logits})
    joint, index = tf.ones_like(label, tf.float32)[:, tf.newaxis], tf.zeros_like(label)[:, tf.newaxis]
    for head in logits.values():
        scores = tf.nn.softmax(tf.cast(head, tf.float32))
        classes = _best(scores, k)
        pairs = joint[:, :, tf.newaxis] * tf.gather(scores, classes, batch_dims=1)[:, tf.newaxis]
        joint = tf.reshape(pairs, [-1, pairs.shape[1] * pairs.shape[2]])
        index = tf.reshape(index[:, :, tf.newaxis] * head.shape[-1] + classes[:, tf.newaxis], [-1, joint.shape[1]])
        kept = _best(joint, k)
        joint, index = (tf.gather(values, kept, batch_dims=1) for values in (joint, index))
    return tf.cast(tf.reduce_any(index == label[:, tf.newaxis], axis=-1), tf.float32)


def _best(scores: tf.Tensor, k: int) -> tf.Tensor:
    """Positions of the k highest of scores [B, N], in order of position: int32 [B, min(k, N)]."""
    return tf.sort(tf.math.top_k(scores, min(k, scores.shape[-1]))[1])


def metrics(
    logits: Mapping[str, tf.Tensor], targets: Mapping[str, tf.Tensor], mask: tf.Tensor | None = None
) -> dict[str, tuple[tf.Tensor, tf.Tensor]]:
    """Loss (without smoothing) and accuracies of every head and of all together, as the reference names them.

    Args:
      logits: float [B, K] by head.
      targets: float [B, K] by head, one-hot, or mixed (then the largest is the label).
      mask: [B].

    Returns:
      {name: (sum, count)}, float32 scalars. With one head: accuracy, accuracy_top_5 (where K >= 5), loss. With several,
      the same prefixed by each head's name, `noun-verb_accuracy` and `_top_5` of the combination, and total_loss.
    """
    first = next(iter(targets.values()))
    weights = tf.ones_like(first[:, 0], tf.float32) if mask is None else tf.cast(mask, tf.float32)
    count = tf.reduce_sum(weights)
    labels = {head: tf.argmax(target, axis=-1, output_type=tf.int32) for head, target in targets.items()}
    result = {}

    def add_accuracies(prefix, classes, is_correct, *of):
        result[f"{prefix}accuracy"] = (tf.reduce_sum(is_correct(*of) * weights), count)
        if classes >= TOP_K:
            result[f"{prefix}accuracy_top_5"] = (tf.reduce_sum(is_correct(*of, TOP_K) * weights), count)

    loss_sums = []
    for head in logits:
        prefix = f"{head}_" if len(logits) > 1 else ""
        add_accuracies(prefix, logits[head].shape[-1], correct, logits[head], labels[head])
        loss_sums.append(losses.softmax_cross_entropy(logits[head], targets[head], mask=mask) * count)
        result[f"{prefix}loss"] = (loss_sums[-1], count)
    if len(logits) > 1:
        combinations = math.prod(head.shape[-1] for head in logits.values())
        add_accuracies("-".join(logits) + "_", combinations, jointly_correct, logits, labels)
        result["total_loss"] = (tf.add_n(loss_sums), count * len(logits))
    return result
