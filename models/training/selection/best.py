"""The best weights of a run, by training clips that it does not learn from."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence

import tensorflow as tf

from models.training.config import BestConfig

_logger = logging.getLogger("vivit.train")


class BestWeights:
    """The best weights so far, kept in a folder, so that a run that goes on knows them."""

    def __init__(self, folder: str, variables: Sequence[tf.Variable], config: BestConfig, every: int, *, chief: bool):
        """Looks for the best weights of a run that was interrupted.

        Args:
          folder: Any URI, the same for all hosts.
          variables: What is kept, and what `restore` fills.
          config: When to stop.
          every: Steps between two judgements.
          chief: Whether this process writes.
        """
        self._path, self._chief = os.path.join(folder, "best"), chief
        self._record = f"{self._path}.json"
        self._weights = tf.train.Checkpoint(model=list(variables))
        self._patience = every * config.patience if config.patience else None
        self.step, self._score = 0, None
        if tf.io.gfile.exists(self._record):
            with tf.io.gfile.GFile(self._record) as file:
                record = json.load(file)
            self.step, self._score = record["step"], tuple(record["score"])

    def judge(self, step: int, metrics: Mapping[str, float]) -> bool:
        """Keeps the weights if they are better than all before; returns whether to go on.

        Args:
          step: Steps done.
          metrics: Averages over the held-out clips: accuracies of the heads (the higher their mean, the better), and
            the loss, which decides between equals.
        """
        accuracies = [value for name, value in metrics.items() if name.endswith("accuracy")]
        score = (sum(accuracies) / len(accuracies), -metrics.get("total_loss", metrics.get("loss", 0.0)))
        if self._score is None or score > self._score:
            self.step, self._score = step, score
            if self._chief:
                # The record last: without it, there are no best weights.
                self._weights.write(self._path)
                with tf.io.gfile.GFile(self._record, "w") as file:
                    json.dump({"step": step, "score": score}, file)
        if self._patience and step - self.step >= self._patience:
            _logger.info("step %d: no better than step %d since; training stops early", step, self.step)
            return False
        return True

    def restore(self) -> None:
        """Fills the variables with the best weights."""
        self._weights.read(self._path).assert_consumed()
        _logger.info("the weights of step %d are kept: top-1 %.3f of the held-out clips", self.step, self._score[0])

    def remove(self) -> None:
        """Removes the files."""
        if self._chief:
            for path in tf.io.gfile.glob(f"{self._path}.*"):
                tf.io.gfile.remove(path)
