"""How far a long job is, now and then, with the time that is left."""

from __future__ import annotations

import contextlib
import datetime
import logging
import threading
import time
from collections.abc import Callable, Iterator

_SECONDS_BETWEEN_LINES = 10
_logger = logging.getLogger("vivit.predict")


@contextlib.contextmanager
def logged(done: Callable[[], int], total: int) -> Iterator[None]:
    """Logs how much of something is done while the code within runs.

    Args:
      done: How many clips are done; what was done before counts.
      total: How many there are.
    """
    ended = threading.Event()
    thread = threading.Thread(target=_log, args=(done, total, ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _log(done: Callable[[], int], total: int, ended: threading.Event) -> None:
    started, first = time.monotonic(), done()
    while not ended.wait(_SECONDS_BETWEEN_LINES):
        now = done()
        rate = (now - first) / (time.monotonic() - started)
        left = f", about {datetime.timedelta(seconds=round((total - now) / rate))} left" if rate else ""
        _logger.info("%d of %d clips predicted, %.1f a second%s", now, total, rate, left)
