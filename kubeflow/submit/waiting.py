"""Follows a run to its end: a line for every change of a step."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from kubeflow.submit.service import ENDED, NoAnswerError, Progress, Step

# Seconds between two looks: short at first, for a run that fails at once.
_FIRST, _GROWTH, _LONGEST = 0.5, 1.5, 15.0
# Seconds without an answer after which the wait ends. The run does not.
_PATIENCE = 600.0


class TimeIsUpError(RuntimeError):
    """A run has not ended in the time that was given."""


def wait(look: Callable[[], Progress], echo: Callable[[str], None], timeout: float | None = None) -> Progress:
    """Waits until a run has ended, and shows each step as it changes.

    Args:
      look: How the run goes now.
      echo: Called with each line for the user.
      timeout: Seconds; None waits for ever.

    Raises:
      TimeIsUpError: If the run has not ended by then.
      ServiceError: If the server refuses, or has not answered for ten minutes.
    """
    begin = answered = time.monotonic()
    pause, shown = _FIRST, {}
    silent = False
    while True:
        try:
            progress = look()
            answered, silent = time.monotonic(), False
            _show_changes(progress, shown, echo)
            if progress.state in ENDED:
                return progress
        except NoAnswerError as error:
            if time.monotonic() - answered > _PATIENCE:
                raise
            if not silent:
                echo(f"  {error}; trying again …")
            silent = True
        left = math.inf if timeout is None else begin + timeout - time.monotonic()
        if left <= 0:
            raise TimeIsUpError(f"the run has not ended in {duration(timeout)}, and goes on")
        time.sleep(min(pause, left))
        pause = min(pause * _GROWTH, _LONGEST)


def duration(seconds: float) -> str:
    """E.g. "48 s", "3 min 12 s" or "2 h 5 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _show_changes(progress: Progress, shown: dict[str, Step], echo: Callable[[str], None]) -> None:
    widest = max((len(step.name) for step in progress.steps), default=0)
    for step in progress.steps:
        before = shown.get(step.name)
        if step.state != (before.state if before else "waiting"):
            took = f" {duration(step.seconds)}" if step.seconds is not None and step.state in ENDED else ""
            echo(f"  {step.name:{widest}}  {step.state}{took}")
        shown[step.name] = step
