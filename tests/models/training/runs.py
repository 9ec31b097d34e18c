"""Small training runs, in this process or in one of their own."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import itertools
import json
import logging
import socket
import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from components.media.config import part
from models.checkpoints.pretrained import ModelConfig, build_model
from models.clips import input_pipeline
from models.clips.augment import AugmentConfig
from models.clips.sampling import ClipConfig
from models.training import termination
from models.training.config import PaceConfig, TrainConfig, WeightsConfig
from models.training.loop import TrainingError
from models.training.optimizers import OptimizerConfig, ScheduleConfig
from models.training.phases import train
from models.training.strategies import build_strategy
from pipeline import settings
from pipeline.training import splits
from schemas import features
from schemas.clip_index import IndexedClip, index_name, write_indexed

CLASSES = {"verb": ["left", "right", "up"]}
CLIPS, SIDE = 24, 20


@dataclasses.dataclass(frozen=True)
class RunConfig(WeightsConfig):
    """What the weights depend on, and how the run goes."""

    train: TrainConfig


CONFIG = RunConfig(
    heads=("verb",),
    storage="raw",
    clip=ClipConfig(num_frames=4, stride=1, min_resize=18, crop_size=16),
    augment=AugmentConfig(scale=(0.9, 1.33), colour=0.0, drop_colour=0.0),
    model=ModelConfig(
        tubelet=(2, 8, 8), hidden_size=12, num_layers=2, temporal_layers=1, num_heads=2, mlp_dim=16,
        tubelet_init="lecun_normal",
    ),
    train=TrainConfig(
        epochs=10, batch_size=4, checkpoint_steps=7, eval_epochs=5, strategy="one",
        optimizer=OptimizerConfig(schedule=ScheduleConfig(base_learning_rate=0.05, warmup=0.1)),
    ),
)  # fmt: skip


def write_clips(folder: Path, *, count: int = CLIPS, files: int = 2, brightness: float = 1.0) -> None:
    """Writes Transform's output, raw, for moving gradients: what moves is the class. The indexes are the ``*.gz``."""
    rng = np.random.default_rng(0)
    for shard in range(files):
        clips = []
        for index in range(shard, count, files):
            image = rng.integers(0, int(255 * brightness), (SIDE, SIDE, 3)).astype(np.uint8)
            shift = ((0, -2), (0, 2), (-2, 0))[index % 3]
            frames = [np.roll(image, np.multiply(shift, t), axis=(0, 1)) for t in range(6)]
            group, tensor = f"video{index // 2}", tf.io.serialize_tensor(tf.constant(np.stack(frames))).numpy()
            record = features.raw_storage_example(f"clip{index}", group, tensor).SerializeToString()
            clips.append(IndexedClip(record, group, {"verb": index % 3}))
        path = str(folder / f"clips-{shard:05d}.tfrecord")
        write_indexed(path, index_name(path), clips)


def run(folder: Path, output: Path, config: RunConfig = CONFIG, *, executions: int | None = None) -> keras.Model:
    """Trains on the clips of a folder, or breaks off after some executions; all it writes is below `output`."""
    strategy = build_strategy(config.train.strategy)
    files = [str(path) for path in sorted(folder.glob("*.gz"))]
    clips = splits.count_clips(input_pipeline.transformed_source(files, config.heads, config.storage), CLASSES, "train")
    keras.utils.set_random_seed(1)
    splits.check_batches(config.train, clips, strategy)
    with strategy.scope():
        model = build_model(config.model, clip_shape=config.clip.shape, classes=CLASSES)
    steps = train(
        model, strategy, config, part(PaceConfig, config.train), clips, clips,
        checkpoints=str(output / "checkpoints"), log_dir=str(output / "logs"),
    )  # fmt: skip
    collections.deque(itertools.islice(steps, executions), maxlen=0)
    return model


def run_alone(folder: Path, output: Path, config: RunConfig, devices: int = 1) -> None:
    """A run in a process that `tests.processes` starts for it: writes ``weights.npz``, and ends as a step does."""
    logging.basicConfig(level=logging.INFO, stream=sys.stdout, force=True)
    output.mkdir(exist_ok=True)
    use_devices(devices)
    try:
        with termination.listening():
            model = run(folder, output, config)
    except TrainingError as error:
        print(f"vivit: {error}")
        sys.exit(1)
    np.savez(output / "weights.npz", *[variable.numpy() for variable in model.weights])


def use_devices(count: int) -> None:
    """Gives TensorFlow so many devices, before it uses the first."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)


def machines(count: int) -> list[str]:
    """TF_CONFIG of each machine of a cluster, all of which are this machine."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in sockets:
            probe.bind(("localhost", 0))
        workers = [f"localhost:{probe.getsockname()[1]}" for probe in sockets]
    cluster = {"worker": workers}
    return [json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}}) for index in range(count)]


def scalars(output: Path) -> dict[str, dict[int, float]]:
    """What a run wrote to TensorBoard: step -> value by name."""
    found: dict[str, dict[int, float]] = {}
    for path in sorted((output / "logs").glob("events*")):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                if value.tensor.dtype == tf.float32.as_datatype_enum:
                    found.setdefault(value.tag, {})[event.step] = float(tf.make_ndarray(value.tensor))
    return found


def with_settings(**changes: str) -> RunConfig:
    """The configuration with dotted settings, dots written as two underscores."""
    return settings.override(CONFIG, {key.replace("__", "."): value for key, value in changes.items()})
