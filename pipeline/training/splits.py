"""The clips of a training, counted and checked before the first step; none is read."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import tensorflow as tf

from models.clips.source import Source
from models.training.config import LearningConfig
from models.training.loop import Split, TrainingError

_logger = logging.getLogger("vivit.train")


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
