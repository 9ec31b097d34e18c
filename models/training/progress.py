"""What a training run reports: lines for the user, scalars and pictures for TensorBoard."""

from __future__ import annotations

import collections
import logging
import time
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

_logger = logging.getLogger("vivit.train")

WAIT, RATE = "input_wait", "learning_rate"
_WORST_CONFUSIONS = 20
# Side of a confusion matrix's picture in pixels, at least.
_PICTURE = 256


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
        self._sums, self._since = collections.Counter(), time.monotonic()

    def add(self, metrics: Mapping[str, np.ndarray]) -> None:
        """Adds metrics, [n] for the last n steps; `WAIT` is in seconds, and `RATE` the learning rate."""
        self._sums.update({name: float(np.sum(values)) for name, values in metrics.items()})

    def report(self, step: int, *, now: bool = False) -> None:
        """Reports the steps since the last report, if enough time has passed or `now`."""
        elapsed, steps = time.monotonic() - self._since, step - self._reported_step
        if not steps or (elapsed < self._seconds and not now):
            return
        metrics = {name: value / steps for name, value in self._sums.items()}
        rate, waited = metrics.pop(RATE), metrics.pop(WAIT) * steps / elapsed
        speed = steps * self._batch_size / elapsed
        with self._writer.as_default(step=step):
            _write_scalars({f"train/{name}": value for name, value in metrics.items()})
            _write_scalars({RATE: rate, "clips_per_second": speed, WAIT: waited})
        _logger.info(
            "step %d/%d: %s, %.0f clips/s, %.0f %% waiting for input",
            step, self._total, _in_words(metrics), speed, 100 * waited,
        )  # fmt: skip
        self._reported_step = step
        self._restart()

    def evaluated(
        self, step: int, metrics: Mapping[str, float], confusions: Mapping[str, np.ndarray], classes: Mapping
    ) -> None:
        """Reports an evaluation; its time does not count as training.

        Args:
          step: Steps done.
          metrics: Averages by name.
          confusions: Clips of a true class (row) named as another (column), [K, K] by head.
          classes: Names of the K classes by head.
        """
        with self._writer.as_default(step=step):
            _write_scalars({f"eval/{name}": value for name, value in metrics.items()})
            for head, counts in confusions.items():
                tf.summary.image(f"confusion/{head}", draw_confusion(counts)[np.newaxis])
                tf.summary.text(f"confusion/{head}", list_confusions(counts, classes[head]))
        _logger.info("step %d/%d: eval, centre view: %s", step, self._total, _in_words(metrics))
        self._restart()

    def show(self, step: int, clips: np.ndarray) -> None:
        """Shows training clips, float [B, T, H, W, 3] in [-1, 1] as the network sees them: a strip of frames each."""
        batch, frames, height, width, _ = clips.shape
        strips = np.swapaxes(clips, 1, 2).reshape(batch, height, frames * width, 3)
        with self._writer.as_default(step=step):
            tf.summary.image("train/clips", (strips + 1) / 2, max_outputs=batch)

    def close(self) -> None:
        """Flushes the TensorBoard logs."""
        self._writer.close()


def draw_confusion(counts: np.ndarray) -> np.ndarray:
    """A picture of counts [K, K], uint8 [S, S, 1]: row by row the share of a true class in white, squares for cells."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    cell = -(-_PICTURE // len(counts))
    return np.kron(np.round(255 * shares).astype(np.uint8), np.ones((cell, cell), np.uint8))[..., np.newaxis]


def list_confusions(counts: np.ndarray, classes: Sequence[str]) -> str:
    """The pairs of classes taken for each other most often, a Markdown table."""
    wrong = counts * (1 - np.eye(len(counts)))
    order = np.argsort(-wrong, axis=None, kind="stable")[:_WORST_CONFUSIONS]
    pairs = [divmod(int(index), len(counts)) for index in order if wrong.flat[index]]
    rows = [f"| {classes[true]} | {classes[named]} | {int(wrong[true, named])} |" for true, named in pairs]
    return "\n".join(["| class | named as | clips |", "|---|---|---|", *rows])


def _write_scalars(scalars: Mapping[str, float]) -> None:
    for name, value in scalars.items():
        tf.summary.scalar(name, value)


def _in_words(metrics: Mapping[str, float]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in metrics.items())
