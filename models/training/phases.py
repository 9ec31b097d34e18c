"""A whole training run: a probe where one is asked for, then all weights, each from where it was interrupted."""

from __future__ import annotations

import contextlib
import itertools
import logging
from collections.abc import Iterable, Iterator

import keras
import numpy as np
import tensorflow as tf

from models.network.vivit import HEAD
from models.training.config import LearningConfig, PaceConfig, WeightsConfig
from models.training.loop import Split, TrainingError, train_steps
from models.training.probing.features import features_of
from models.training.probing.probe import probe
from models.training.selection.holdout import OneGroupError, held_out
from models.training.standardise import Moments
from models.training.strategies import of_first

# Clips whose features have the moments by which a learned head is standardised at first.
_MOMENTS_OF = 512
_logger = logging.getLogger("vivit.train")


def train(
    model: keras.Model,
    strategy: tf.distribute.Strategy,
    config: WeightsConfig,
    pace: PaceConfig,
    train_clips: Split,
    eval_clips: Split,
    *,
    checkpoints: str,
    log_dir: str,
) -> Iterator[int]:
    """Trains `model` in place while it is iterated: first its head alone (`train.probe`), then all (`train.epochs`).

    Head first, as a fresh head's gradients distort the features that it should learn from (Kumar et al., ICLR 2022).

    Args:
      model, strategy, config, pace, eval_clips, checkpoints, log_dir: As in `train_steps`.
      train_clips: All training clips, those among them that `train.best` holds out.

    Yields:
      Steps done, 0 after a probe; nothing where the weights were there already.

    Raises:
      TrainingError: As `probe` and `train_steps`, or if a part of the clips cannot be held out.
    """
    # What judges is unknown to the head, too.
    learning, held = hold_out(train_clips, config.train)
    probed = None
    if settings := config.train.probe:
        probed = probe(model, config, at_least(learning, settings.clips), folder=checkpoints, strategy=strategy)
        if probed.computed:
            yield 0
    if not config.train.epochs:
        return
    moments = probed and probed.moments
    if config.train.standardise and not probed and np.any(model.get_layer(HEAD).get_weights()[0]):
        # A head that was learned on plain features: of a model of ours that this one starts from.
        found = features_of(model, at_least(learning, _MOMENTS_OF), config.clip, 1, config.train.batch_size)
        moments = Moments(*of_first(strategy, list(found.moments())))
    steps = train_steps(
        model, strategy, config, pace, learning, eval_clips, checkpoints=checkpoints, log_dir=log_dir,
        held_clips=held, moments=moments,
    )  # fmt: skip
    for step, _ in steps:
        yield step


def hold_out(train_clips: Split, train: LearningConfig) -> tuple[Split, Split | None]:
    """The clips to learn from, and with `train.best` those that judge: other groups.

    Raises:
      TrainingError: If all clips are of one group, or too few are left for a batch.
    """
    if not train.best:
        return train_clips, None
    try:
        judging, learning = _parted(train_clips, train.best.holdout, train_clips.source.labels_of.values())
    except OneGroupError as error:
        raise TrainingError(f"train.best.holdout: {error}") from error
    if not judging.count:
        raise TrainingError(
            "train.best.holdout: each group of training clips has the only clips of a class, so that none can be held "
            "out: give them more groups, or set train.best=null"
        )
    if learning.count < train.batch_size:
        raise TrainingError(
            f"with train.best, {learning.count} training clips are left, fewer than a batch of {train.batch_size}: "
            "lower train.batch_size or train.best.holdout"
        )
    _logger.info("%d of %d training clips are held out", judging.count, train_clips.count)
    return learning, judging


def at_least(clips: Split, count: int | None) -> Split:
    """Whole groups with `count` clips or some more; all clips where there are no more, or all are of one group."""
    if not count or clips.count <= count:
        return clips
    with contextlib.suppress(OneGroupError):
        return _parted(clips, count / clips.count)[0]
    return clips


def _parted(clips: Split, share: float, labels: Iterable[np.ndarray] = ()) -> tuple[Split, Split]:
    """The clips of some groups, at least a share of all, and the others; see `held_out`."""
    groups = clips.source.groups()
    chosen = sorted(set(itertools.compress(groups, held_out(groups, share, labels))))
    first, second = (clips.source.only(chosen, inside=inside) for inside in (True, False))
    return Split(first, clips.classes, first.count_labels()), Split(second, clips.classes, second.count_labels())
