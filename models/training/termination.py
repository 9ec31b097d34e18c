"""SIGTERM while a network trains, by which clouds take a machine away: the step is saved, and training ends.

Signals reach the main thread of a process alone, and training may run in another, as in a local run of the pipeline.
So whoever starts a process listens in its main thread, and the thread that trains asks whether it has to end. Where
nothing trains, and at a second SIGTERM, the process ends at once, as every part of the pipeline survives.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator

_training, _asked = threading.Event(), threading.Event()


class EndAskedError(Exception):
    """The training has to end; its steps can be saved."""


@contextlib.contextmanager
def listening() -> Iterator[None]:
    """Within, SIGTERM lets a training in any thread of this process end in its own way; for the main thread."""
    before = signal.signal(signal.SIGTERM, _on_sigterm)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def training() -> Iterator[None]:
    """Within, something trains, and calls `end_if_asked`."""
    # A strategy over several machines has a handler of TensorFlow's put in place of ours, in C++.
    if signal.getsignal(signal.SIGTERM) is _on_sigterm and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _on_sigterm)
    _asked.clear()
    _training.set()
    try:
        yield
    finally:
        _training.clear()


def asked() -> bool:
    """Whether this process received SIGTERM since the training began."""
    return _training.is_set() and _asked.is_set()


def end_if_asked() -> None:
    """Raises EndAskedError if `asked`."""
    if asked():
        raise EndAskedError


def _on_sigterm(*_) -> None:
    if _training.is_set() and not _asked.is_set():
        _asked.set()
        return
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)
