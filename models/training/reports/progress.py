"""What a training run reports: lines for the user, scalars and pictures for TensorBoard."""

from __future__ import annotations

import collections
import logging
import time
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from models.training.reports.devices import memory_used

_logger = logging.getLogger("vivit.train")

WAIT, RATE = "input_wait", "learning_rate"
_WORST_CONFUSIONS = 20
# Side of a confusion matrix's picture in pixels, at least.
_PICTURE = 256
# A speed is known after so many steps, or after fewer that took so many seconds: the first ones find batches ready.
_MANY_STEPS, _FEW_STEPS, _FEW_STEPS_SECONDS = 20, 3, 5.0


class TimeLeft:
    """How long a run will still take, from what this process has taken for training and evaluation so far.

    Until an evaluation has been timed, a clip of it counts as one of training. Then the last one counts: the first one,
    which compiles, makes the time too long until the second.

    Args:
      total: Steps of the whole run.
      batch_size: Clips per step.
      eval_steps: Steps between two evaluations; one more follows the last step.
      eval_clips: Clips of an evaluation.
    """

    def __init__(self, *, total: int, batch_size: int, eval_steps: int, eval_clips: int):
        self._total, self._batch_size = total, batch_size
        self._eval_steps, self._eval_clips = eval_steps, eval_clips
        self._compiled, self._steps, self._seconds = False, 0, 0.0
        self._eval_seconds: float | None = None

    def trained(self, steps: int, seconds: float) -> None:
        """Counts an execution of some steps; not the first one, which compiles them."""
        if self._compiled:
            self._steps += steps
            self._seconds += seconds
        self._compiled = True

    def evaluated(self, seconds: float) -> None:
        """Counts an evaluation."""
        self._eval_seconds = seconds

    @property
    def known(self) -> bool:
        """Whether enough was counted to know the speed."""
        return self._steps >= (_FEW_STEPS if self._seconds >= _FEW_STEPS_SECONDS else _MANY_STEPS)

    @property
    def clips_per_second(self) -> float:
        """Speed of training."""
        return self._steps * self._batch_size / self._seconds

    def evaluations(self, step: int) -> int:
        """Evaluations after step `step`, counted from 1, and later ones."""
        before = (step - 1) // self._eval_steps
        return self._total // self._eval_steps - before + (self._total % self._eval_steps > 0)

    def after(self, step: int) -> float:
        """Seconds from the end of step `step`, before its evaluation, to the end of the run."""
        each = self._eval_clips / self.clips_per_second if self._eval_seconds is None else self._eval_seconds
        return (self._total - step) * self._seconds / self._steps + self.evaluations(step) * each


class Progress:
    """Averages metrics between two reports, and measures speed and the share of time spent waiting for input.

    Args:
      log_dir: Folder of the TensorBoard logs; None writes none.
      total: Steps of the whole run.
      first: Steps done before this process.
      batch_size: Clips per step.
      eval_steps: Steps between two evaluations.
      eval_clips: Clips of an evaluation.
      peak: Clips a second that the devices could train at most; None if it is not known.
      seconds: Time between two reports.
    """

    def __init__(
        self,
        log_dir: str | None,
        *,
        total: int,
        first: int,
        batch_size: int,
        eval_steps: int,
        eval_clips: int,
        peak: float | None = None,
        seconds: float = 10.0,
    ):
        self._time_left = TimeLeft(total=total, batch_size=batch_size, eval_steps=eval_steps, eval_clips=eval_clips)
        self._step, self._timed, self._announced = first, time.monotonic(), False
        self._writer = tf.summary.create_file_writer(log_dir) if log_dir else tf.summary.create_noop_writer()
        self._total, self._batch_size, self._seconds = total, batch_size, seconds
        self._reported_step, self._peak = first, peak
        self._restart()

    def _restart(self) -> None:
        self._sums, self._since = collections.Counter(), time.monotonic()

    def _seconds_since_last_timed(self) -> float:
        before, self._timed = self._timed, time.monotonic()
        return self._timed - before

    def add(self, metrics: Mapping[str, np.ndarray]) -> None:
        """Adds metrics, [n] for the last n steps; `WAIT` is in seconds, and `RATE` the learning rate.

        Says how long the run will take as soon as its speed is known.
        """
        self._sums.update({name: float(np.sum(values)) for name, values in metrics.items()})
        steps = len(metrics[RATE])
        self._step += steps
        self._time_left.trained(steps, self._seconds_since_last_timed())
        if self._time_left.known and not self._announced:
            self._announced = True
            _logger.info(
                "training: about %s at %s clips/s, %d evaluation(s) included",
                time_in_words(self._time_left.after(self._step)),
                speed_in_words(self._time_left.clips_per_second),
                self._time_left.evaluations(self._step),
            )

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
            if (memory := memory_used()) is not None:
                _write_scalars({"memory_gb": memory})
            if self._peak:
                _write_scalars({"share_of_peak": speed / self._peak})
        of_peak = f", {100 * speed / self._peak:.0f} % of the devices' peak" if self._peak else ""
        left = f", {time_in_words(self._time_left.after(step))} left" if self._time_left.known else ""
        _logger.info(
            "step %d/%d: %s, %s clips/s%s, %.0f %% waiting for input%s",
            step, self._total, _in_words(metrics), speed_in_words(speed), of_peak, 100 * waited, left,
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
        self._time_left.evaluated(self._seconds_since_last_timed())
        self._restart()

    def held_out(self, step: int, metrics: Mapping[str, float]) -> None:
        """Reports averages over the training clips that are held out; its time does not count as training."""
        with self._writer.as_default(step=step):
            _write_scalars({f"held_out/{name}": value for name, value in metrics.items()})
        _logger.info("step %d/%d: held-out training clips: %s", step, self._total, _in_words(metrics))
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


def time_in_words(seconds: float) -> str:
    """A length of time for a reader: 40 s, 6 min, 3 h 20 min, 2 days 4 h."""
    minutes, hours = round(seconds / 60), round(seconds / 3600)
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    if hours < 48:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{hours // 24} days {hours % 24} h"


def _write_scalars(scalars: Mapping[str, float]) -> None:
    for name, value in scalars.items():
        tf.summary.scalar(name, value)


def speed_in_words(clips_per_second: float) -> str:
    """Two digits, e.g. "1.3" or "120"."""
    return f"{clips_per_second:.{0 if clips_per_second >= 10 else 1}f}"


def _in_words(metrics: Mapping[str, float]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in metrics.items())
