"""What a training run saves: its last steps while it runs, and its weights when it is finished."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Sequence

import keras
import tensorflow as tf

_FINISHED = "finished"
_logger = logging.getLogger("vivit.train")


class Checkpoints:
    """The checkpoints of one training run in a folder of its own.

    Attributes:
      step: The step that the last checkpoint, restored or saved, is of; 0 for none.
    """

    def __init__(
        self,
        folder: str,
        model: keras.Model,
        optimizer: keras.Optimizer,
        *,
        chief: bool,
        others: Sequence[tf.Variable] = (),
    ):
        """Sets up the checkpoints; restores and saves nothing yet.

        Args:
          folder: Any URI, the same for all hosts.
          model: The network.
          optimizer: Built; saved with all that training changes: weights, states of random layers, its step.
          chief: Whether what this process saves is kept. Every host must save.
          others: What a run that goes on needs besides.
        """
        self._folder, self._chief, self._optimizer = folder, chief, optimizer
        self._weights = tf.train.Checkpoint(model=[variable.value for variable in model.variables])
        everything = {
            "model": [variable.value for variable in model.variables],
            "optimizer": [variable.value for variable in optimizer.variables],
        }
        self._all = tf.train.Checkpoint(**everything, **({"others": list(others)} if others else {}))
        # Goes with this object, or with the process.
        self._unread = None if chief else tempfile.TemporaryDirectory(prefix="vivit-")
        self._own = self._unread.name if self._unread else folder
        self._steps = tf.train.CheckpointManager(self._all, self._own, max_to_keep=2, checkpoint_name="step")
        self.step = 0

    def restore(self) -> int:
        """Restores the last checkpoint, if there is one; returns the number of finished steps."""
        last = tf.train.latest_checkpoint(self._folder)
        if last:
            self._all.restore(last).assert_consumed()
            _logger.info("going on from step %d", self._optimizer.iterations.numpy())
        self.step = int(self._optimizer.iterations.numpy())
        return self.step

    def save(self, step: int) -> None:
        """Saves the run after a step, and removes all but the last two checkpoints."""
        self._steps.save(checkpoint_number=step)
        self.step = step

    def restore_finished(self) -> bool:
        """Restores the weights of a finished run; returns whether there are any."""
        finished = os.path.join(self._folder, _FINISHED)
        if not tf.io.gfile.exists(f"{finished}.index"):
            return False
        self._weights.read(finished).assert_consumed()
        return True

    def finish(self) -> None:
        """Saves the weights as those of a finished run, and removes the checkpoints of its steps."""
        self._weights.write(os.path.join(self._own, _FINISHED))
        if self._chief:
            for path in tf.io.gfile.glob([os.path.join(self._own, "step-*"), os.path.join(self._own, "checkpoint")]):
                tf.io.gfile.remove(path)
