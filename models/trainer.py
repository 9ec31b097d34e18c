"""The Trainer's run_fn, as one story: read the classes, build the network, train it, prove it, export it."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from models import augment, clips, input_pipeline, losses, scores
from models.export import ServedModel
from models.input_pipeline import Source
from models.optimizers import OptimizerConfig, build_optimizer, clip_by_global_norm
from models.preprocessing import read_classes
from models.pretrained import ModelConfig, build_model
from models.progress import Progress
from schemas import config as settings
from schemas import serving
from schemas.features import Storage

# Clips whose logits the canary compares.
_PROVEN_CLIPS = 4
_logger = logging.getLogger("vivit.train")


class TrainingError(RuntimeError):
    """Training cannot start or go on; the message says what to do."""


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """How the network is trained.

    Attributes:
      epochs: Passes over the training clips; steps = floor(clips / batch_size) * epochs, as in the reference.
      batch_size: Clips per step.
      optimizer: Optimizer and schedule.
      label_smoothing: Share of the target spread over all classes, 0 to 1.
      seed: Of initial weights, data order and every draw.
      eval_epochs: Epochs between two evaluations on the centre view.
      checkpoint_steps: Steps between two checkpoints.
      jit_compile: Compile the step with XLA.
    """

    epochs: float = 30.0
    batch_size: int = 64
    optimizer: OptimizerConfig = OptimizerConfig()
    label_smoothing: float = 0.0
    seed: int = 0
    eval_epochs: float = 1.0
    checkpoint_steps: int = 500
    jit_compile: bool = False

    def __post_init__(self):
        for field in ("epochs", "batch_size", "eval_epochs", "checkpoint_steps"):
            if getattr(self, field) <= 0:
                raise ValueError(f"{field} is {getattr(self, field)}; it must be greater than 0")
        if not 0 <= self.label_smoothing <= 1:
            raise ValueError(f"label_smoothing is {self.label_smoothing}; it must be between 0 and 1")

    def total_steps(self, num_clips: int) -> int:
        """Steps of the whole run."""
        return max(1, int((num_clips // self.batch_size) * self.epochs))


@dataclasses.dataclass(frozen=True)
class TrainerConfig:
    """Everything that the Trainer is told."""

    heads: tuple[str, ...]
    storage: Storage
    ingest: dict[str, Any]
    clip: clips.ClipConfig
    views: clips.ViewsConfig
    augment: augment.AugmentConfig
    model: ModelConfig
    train: TrainConfig


def run_fn(fn_args) -> None:
    """Trains on Transform's output and writes the SavedModel; called by TFX's Trainer."""
    config = settings.from_json(TrainerConfig, fn_args.custom_config["config"])
    train_clips, eval_clips = (
        input_pipeline.transformed_source(_files(patterns), config.heads, config.storage)
        for patterns in (fn_args.train_files, fn_args.eval_files)
    )
    graph = tft.TFTransformOutput(fn_args.transform_output)
    classes = {head: read_classes(graph, head) for head in config.heads}
    num_clips = _check_labels(train_clips, classes, config.train.batch_size)

    # Not 0: TensorFlow then compares the tensor that seeds tf.data's shuffle with a number, and fails.
    keras.utils.set_random_seed(config.train.seed + 1)
    model = build_model(
        config.model, clip_shape=config.clip.shape, heads={head: len(names) for head, names in classes.items()}
    )
    run = hashlib.sha256("\n".join([settings.to_json(config), *train_clips.files]).encode()).hexdigest()[:16]
    checkpoints = os.path.join(fn_args.custom_config["checkpoints"], run)
    train(model, config, train_clips, eval_clips, num_clips, checkpoints=checkpoints, log_dir=fn_args.model_run_dir)

    card = serving.ModelCard(
        classes=classes,
        views=(config.views.temporal, config.views.spatial),
        ingest=config.ingest,
        config=dataclasses.asdict(config),
    )
    expected = serving.ExpectedLogits(
        views=logits_of(model, config, eval_clips, config.views),
        centre=logits_of(model, config, eval_clips, clips.CENTRE_VIEW),
    )
    ServedModel(model, clip=config.clip, views=config.views, classes=classes).save(
        fn_args.serving_model_dir, card, expected
    )
    if tf.io.gfile.exists(checkpoints):
        tf.io.gfile.rmtree(checkpoints)


def train(
    model: keras.Model,
    config: TrainerConfig,
    train_clips: Source,
    eval_clips: Source,
    num_clips: int,
    *,
    checkpoints: str,
    log_dir: str,
) -> None:
    """Trains `model` in place, from the last checkpoint on if there is one.

    Args:
      model: From `build_model`.
      config: Everything.
      train_clips, eval_clips: Where the clips are read from.
      num_clips: Training clips.
      checkpoints: Folder of the checkpoints.
      log_dir: Folder of the TensorBoard logs.

    Raises:
      TrainingError: If the loss is not finite; names the step and the clips.
    """
    total = config.train.total_steps(num_clips)
    optimizer = build_optimizer(config.train.optimizer, total)
    optimizer.build(model.trainable_variables)
    checkpoint = tf.train.Checkpoint(model=model, optimizer=optimizer)
    manager = tf.train.CheckpointManager(checkpoint, checkpoints, max_to_keep=2, checkpoint_name="step")
    first = int(os.path.basename(manager.restore_or_initialize() or "step-0").rpartition("-")[2])
    if first:
        _logger.info("going on from step %d", first)

    step_fn, evaluate = _train_step(model, optimizer, config), evaluator(model, config, eval_clips)
    batches = iter(
        input_pipeline.train_dataset(
            train_clips,
            clip=config.clip,
            augmentation=config.augment,
            batch_size=config.train.batch_size,
            num_examples=num_clips,
            seed=config.train.seed,
            start_step=first,
        )
    )
    eval_every = max(1, round(config.train.eval_epochs * num_clips / config.train.batch_size))
    progress = Progress(log_dir, total=total, first=first, batch_size=config.train.batch_size)
    running = None
    for done in range(first + 1, total + 1):
        with progress.waiting():
            batch = next(batches)
        ids = batch.pop("id")
        # The step before is read while this one runs.
        finished, running = running, (done, ids, step_fn(batch))
        if finished:
            progress.add(_finite(*finished))
        if done == total:
            progress.add(_finite(*running))
        elif done % config.train.checkpoint_steps == 0:
            manager.save(checkpoint_number=done)
        progress.report(done, float(optimizer.learning_rate), now=done == total)
        if done == total:
            # With a moving average, the average is what is evaluated and exported.
            optimizer.finalize_variable_values(model.trainable_variables)
        if done % eval_every == 0 or done == total:
            progress.evaluated(done, evaluate())
    progress.close()


def _train_step(model: keras.Model, optimizer: keras.Optimizer, config: TrainerConfig):
    """A compiled step: a batch in, scalar metrics out; updates the weights."""
    train = config.train

    @tf.function(jit_compile=train.jit_compile)
    def step(batch):
        pixels = augment.apply(batch["clip"], batch["augment"], config.augment)
        targets = _one_hot(model, batch["labels"])
        if config.augment.mixup:
            weight = batch["augment"]["mixup"][0]
            pixels = losses.mixup(pixels, weight)
            targets = {head: losses.mixup(target, weight) for head, target in targets.items()}
        with tf.GradientTape() as tape:
            logits = model(pixels, training=True)
            loss = losses.mean_over_heads(
                {
                    head: losses.softmax_cross_entropy(logits[head], target, label_smoothing=train.label_smoothing)
                    for head, target in targets.items()
                }
            )
        gradients, norm = clip_by_global_norm(
            tape.gradient(loss, model.trainable_variables), train.optimizer.max_grad_norm
        )
        optimizer.apply(gradients, model.trainable_variables)
        averages = {name: total / count for name, (total, count) in scores.metrics(logits, targets).items()}
        return {**averages, "loss": loss, "gradient_norm": norm}

    return step


def evaluator(model: keras.Model, config: TrainerConfig, source: Source) -> Callable[[], dict[str, float]]:
    """A function that gives loss and accuracies on the centre view, of each head and of all together."""

    @tf.function
    def score(batch):
        logits = model(clips.normalise(batch["clip"]), training=False)
        return scores.metrics(logits, _one_hot(model, batch["labels"]))

    def evaluate() -> dict[str, float]:
        totals = collections.defaultdict(lambda: np.zeros(2))
        for batch in input_pipeline.eval_dataset(source, clip=config.clip, batch_size=config.train.batch_size):
            del batch["id"]
            for name, pair in score(batch).items():
                totals[name] += np.array(pair)
        return {name: float(total / count) for name, (total, count) in totals.items()}

    return evaluate


def _one_hot(model: keras.Model, labels: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    return {head: tf.one_hot(label, model.output[head].shape[-1]) for head, label in labels.items()}


def logits_of(
    model: keras.Model, config: TrainerConfig, source: Source, views: clips.ViewsConfig
) -> dict[str, dict[str, list[float]]]:
    """Logits of the first clips through the training's own input pipeline: clip id -> head -> K floats.

    They are averaged over `views`, which go through the network a few at a time.
    """
    found = {}
    dataset = input_pipeline.eval_dataset(source, clip=config.clip, batch_size=1, views=views)
    for element in dataset.unbatch().take(_PROVEN_CLIPS):
        chunks = tf.data.Dataset.from_tensor_slices(element["clip"]).batch(views.per_step)
        logits = [model(clips.normalise(chunk), training=False) for chunk in chunks]
        found[element["id"].numpy().decode()] = {
            head: tf.reduce_mean(tf.concat([part[head] for part in logits], axis=0), axis=0).numpy().tolist()
            for head in config.heads
        }
    return found


def _files(patterns: Sequence[str]) -> list[str]:
    return sorted(path for pattern in patterns for path in tf.io.gfile.glob(pattern))


def _check_labels(source: Source, classes: Mapping[str, list[str]], batch_size: int) -> int:
    """Number of training clips.

    Raises:
      TrainingError: If there are fewer than a batch, or a clip has a label that is not a class.
    """
    counts = source.count_labels()
    for head, by_id in counts.items():
        unknown = sum(count for class_id, count in by_id.items() if not 0 <= class_id < len(classes[head]))
        if unknown:
            raise TrainingError(f"{unknown} training clip(s) have a label of head {head!r} outside its classes")
    num_clips = sum(next(iter(counts.values())).values())
    if num_clips < batch_size:
        raise TrainingError(f"{num_clips} training clips do not fill a batch of {batch_size}: lower train.batch_size")
    return num_clips


def _finite(step: int, ids: tf.Tensor, metrics: Mapping[str, tf.Tensor]) -> dict[str, float]:
    values = {name: float(value) for name, value in metrics.items()}
    if not np.isfinite(values["loss"]):
        names = ", ".join(clip_id.decode() for clip_id in ids.numpy())
        raise TrainingError(f"the loss is {values['loss']} at step {step}; the clips of the batch: {names}")
    return values
