"""The two steps of training, one that learns and one that scores, as a replica sees them: a share of a batch each.

Contract: steps are called by `tf.distribute.Strategy.run`, take what `models.input_pipeline` makes, and return float32
scalars that all replicas agree on. Shapes are static, and nothing in them runs on a host, as TPUs want it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import keras
import tensorflow as tf

from models import augment, clips, losses, scores
from models.augment import AugmentConfig
from models.optimizers import clip_by_global_norm
from models.progress import RATE

Batch = Mapping[str, tf.Tensor]


def train_step(
    model: keras.Model,
    optimizer: keras.Optimizer,
    augmentation: AugmentConfig,
    *,
    label_smoothing: float = 0.0,
    class_weights: Mapping[str, Sequence[float]] | None = None,
    max_grad_norm: float | None = None,
    clip_per_replica: bool = False,
    jit_compile: bool = False,
) -> Callable[[Batch], dict[str, tf.Tensor]]:
    """A step that updates the weights, and returns the loss, accuracies, the gradient's norm and the rate.

    Args:
      model, optimizer: Made in the strategy's scope; the optimizer is built.
      augmentation: That of the batches.
      label_smoothing: Share of the target spread over all classes.
      class_weights: K factors of each head's targets.
      max_grad_norm: Of the mean gradient over all replicas.
      clip_per_replica: Clip each replica's own gradient before the mean, as the reference does.
      jit_compile: Compile forward and backward pass with XLA.
    """
    weights = class_weights or {}

    @tf.function(jit_compile=True) if jit_compile else lambda function: function
    def gradients_of(batch):
        pixels = augment.apply(batch["clip"], batch["augment"], augmentation)
        targets = one_hot(model, batch["labels"])
        if augmentation.mixup:
            weight = batch["augment"]["mixup"][0]
            pixels = losses.mixup(pixels, weight)
            targets = {head: losses.mixup(target, weight) for head, target in targets.items()}
        with tf.GradientTape() as tape:
            logits = model(pixels, training=True)
            by_head = {
                head: losses.softmax_cross_entropy(
                    logits[head], target, label_smoothing=label_smoothing, class_weights=weights.get(head)
                )
                for head, target in targets.items()
            }
            loss = losses.mean_over_heads(by_head)
        averages = {name: total / count for name, (total, count) in scores.metrics(logits, targets).items()}
        return tape.gradient(loss, model.trainable_variables), {**averages, "loss": loss}

    def step(batch):
        replica = tf.distribute.get_replica_context()
        gradients, averages = gradients_of(batch)
        if clip_per_replica:
            gradients, averages["gradient_norm"] = clip_by_global_norm(gradients, max_grad_norm)
        gradients = replica.all_reduce(tf.distribute.ReduceOp.MEAN, gradients)
        averages = replica.all_reduce(tf.distribute.ReduceOp.MEAN, averages)
        if not clip_per_replica:
            gradients, averages["gradient_norm"] = clip_by_global_norm(gradients, max_grad_norm)
        averages[RATE] = tf.convert_to_tensor(optimizer.learning_rate)
        optimizer.apply(gradients, model.trainable_variables)
        return averages

    return step


def score_step(model: keras.Model) -> Callable[[Batch], dict[str, tuple[tf.Tensor, tf.Tensor]]]:
    """A step that gives {name: (sum, count)} of loss and accuracies (see `models.scores`) over one batch's real clips.

    "confusion/<head>" is, in place of a sum, the float32 [K, K] counts of a true class (row) named as another (column).
    """

    def step(batch):
        replica = tf.distribute.get_replica_context()
        logits = model(clips.normalise(batch["clip"]), training=False)
        totals = dict(scores.metrics(logits, one_hot(model, batch["labels"]), batch["mask"]))
        for head, label in batch["labels"].items():
            named = tf.argmax(logits[head], axis=-1, output_type=tf.int32)
            classes = logits[head].shape[-1]
            counts = tf.math.confusion_matrix(label, named, classes, batch["mask"], tf.float32)
            totals[f"confusion/{head}"] = (counts, tf.reduce_sum(batch["mask"]))
        return replica.all_reduce(tf.distribute.ReduceOp.SUM, totals)

    return step


def one_hot(model: keras.Model, labels: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Labels int32 [B] as float32 [B, K] of each head."""
    return {head: tf.one_hot(label, model.output[head].shape[-1]) for head, label in labels.items()}
