"""Ctrl-C in a run: Beam makes an error of its own of it, and its threads go on for as long as their work takes.

SIGTERM lets the Trainer, which is one of these threads, save its step first.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator

from models.training import termination

STATUS = 130
# A step that has not ended by then is left as if it were killed, which every step survives.
_PATIENCE_SECONDS = 5


@contextlib.contextmanager
def stoppable(say_what_is_kept: Callable[[], None]) -> Iterator[None]:
    """Ctrl-C ends what runs within by KeyboardInterrupt, whatever that becomes on its way up.

    Five seconds later, or at a second Ctrl-C, it ends the process.
    """
    pressed = threading.Event()

    def end() -> None:
        os._exit(STATUS)

    def give_up() -> None:
        say_what_is_kept()
        end()

    timer = threading.Timer(_PATIENCE_SECONDS, give_up)
    timer.daemon = True

    def stop(*_) -> None:
        if pressed.is_set():
            end()
        pressed.set()
        timer.start()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, stop)
    try:
        with termination.listening():
            yield
    except BaseException as error:
        if not pressed.is_set():
            raise
        timer.cancel()
        say_what_is_kept()
        raise KeyboardInterrupt from error
    finally:
        signal.signal(signal.SIGINT, before)
