"""One machine of those that train a job outside the pipeline: all run the same, each finds its part by itself."""

from __future__ import annotations

import os

import tensorflow as tf

from components.storage import files, folders
from models.training.loop import InterruptedTrainingError
from models.training.strategies import StrategyName, build_strategy, spans_machines, wait_for_all
from pipeline.settings import ConfigError
from pipeline.training.job import read_job
from pipeline.training.record import has_record
from pipeline.training.weights import train_weights

# What a process that computes with others raises where one of them ends, stops answering, or begins anew.
_LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
)


def train_job(workdir: str) -> None:
    """Trains what the pipeline of a workdir waits for, on this machine's devices or those of TF_CONFIG.

    Args:
      workdir: The pipeline's (any URI).

    Raises:
      TrainingError: As `read_job` and `train_weights`.
      InterruptedTrainingError: If SIGTERM was received, or another machine was lost.
      ConfigError: If nothing here reads the workdir, or a device that `train.strategy` names is not there.
    """
    if problem := folders.artifact_store_problem(workdir):
        raise ConfigError(problem)
    job = read_job(os.path.join(workdir, "checkpoints"))
    if has_record(job.checkpoints):
        # One that was killed at the very end is started again, and would wait for others that are done.
        return
    try:
        # Before anything is computed: several machines must find each other first.
        strategy = _strategy(job.pace.strategy)
        with files.local_copy(job.config.model.init_from or "") as first:
            train_weights(job, strategy, first, log_dir=job.log_dir)
        # None leaves before the weights have their record: one that is lost until then needs the others again.
        wait_for_all(strategy)
    except _LOST as error:
        if not spans_machines(job.pace.strategy):
            raise
        raise InterruptedTrainingError(
            "another machine of TF_CONFIG does not answer, or has begun anew. Run the same command again, on all of "
            f"them: it goes on from the last checkpoint ({str(error).splitlines()[0]})"
        ) from error


def _strategy(name: StrategyName) -> tf.distribute.Strategy:
    try:
        return build_strategy(name)
    except ValueError as error:
        raise ConfigError(f"train.strategy: {error}") from error
