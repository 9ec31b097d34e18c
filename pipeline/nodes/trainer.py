"""The Trainer's run_fn, step by step: read the classes, build the network, train it, prove it, export it."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import os
import time
from collections.abc import Mapping, Sequence

import keras
import tensorflow as tf
import tensorflow_transform as tft

from components.storage import files
from components.storage.code_version import code_version
from components.storage.memory import keep_memory_flat, reuse_memory
from models.checkpoints.pretrained import build_model
from models.clips import images, input_pipeline, sampling
from models.clips.source import Source
from models.serving.export import ServedModel
from models.training.config import LearningConfig, PaceConfig, TrainerConfig, WeightsConfig
from models.training.loop import Split, TrainingError
from models.training.phases import train
from models.training.strategies import build_strategy, is_chief
from pipeline import settings
from pipeline.nodes.training_record import kept_record
from pipeline.nodes.transform import read_classes
from schemas import serving

# What computes the weights; how they are exported retrains nothing.
_WEIGHTS_CODE = (
    *("models.training.phases", "models.training.strategies"),
    *("models.clips.input_pipeline", "models.checkpoints.pretrained"),
)
# Clips whose logits the canary compares.
_PROVEN_CLIPS = 4
_logger = logging.getLogger("vivit.train")


def run_fn(fn_args) -> None:
    """Trains on Transform's output and writes the SavedModel; called by TFX's Trainer."""
    trainer = settings.from_json(TrainerConfig, fn_args.custom_config["config"])
    config, views = trainer.weights, trainer.views
    pace = _read_pace(fn_args.custom_config["pace"])
    # First: several machines must find each other before any of them computes.
    strategy = build_strategy(pace.strategy)
    # Most of this process's memory is the network's tensors, or where those are on a device, clips on their way.
    reuse_memory() if serving.compute_device() == "CPU" else keep_memory_flat()
    graph = tft.TFTransformOutput(fn_args.transform_output)
    classes = {head: read_classes(graph, head) for head in config.heads}
    indexes = {"train": _files(fn_args.train_files), "eval": _files(fn_args.eval_files)}
    train_clips, eval_clips = (
        count_clips(input_pipeline.transformed_source(paths, config.heads, config.storage), classes, split)
        for split, paths in indexes.items()
    )

    # Not 0: TensorFlow then compares the tensor that seeds tf.data's shuffle with a number, and fails.
    keras.utils.set_random_seed(config.train.seed + 1)
    check_batches(config.train, train_clips, strategy)
    # What the weights depend on has checkpoints of its own: settings, code, clips, content of the first weights.
    parts = [settings.to_json(config), code_version(*_WEIGHTS_CODE), *indexes["train"]]
    run = hashlib.sha256("\n".join(parts).encode())
    with files.local_copy(config.model.init_from or "") as first, strategy.scope():
        model = build_model(config.model, clip_shape=config.clip.shape, classes=classes, checkpoint=first)
        run.update(files.content_version(first).encode() if first else b"")
    checkpoints = os.path.join(fn_args.custom_config["checkpoints"], run.hexdigest()[:16])
    started = time.monotonic()
    done = list(
        train(
            model,
            strategy,
            config,
            pace,
            train_clips,
            eval_clips,
            checkpoints=checkpoints,
            log_dir=fn_args.model_run_dir,
        )  # fmt: skip
    )
    if not is_chief(strategy):
        return

    training = kept_record(
        checkpoints,
        strategy,
        steps=done[-1] if done else 0,
        trained=bool(done),
        seconds=time.monotonic() - started,
    )
    model = _off_devices(model, strategy)
    card = serving.ModelCard(
        classes=classes,
        views=(views.temporal, views.spatial),
        ingest=trainer.ingest,
        config=dataclasses.asdict(trainer),
        training=training,
    )
    expected = serving.ExpectedLogits(
        views=logits_of(model, config, eval_clips.source, views),
        centre=logits_of(model, config, eval_clips.source, sampling.CENTRE_VIEW),
        dtype=config.model.dtype,
        device=serving.compute_device(),
        weights=serving.weights_of(model.weights),
    )
    served = ServedModel(model, clip=config.clip, views=views, classes=classes)
    served.save(fn_args.serving_model_dir, card, expected, config.model)


def count_clips(source: Source, classes: Mapping[str, Sequence[str]], split: str) -> Split:
    """Counts the classes of the clips, of which none is read.

    Raises:
      TrainingError: If there is no clip, or one has a label that is not a class.
    """
    counts = source.count_labels()
    if not counts:
        raise TrainingError(f"split {split!r} has no clips")
    for head, by_id in counts.items():
        unknown = sum(count for class_id, count in by_id.items() if not 0 <= class_id < len(classes[head]))
        if unknown:
            raise TrainingError(
                f"{unknown} clip(s) of split {split!r} have a label outside the classes of head {head!r}"
            )
    return Split(source, classes, counts)


def check_batches(train: LearningConfig, train_clips: Split, strategy: tf.distribute.Strategy) -> None:
    """Logs which classes have no training clip.

    Raises:
      TrainingError: If the training clips do not fill a batch, or the devices cannot share one evenly.
    """
    if train_clips.count < train.batch_size:
        raise TrainingError(
            f"{train_clips.count} training clips do not fill a batch of {train.batch_size}: lower train.batch_size"
        )
    devices, parts = strategy.num_replicas_in_sync, train.accumulate_steps
    if train.batch_size % (devices * parts):
        in_parts = f" in {parts} parts each (train.accumulate_steps)" if parts > 1 else ""
        raise TrainingError(
            f"train.batch_size is {train.batch_size}, which {devices} devices cannot share evenly{in_parts}"
        )
    for head, names in train_clips.classes.items():
        missing = [name for class_id, name in enumerate(names) if not train_clips.counts[head].get(class_id)]
        if missing:
            _logger.warning("head %s: %d class(es) without a training clip: %s", head, len(missing), ", ".join(missing))


def logits_of(
    model: keras.Model, config: WeightsConfig, source: Source, views: sampling.ViewsConfig
) -> dict[str, dict[str, list[float]]]:
    """Logits of the first clips through the training's own input pipeline: clip id -> head -> K floats.

    They are averaged over `views`, which go through the network a few at a time.
    """
    found = {}
    dataset = input_pipeline.eval_dataset(source, clip=config.clip, batch_size=1, views=views)
    for element in dataset.unbatch().take(_PROVEN_CLIPS):
        chunks = tf.data.Dataset.from_tensor_slices(element["clip"]).batch(views.per_step)
        logits = [model(images.normalise(chunk), training=False) for chunk in chunks]
        found[element["id"].numpy().decode()] = {
            head: tf.reduce_mean(tf.concat([part[head] for part in logits], axis=0), axis=0).numpy().tolist()
            for head in config.heads
        }
    return found


def _read_pace(path: str) -> PaceConfig:
    if not tf.io.gfile.exists(path):
        raise TrainingError(f"{path} is missing: run `vivit prepare` with the recipe and the settings of this pipeline")
    with tf.io.gfile.GFile(path) as file:
        return settings.from_json(PaceConfig, file.read())


def _files(patterns: Sequence[str]) -> list[str]:
    return sorted(path for pattern in patterns for path in tf.io.gfile.glob(pattern))


def _off_devices(model: keras.Model, strategy: tf.distribute.Strategy) -> keras.Model:
    """The same network with plain variables, where those of `model` are spread over devices."""
    if strategy is tf.distribute.get_strategy():
        return model
    plain = keras.models.clone_model(model)
    plain.set_weights([variable.numpy() for variable in model.weights])
    return plain
