"""A trace of some steps for TensorBoard's profiler: what host and devices did when."""

from __future__ import annotations

import logging

import tensorflow as tf

_logger = logging.getLogger("vivit.train")


class Trace:
    """Traces the steps from `first` to `last`, counted from 1; none where there are no steps.

    Attributes:
      pauses: Steps after which an execution has to end, so that the trace has these steps and no others.
    """

    def __init__(self, log_dir: str | None, steps: tuple[int, ...]):
        """Sets up the trace; `log_dir` is the folder of the TensorBoard logs, None for no trace."""
        self._log_dir, self._steps, self._on = log_dir, steps if log_dir else (), False
        self.pauses = (steps[0] - 1, steps[1]) if steps else ()

    def before(self, step: int) -> None:
        """Called before step `step` is trained."""
        if self._steps and step == self._steps[0]:
            tf.profiler.experimental.start(self._log_dir)
            self._on = True

    def after(self, step: int) -> None:
        """Called after step `step` is trained."""
        if self._on and step >= self._steps[1]:
            self.close()
            _logger.info("steps %d to %d are traced: %s, for TensorBoard's profiler", *self._steps, self._log_dir)

    def close(self) -> None:
        """Ends a trace that goes on, and writes what it has."""
        if self._on:
            self._on = False
            tf.profiler.experimental.stop()
