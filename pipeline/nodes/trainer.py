"""The Trainer's run_fn, step by step: read the classes, train the network, prove it, export it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence

import keras
import tensorflow as tf
import tensorflow_transform as tft

from components.storage import files, folders
from models.clips import images, input_pipeline, sampling
from models.clips.source import Source
from models.serving.export import ServedModel
from models.training.config import PaceConfig, TrainerConfig, WeightsConfig
from models.training.loop import TrainingError
from models.training.strategies import build_strategy
from pipeline import settings
from pipeline.nodes.transform import read_classes
from pipeline.training.job import await_training, check_devices, make_job, write_job
from pipeline.training.weights import train_weights
from schemas import serving

# Clips whose logits the canary compares.
_PROVEN_CLIPS = 4


@tf.autograph.experimental.do_not_convert
def run_fn(fn_args) -> None:
    """Trains on Transform's output and writes the SavedModel; called by TFX's Trainer.

    With `train.elsewhere`, waits while other machines train (``vivit train``), and goes on with their weights.
    """
    trainer = settings.from_json(TrainerConfig, fn_args.custom_config["config"])
    config, views, root = trainer.weights, trainer.views, fn_args.custom_config["checkpoints"]
    pace = _read_pace(fn_args.custom_config["pace"])
    check_devices(pace)
    # First: the devices of a TPU must be found before anything is computed.
    strategy = build_strategy("one" if pace.elsewhere else pace.strategy)
    graph = tft.TFTransformOutput(fn_args.transform_output)
    classes = {head: read_classes(graph, head) for head in config.heads}
    train_clips, eval_clips = _files(fn_args.train_files), _files(fn_args.eval_files)
    with files.local_copy(config.model.init_from or "") as first:
        job = make_job(
            config, pace, classes=classes, train_clips=train_clips, eval_clips=eval_clips, first=first, root=root
        )
        if pace.elsewhere:
            write_job(job, root)
            await_training(job, f"vivit train --workdir {os.path.dirname(root)}")
            folders.copy_files(job.log_dir, fn_args.model_run_dir)
        trained = train_weights(job, strategy, first, log_dir=fn_args.model_run_dir)

    model = _off_devices(trained.model, strategy)
    card = serving.ModelCard(
        classes=classes,
        views=(views.temporal, views.spatial),
        ingest=trainer.ingest,
        config=dataclasses.asdict(trainer),
        training=trained.record,
    )
    expected = serving.ExpectedLogits(
        views=logits_of(model, config, trained.eval_clips.source, views),
        centre=logits_of(model, config, trained.eval_clips.source, sampling.CENTRE_VIEW),
        dtype=config.model.dtype,
        device=serving.compute_device(),
        weights=serving.weights_of(model.weights),
    )
    served = ServedModel(model, clip=config.clip, views=views, classes=classes)
    warmup = first_frames(trained.eval_clips.source)
    served.save(fn_args.serving_model_dir, card, expected, config.model, warmup)


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


def first_frames(source: Source) -> Iterator[bytes]:
    """The frames of the first clip, in time order, as JPEG."""
    for record in source.records().take(1):
        frames, _ = source.element(*record)
        for frame in frames:
            yield (frame if frame.dtype == tf.string else tf.io.encode_jpeg(frame)).numpy()


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
