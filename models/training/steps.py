"""The training step and the evaluation step; each replica runs them on its share of a batch.

Contract: steps are called by `tf.distribute.Strategy.run`, take what `input_pipeline` makes, and return float32
scalars that all replicas agree on. Shapes are static, and nothing in them runs on a host, as TPUs require.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import keras
import tensorflow as tf

from models.clips import augment, images, mixup
from models.clips.augment import AugmentConfig
from models.training import losses, scores
from models.training.optimizers import OptimizerConfig, update
from models.training.progress import RATE

Batch = Mapping[str, tf.Tensor]


def train_step(
    model: keras.Model,
    optimizer: keras.Optimizer,
    augmentation: AugmentConfig,
    *,
    clipping: OptimizerConfig,
    label_smoothing: float = 0.0,
    class_weights: Mapping[str, Sequence[float]] | None = None,
    jit_compile: bool = False,
) -> Callable[[Batch], dict[str, tf.Tensor]]:
    """A step that updates the weights, and returns the loss, accuracies, the gradient's norm and the rate.

    Args:
      model, optimizer: Made in the strategy's scope; the optimizer is built.
      augmentation: Augmentation of the batches.
      clipping: How gradients are clipped.
      label_smoothing: Share of the target spread over all classes.
      class_weights: K factors of each head's targets.
      jit_compile: Compile forward and backward pass with XLA.
    """
    weights = class_weights or {}

    @tf.function(jit_compile=True) if jit_compile else lambda function: function
    def gradients_of(batch):
        pixels = augment.apply(batch["clip"], batch["draws"], augmentation)
        targets = one_hot(model, batch["labels"])
        if augmentation.mixup:
            pixels, targets = mixup.apply(pixels, targets, batch["draws"].mixup)
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
        gradients, averages = gradients_of(batch)
        averages = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.MEAN, averages)
        # The rate of this step: the update counts one more.
        averages[RATE] = tf.convert_to_tensor(optimizer.learning_rate)
        averages["gradient_norm"] = update(optimizer, gradients, model.trainable_variables, clipping)
        return averages

    return step


def score_step(model: keras.Model) -> Callable[[Batch], dict[str, tuple[tf.Tensor, tf.Tensor]]]:
    """A step that returns {name: (sum, count)} of loss and accuracies (see `scores`) over one batch's real clips.

    "confusion/<head>" is, in place of a sum, the float32 [K, K] counts of a true class (row) named as another (column).
    """

    def step(batch):
        replica = tf.distribute.get_replica_context()
        logits = model(images.normalise(batch["clip"]), training=False)
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
