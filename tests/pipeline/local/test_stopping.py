"""A run that is stopped by Ctrl-C: in ingest and in training, and run again to its end."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tests import processes
from tests.conftest import TINY, TWO_HEADS, UNGATED

pytestmark = pytest.mark.end_to_end


def from_terminal(arguments, log):
    """Starts the command in an interpreter of its own; returns its process, and a function for its status."""
    with log.open("ab") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "pipeline.cli", *arguments],
            cwd=processes.ROOT,
            env={**os.environ, "PYTHONPATH": str(processes.ROOT), "PYTHONUNBUFFERED": "1"},
            stdout=file,
            stderr=subprocess.STDOUT,
            # A shell has its background jobs, and what they start, ignore the signal.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
    return process, process.poll


def forked(arguments, log):
    """The same, without its imports."""
    process = processes.start(processes.run_module, "pipeline.cli", *arguments, log=log)
    return process, lambda: process.exitcode


def run_until(line, start, arguments, log):
    """Runs the command, with Ctrl-C once it prints this line, if any; returns its status and all that it prints."""
    process, status = start(arguments, log)
    while status() is None:
        if line and line in log.read_text():
            os.kill(process.pid, signal.SIGINT)
            line = None
        time.sleep(0.05)
    return status(), log.read_text()


def test_a_run_that_is_stopped_says_so_and_goes_on_from_where_it_was(two_heads_run, tmp_path):
    settings = [*TINY, *UNGATED, *TWO_HEADS]
    workdir = str(tmp_path / "run")
    command = ["run", "--recipe", "demo", "--data", str(two_heads_run.data), "--workdir", workdir]
    command += [word for setting in settings for word in ("--set", setting)]
    for step, start in (("VideoExampleGen", from_terminal), ("Trainer", forked)):
        status, shown = run_until(f"{step} …", start, command, tmp_path / f"{step}.log")
        assert status == 130
        assert "Traceback" not in shown
        assert shown.endswith(
            f"\nWhat is finished is kept in {workdir}; the same command goes on from there.\nvivit: stopped\n"
        )
    status, shown = run_until(None, forked, command, tmp_path / "whole.log")
    assert status == 0, shown
    (pushed,) = (tmp_path / "run" / "pushed").iterdir()
    weights = [
        path.read_bytes() for folder in (pushed, *two_heads_run.pushed) for path in folder.glob("variables/*00*")
    ]
    assert weights[0] == weights[1]
