"""Real processes that start at once: forked from one that has imported what they need, and has computed nothing.

To import TensorFlow and TFX takes longer than most of what the tests do with them. A process of `start` is as one that
a terminal starts: its environment, folder and signals are its own, and nothing of another process is in it. What is
true of an interpreter that has imported nothing is tested with `subprocess`.
"""

from __future__ import annotations

import atexit
import gc
import multiprocessing
import os
import runpy
import signal
import sys
import tempfile
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
# Python has one server of forked processes, and it imports these when the first is started: they are for all tests.
PRELOADED = ("tensorflow_model_analysis", "tfx.v1", "pipeline.dag", "tests.models.training.runs")
_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(list(PRELOADED))


def start(
    function: Callable[..., None], *arguments: Any, log: os.PathLike | str, folder: os.PathLike = ROOT, **variables: str
) -> BaseProcess:
    """Starts a function in a process of its own.

    Args:
      function: One that a module names; it may end by ``sys.exit``.
      arguments: Of the function.
      log: File to which the process appends all that it prints, each line at once.
      folder: Where it runs.
      variables: Of its environment, besides those that this process has now.
    """
    environment = {**os.environ, **variables}
    # Whoever waits for a line may read it from now on.
    Path(log).touch()
    process = _SERVER.Process(target=_run, args=(function, arguments, str(log), str(folder), environment))
    process.start()
    return process


def wait(process: BaseProcess) -> int:
    """The exit status of a process once it has ended; of one that a signal ended, its number below zero."""
    process.join()
    return process.exitcode


def assert_compiles(function: Callable[..., None], *arguments: Any, log: Path) -> None:
    """Runs a function that compiles for an accelerator, which must not fail.

    In a process of its own, as XLA reads its flags once. What LLVM makes of a compiled step for this CPU takes most of
    the time and is nothing of an accelerator's; what steps compute is compared elsewhere, with all its passes.
    """
    process = start(function, *arguments, log=log, XLA_FLAGS="--xla_backend_optimization_level=0")
    assert wait(process) == 0, log.read_text()[-4000:]


def run_module(name: str, *arguments: str) -> None:
    """``python -m NAME ARGUMENTS``, for `start`."""
    sys.argv = [name, *arguments]
    runpy.run_module(name, run_name="__main__", alter_sys=True)


def _run(function, arguments, log, folder, environment):
    # What was imported stays; to go through all of it for garbage takes a second each time.
    gc.freeze()
    # A shell has its background jobs, and what they start, ignore the signal.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(environment)
    # As TMPDIR says now.
    tempfile.tempdir = None
    os.chdir(folder)
    with open(log, "ab") as file:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(file.fileno(), stream.fileno())
            stream.reconfigure(line_buffering=True)
    function(*arguments)


@atexit.register
def _end_what_is_left() -> None:
    """Python waits for its processes when it ends, and one that a failed test has left may never end."""
    for process in multiprocessing.active_children():
        process.kill()
