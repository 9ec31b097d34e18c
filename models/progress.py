"""What a training run says of itself: lines for the user, scalars for TensorBoard."""

from __future__ import annotations

import collections
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import tensorflow as tf

_logger = logging.getLogger("vivit.train")


class Progress:
    """Averages metrics between two reports, and measures speed and the share of time spent waiting for input.

    Args:
      log_dir: Folder of the TensorBoard logs.
      total: Steps of the whole run.
      first: Steps done before this process.
      batch_size: Clips per step.
      seconds: Time between two reports.
    """

    def __init__(self, log_dir: str, *, total: int, first: int, batch_size: int, seconds: float = 10.0):
        self._writer = tf.summary.create_file_writer(log_dir)
        self._total, self._batch_size, self._seconds = total, batch_size, seconds
        self._reported_step = first
        self._restart()

    def _restart(self) -> None:
        self._sums, self._count = collections.Counter(), 0
        self._since, self._waited = time.monotonic(), 0.0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Counts the time of its body as waiting for input."""
        started = time.monotonic()
        yield
        self._waited += time.monotonic() - started

    def add(self, metrics: Mapping[str, float]) -> None:
        """Adds the metrics of one step."""
        self._sums.update(metrics)
        self._count += 1

    def evaluated(self, step: int, metrics: Mapping[str, float]) -> None:
        """Reports an evaluation."""
        self._write(step, {f"eval/{name}": value for name, value in metrics.items()})
        _logger.info("step %d/%d: eval, centre view: %s", step, self._total, _in_words(metrics))

    def report(self, step: int, learning_rate: float, *, now: bool = False) -> None:
        """Reports the steps since the last report, if enough time has passed or `now`."""
        elapsed = time.monotonic() - self._since
        if not self._count or (elapsed < self._seconds and not now):
            return
        metrics = {name: value / self._count for name, value in self._sums.items()}
        speed = (step - self._reported_step) * self._batch_size / elapsed
        waited = self._waited / elapsed
        self._write(
            step,
            {
                **{f"train/{name}": value for name, value in metrics.items()},
                "learning_rate": learning_rate,
                "clips_per_second": speed,
                "input_wait": waited,
            },
        )
        _logger.info(
            "step %d/%d: %s, %.0f clips/s, %.0f %% waiting for input",
            step, self._total, _in_words(metrics), speed, 100 * waited,
        )  # fmt: skip
        self._reported_step = step
        self._restart()

    def close(self) -> None:
        """Flushes the TensorBoard logs."""
        self._writer.close()

    def _write(self, step: int, scalars: Mapping[str, float]) -> None:
        with self._writer.as_default(step=step):
            for name, value in scalars.items():
                tf.summary.scalar(name, value)


def _in_words(metrics: Mapping[str, float]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in metrics.items())
