"""What the user sees, and what goes to the log file instead.

TFX, Beam and TensorFlow write to the process's own stdout and stderr, from Python and from C++. `quiet` points both at
a log file and keeps the terminal for the loggers under ``vivit`` and for the `Console`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from components.storage.room import LogStream

LOGGER = "vivit"
T = TypeVar("T")


class Console:
    """The user's terminal while everything else is logged to a file. A call prints its text."""

    def __init__(self, terminal, errors, log, log_file: str | None):
        self._terminal, self._errors, self._log = terminal, errors, log
        self.log_file = log_file

    def __call__(self, text: str = "") -> None:
        """Prints to the user, and to the log."""
        for stream in (self._terminal, self._log):
            print(text, file=stream, flush=True)

    def show_progress(
        self, items: Iterable[T], total: int | None, text: str, is_bad: Callable[[T], bool] | None = None
    ) -> Iterator[T]:
        """Yields the items, with a progress bar on stderr where that is a terminal; it counts the bad ones if asked."""
        from rich.console import Console as RichConsole
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=RichConsole(file=self._errors),
            expand=True,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            disable=not self._errors.isatty(),
        )
        with bar:
            task, bad = bar.add_task(text, total=total, rate=""), 0
            for item in items:
                yield item
                bad += bool(is_bad and is_bad(item))
                speed = bar.tasks[0].speed
                description = f"{text}, {bad} bad" if is_bad else text
                bar.update(task, advance=1, description=description, rate=f"{speed:.1f}/s" if speed else "")


@contextmanager
def quiet(log_dir: str | None) -> Iterator[Console]:
    """Redirects stdout, stderr and Python's logging into a file in `log_dir`; into nothing where there can be none.

    Must start before TensorFlow is imported, whose first lines would reach the terminal otherwise.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    log_file = _new_log(log_dir) if log_dir is not None else None
    sys.stdout.flush()
    sys.stderr.flush()
    saved = [os.dup(1), os.dup(2)]
    # The steps of a pipeline report through the same loggers; their children inherit the redirected descriptors.
    with (
        open(log_file or os.devnull, "ab") as file,
        os.fdopen(os.dup(1), "w", errors="replace") as terminal,
        os.fdopen(os.dup(2), "w", errors="replace") as errors,
    ):
        log = LogStream(file.fileno())
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        handlers = _attach(terminal, log)
        try:
            with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
                yield Console(terminal, errors, log, log_file)
        finally:
            for logger, handler in handlers:
                logger.removeHandler(handler)
            os.dup2(saved[0], 1)
            os.dup2(saved[1], 2)
            for descriptor in saved:
                os.close(descriptor)


def _new_log(folder: str) -> str | None:
    """A file for the log; None where none can be made, which the command itself finds out and says."""
    path = os.path.join(folder, time.strftime("%Y%m%d-%H%M%S.log"))
    with contextlib.suppress(OSError):
        os.makedirs(folder, exist_ok=True)
        with open(path, "ab"):
            return path
    return None


def _attach(terminal, log) -> list[tuple[logging.Logger, logging.Handler]]:
    ours = logging.StreamHandler(terminal)
    ours.setFormatter(logging.Formatter("      %(message)s"))
    everything = logging.StreamHandler(log)
    everything.setFormatter(logging.Formatter("%(asctime)s %(levelname).1s %(name)s: %(message)s"))
    pairs = [(logging.getLogger(LOGGER), ours), (logging.getLogger(), everything)]
    for logger, handler in pairs:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
    return pairs


def typed_command() -> str:
    """This command as the user can type it here: its name if it is on the path, else its file."""
    script = sys.argv[0]
    if os.path.basename(script) != "vivit" or shutil.which("vivit") == os.path.abspath(script):
        return "vivit"
    return typed_path(os.path.abspath(script))


def typed_path(path: str) -> str:
    """The shortest form of a path from the current folder."""
    relative = os.path.relpath(path) if os.path.isabs(path) else path
    return relative if not relative.startswith("..") else path


def printable(text: str) -> str:
    """Text without terminal control characters, which the name of a file or a class could contain."""
    return text if text.isprintable() else repr(text)


def aligned(rows: Sequence[Sequence[str]], widest: int) -> list[str]:
    """Lines of a table; a value longer than `widest` does not widen its column for all. Values are printable."""
    from rich.cells import cell_len

    # Letters of some scripts take two cells, marks none.
    widths = [min(widest, max(map(cell_len, column))) for column in zip(*rows, strict=True)]
    return [
        "  ".join(value + " " * (width - cell_len(value)) for value, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
