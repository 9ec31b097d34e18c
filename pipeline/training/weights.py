"""Trains the weights of a job on this machine's devices, or as one of several machines; the same for both."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from components.storage.memory import keep_memory_flat, reuse_memory
from models.checkpoints.pretrained import build_model
from models.clips import input_pipeline
from models.training.loop import Split
from models.training.phases import train
from models.training.strategies import is_chief
from pipeline.training.job import TrainingJob, check_first_weights
from pipeline.training.record import kept_record
from pipeline.training.splits import check_batches, count_clips
from schemas import serving


class Trained(NamedTuple):
    """What a training leaves.

    Attributes:
      model: The network, trained.
      eval_clips: The clips that were evaluated while it was.
      record: How it was trained; empty on other machines than the chief.
    """

    model: keras.Model
    eval_clips: Split
    record: dict[str, Any]


def train_weights(job: TrainingJob, strategy: tf.distribute.Strategy, first: str, *, log_dir: str) -> Trained:
    """Trains the weights of a job, from its last checkpoint on; trains nothing where they are finished.

    Args:
      job: What is trained.
      strategy: From `build_strategy`, before anything was computed.
      first: Local copy of the job's first weights; empty for fresh ones.
      log_dir: Folder of the TensorBoard logs.

    Raises:
      TrainingError: As `count_clips`, `check_batches` and `train`.
    """
    check_first_weights(job, first)
    # Most of this process's memory is the network's tensors, or where those are on a device, clips on their way.
    reuse_memory() if serving.compute_device() == "CPU" else keep_memory_flat()
    config = job.config
    train_clips, eval_clips = (
        count_clips(input_pipeline.transformed_source(paths, config.heads, config.storage), job.classes, split)
        for split, paths in (("train", job.train_clips), ("eval", job.eval_clips))
    )
    # Not 0: TensorFlow then compares the tensor that seeds tf.data's shuffle with a number, and fails.
    keras.utils.set_random_seed(config.train.seed + 1)
    check_batches(config.train, train_clips, strategy)
    with strategy.scope():
        model = build_model(config.model, clip_shape=config.clip.shape, classes=job.classes, checkpoint=first)
    started = time.monotonic()
    steps = train(
        model, strategy, config, job.pace, train_clips, eval_clips, checkpoints=job.checkpoints, log_dir=log_dir
    )
    done = list(steps)
    record = {}
    if is_chief(strategy):
        record = kept_record(
            job.checkpoints,
            strategy,
            steps=done[-1] if done else 0,
            trained=bool(done),
            seconds=time.monotonic() - started,
        )
    return Trained(model, eval_clips, record)
