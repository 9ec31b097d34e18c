"""The training step and the evaluation step; each replica runs them on its share of a batch.

Contract: steps are called by `tf.distribute.Strategy.run`, take what `input_pipeline` makes, and return float32
scalars that all replicas agree on. Shapes are static, and nothing in them runs on a host, as TPUs require.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import keras
import tensorflow as tf

from models.clips import augment, cutmix, images, mixup, still
from models.clips.augment import AugmentConfig
from models.network.remat import Remat, rematerialise
from models.training import losses, scores
from models.training.optimizers import OptimizerConfig, update
from models.training.reports.progress import RATE
from models.training.standardise import PlainHead

Batch = Mapping[str, tf.Tensor]
# The global norm of the trained weights after a step, which tells whether the update was finite.
WEIGHT_NORM = "weight_norm"


def train_step(
    model: keras.Model,
    optimizer: keras.Optimizer,
    augmentation: AugmentConfig,
    *,
    clipping: OptimizerConfig,
    label_smoothing: float = 0.0,
    class_weights: Mapping[str, Sequence[float]] | None = None,
    accumulate_steps: int = 1,
    jit_compile: bool = False,
    head: PlainHead | None = None,
    remat: Remat = "none",
) -> Callable[[Batch], dict[str, tf.Tensor]]:
    """A step that updates the weights, and returns the loss, accuracies, the rate, and norms of gradient and weights.

    Args:
      model, optimizer: Made in the strategy's scope; the optimizer is built.
      augmentation: Augmentation of the batches.
      clipping: How gradients are clipped.
      label_smoothing: Share of the target spread over all classes.
      class_weights: K factors of each head's targets.
      accumulate_steps: Parts of a replica's batch that go through the network one after the other; they divide it.
      jit_compile: Compile forward and backward pass with XLA.
      head: How the head sees the features; None as they are.
      remat: What the backward pass computes again instead of keeping it.
    """
    weights, head = class_weights or {}, head or PlainHead(model)
    variables = [variable.value for variable in model.trainable_variables]

    def learn(pixels, targets, moving):
        # Watched by name: nothing is kept for weights that are frozen.
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            with rematerialise(remat):
                logits, moments = head.train(pixels)
            by_head = {
                name: losses.softmax_cross_entropy(
                    logits[name], target, label_smoothing=label_smoothing, class_weights=weights.get(name)
                )
                for name, target in targets.items()
            }
            loss = losses.mean_over_heads(by_head)
        # Sums and counts: a part may have no clip that counts.
        sums = {**scores.metrics(logits, targets, moving), "loss": (loss, tf.ones([]))}
        return tape.gradient(loss, variables), (sums, moments)

    @tf.function(jit_compile=True) if jit_compile else lambda function: function
    def gradients_of(batch):
        pixels = augment.apply(batch["clip"], batch["draws"], augmentation)
        targets = one_hot(model, batch["labels"])
        moving = tf.ones(tf.shape(pixels)[:1])
        if augmentation.still:
            # A clip without a class is neither right nor wrong.
            moving = tf.cast(batch["draws"].still.frame < 0, tf.float32)
            pixels, targets = still.apply(pixels, targets, batch["draws"].still)
        if augmentation.mixup:
            pixels, targets = mixup.apply(pixels, targets, batch["draws"].mixup)
        if augmentation.cutmix:
            pixels, targets = cutmix.apply(pixels, targets, batch["draws"].cutmix)
        return mean_over_parts(learn, (pixels, targets, moving), accumulate_steps)

    def step(batch):
        gradients, sums = gradients_of(batch)
        sums, moments = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.MEAN, sums)
        averages = {name: tf.math.divide_no_nan(*pair) for name, pair in sums.items()}
        if moments:
            head.update(moments)
        # The rate of this step: the update counts one more.
        averages[RATE] = tf.convert_to_tensor(optimizer.learning_rate)
        averages["gradient_norm"] = update(optimizer, gradients, model.trainable_variables, clipping)
        averages[WEIGHT_NORM] = tf.linalg.global_norm(variables)
        return averages

    return step


def mean_over_parts(function: Callable, arguments: tuple, parts: int):
    """The mean of what `function` returns for equal parts of a batch, which it takes one after the other.

    Args:
      function: Takes the arguments, and returns a structure of float tensors.
      arguments: A structure of tensors [B, ...]; B is static.
      parts: Number of parts, which divides B; with 1, `function` is called with the batch itself.
    """
    if parts == 1:
        return function(*arguments)
    split = tf.nest.map_structure(lambda values: tf.reshape(values, (parts, -1, *values.shape[1:])), arguments)

    @tf.function(autograph=False)
    def of_part(index):
        return function(*tf.nest.map_structure(lambda values: values[index], split))

    # The network is in the graph once, so that it is compiled once; in a loop, as parts side by side would all be in
    # memory at once.
    of_part = of_part.get_concrete_function(tf.TensorSpec([], tf.int32))
    nothing = tf.nest.map_structure(lambda values: tf.zeros(values.shape, values.dtype), of_part.structured_outputs)
    _, total = tf.while_loop(
        lambda index, _: index < parts,
        lambda index, total: (index + 1, tf.nest.map_structure(tf.add, total, of_part(index))),
        (0, nothing),
        parallel_iterations=1,
    )
    return tf.nest.map_structure(lambda values: values / parts, total)


def score_step(
    model: keras.Model, head: PlainHead | None = None
) -> Callable[[Batch], dict[str, tuple[tf.Tensor, tf.Tensor]]]:
    """A step that returns {name: (sum, count)} of loss and accuracies (see `scores`) over one batch's real clips.

    "confusion/<head>" is, in place of a sum, the float32 [K, K] counts of a true class (row) named as another (column).
    """
    head = head or PlainHead(model)

    def step(batch):
        replica = tf.distribute.get_replica_context()
        logits = head.score(images.normalise(batch["clip"]))
        totals = dict(scores.metrics(logits, one_hot(model, batch["labels"]), batch["mask"]))
        for name, label in batch["labels"].items():
            named = tf.argmax(logits[name], axis=-1, output_type=tf.int32)
            classes = logits[name].shape[-1]
            counts = tf.math.confusion_matrix(label, named, classes, batch["mask"], tf.float32)
            totals[f"confusion/{name}"] = (counts, tf.reduce_sum(batch["mask"]))
        return replica.all_reduce(tf.distribute.ReduceOp.SUM, totals)

    return step


def one_hot(model: keras.Model, labels: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Labels int32 [B] as float32 [B, K] of each head."""
    return {head: tf.one_hot(label, model.output[head].shape[-1]) for head, label in labels.items()}
