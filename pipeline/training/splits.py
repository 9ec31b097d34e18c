"""The clips of a training, counted and checked before the first step; none is read."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import tensorflow as tf

from models.clips.source import Source
from models.training.config import LearningConfig
from models.training.loop import Split, TrainingError

_logger = logging.getLogger("vivit.train")
# Clips of which moments say something.
_FEWEST_STANDARDISED = 4


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
      TrainingError: If the training clips do not fill a batch, the devices cannot share one evenly, or their shares are
        too small for `train.standardise`.
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
    share = train.batch_size // (devices * parts)
    if train.standardise and share < _FEWEST_STANDARDISED:
        raise TrainingError(
            f"train.standardise takes the moments of what is in the network at once, here {share} of "
            f"{train.batch_size} clips ({devices} devices, {parts} parts each), and wants {_FEWEST_STANDARDISED}: "
            "raise train.batch_size, lower train.accumulate_steps, or set train.standardise=false"
        )
    for head, names in train_clips.classes.items():
        missing = [name for class_id, name in enumerate(names) if not train_clips.counts[head].get(class_id)]
        if missing:
            _logger.warning("head %s: %d class(es) without a training clip: %s", head, len(missing), ", ".join(missing))
