"""A training that is about to begin, as a file: the pipeline's Trainer writes it, and other machines train it.

Contract: whoever reads the file trains the same weights, or learns why it cannot: with other code or another file of
first weights they would be others.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import os
import time
from collections.abc import Mapping, Sequence

import tensorflow as tf

from components.storage import files
from components.storage.code_version import code_version
from models.training.config import PaceConfig, WeightsConfig
from models.training.loop import TrainingError
from models.training.strategies import check_strategy, spans_machines
from pipeline import settings
from pipeline.settings import ConfigError
from pipeline.training.record import has_record

# What computes the weights; how they are exported retrains nothing.
_WEIGHTS_CODE = (
    *("models.training.phases", "models.training.strategies"),
    *("models.clips.input_pipeline", "models.checkpoints.pretrained"),
)
_FILE, _LOGS = "job.json", "logs"
# Seconds between two looks at what other machines have saved.
_LOOK_EVERY = 5.0
_logger = logging.getLogger("vivit.train")


@dataclasses.dataclass(frozen=True)
class TrainingJob:
    """Everything that the training of one model's weights needs; paths are URIs that all its machines can read.

    Attributes:
      config: What the weights depend on.
      pace: How the training goes.
      classes: Names of the classes by head, in the order of their ids.
      train_clips, eval_clips: Indexes that Transform wrote.
      first_weights: Hash of the content of `config.model.init_from`; empty for fresh weights.
      code: Version of the code that trains.
      checkpoints: Folder of the checkpoints of these weights alone.
    """

    config: WeightsConfig
    pace: PaceConfig
    classes: dict[str, tuple[str, ...]]
    train_clips: tuple[str, ...]
    eval_clips: tuple[str, ...]
    first_weights: str
    code: str
    checkpoints: str

    @property
    def log_dir(self) -> str:
        """Where other machines than the pipeline's write for TensorBoard."""
        return os.path.join(self.checkpoints, _LOGS)


def check_devices(pace: PaceConfig) -> None:
    """Looks for the devices that the pipeline's Trainer is to train on; starts nothing.

    Raises:
      ConfigError: If one is not there, or they are of several machines: a step of a pipeline is one process.
    """
    if pace.elsewhere:
        return
    if spans_machines(pace.strategy):
        raise ConfigError(
            f"train.strategy is {pace.strategy!r} for the machines of TF_CONFIG, but a step of the pipeline runs on "
            "one: set train.elsewhere=true, and run `vivit train` on each of them (docs/training.md)"
        )
    try:
        check_strategy(pace.strategy)
    except ValueError as error:
        raise ConfigError(f"train.strategy: {error}") from error


def make_job(
    config: WeightsConfig,
    pace: PaceConfig,
    *,
    classes: Mapping[str, Sequence[str]],
    train_clips: Sequence[str],
    eval_clips: Sequence[str],
    first: str,
    root: str,
) -> TrainingJob:
    """A job, with checkpoints in a folder of its own below `root`.

    Args:
      config, pace, classes, train_clips, eval_clips: As in `TrainingJob`.
      first: Local copy of `config.model.init_from`; empty for fresh weights.
      root: Folder (any URI) of all checkpoints of a workdir.
    """
    # What the weights depend on: settings, code, clips, content of the first weights.
    code, version = code_version(*_WEIGHTS_CODE), files.content_version(first) if first else ""
    key = hashlib.sha256("\n".join([settings.to_json(config), code, *train_clips]).encode() + version.encode())
    return TrainingJob(
        config=config,
        pace=pace,
        classes={head: tuple(names) for head, names in classes.items()},
        train_clips=tuple(train_clips),
        eval_clips=tuple(eval_clips),
        first_weights=version,
        code=code,
        checkpoints=os.path.join(root, key.hexdigest()[:16]),
    )


def write_job(job: TrainingJob, root: str) -> None:
    """Writes the job that is due in a workdir; `root` is the folder of its checkpoints."""
    files.write(os.path.join(root, _FILE), settings.to_json(job).encode())


def read_job(root: str) -> TrainingJob:
    """The job that is due in a workdir.

    Raises:
      TrainingError: If there is none, or it was written by code that trains other weights.
    """
    path = os.path.join(root, _FILE)
    if not files.exists(path):
        raise TrainingError(
            f"{path} is not there: no pipeline of this workdir waits for a training. Start it with "
            "train.elsewhere=true; its Trainer writes the file"
        )
    try:
        job = settings.from_json(TrainingJob, files.read(path).decode())
    except ValueError as error:
        raise TrainingError(f"{path} was written by another release of this code: {error}") from error
    here = code_version(*_WEIGHTS_CODE)
    if here != job.code:
        raise TrainingError(
            f"{path} was written by code {job.code}, and this machine has {here}, which would train other weights: "
            "take the image or the commit of the pipeline's Trainer, with the libraries of its lock"
        )
    return job


def check_first_weights(job: TrainingJob, first: str) -> None:
    """Raises TrainingError if `first`, a local copy of the first weights, is not what the job is about."""
    if first and files.content_version(first) != job.first_weights:
        raise TrainingError(
            f"model.init_from is {job.config.model.init_from}, whose content is not what the pipeline read: "
            "start the pipeline again"
        )


def await_training(job: TrainingJob, command: str) -> None:
    """Returns when other machines have trained the weights; logs what they save meanwhile.

    Args:
      job: What they train.
      command: What runs on each of them.
    """
    if has_record(job.checkpoints):
        return
    _logger.info("waiting for the training: run `%s` on each of its machines", command)
    before = None
    while not has_record(job.checkpoints):
        last = tf.train.latest_checkpoint(job.checkpoints)
        if last and last != before:
            _logger.info("%s is saved", os.path.basename(last).replace("-", " "))
        before = last
        time.sleep(_LOOK_EVERY)
