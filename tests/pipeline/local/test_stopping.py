"""A run that is stopped by Ctrl-C: in ingest and in training, and run again to its end."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import TINY, TWO_HEADS, UNGATED

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.end_to_end


def run_until(line, command, environment):
    """Runs a command and presses Ctrl-C once it prints this line, if any; returns its status and all that it prints."""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # A shell has its background jobs, and what they start, ignore the signal.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    shown = []
    for printed in process.stdout:
        shown.append(printed)
        if line and line in printed:
            process.send_signal(signal.SIGINT)
    return process.wait(), "".join(shown)


def test_a_run_that_is_stopped_says_so_and_goes_on_from_where_it_was(two_heads_run, tmp_path):
    settings = [*TINY, *UNGATED, *TWO_HEADS]
    workdir = str(tmp_path / "run")
    command = [sys.executable, "-m", "pipeline.cli", "run", "--recipe", "demo", "--data", str(two_heads_run.data)]
    command += ["--workdir", workdir, *(word for setting in settings for word in ("--set", setting))]
    environment = {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    for step in ("VideoExampleGen", "Trainer"):
        status, shown = run_until(f"{step} …", command, environment)
        assert status == 130
        assert "Traceback" not in shown
        assert shown.endswith(
            f"\nWhat is finished is kept in {workdir}; the same command goes on from there.\nvivit: stopped\n"
        )
    status, shown = run_until(None, command, environment)
    assert status == 0
    (pushed,) = (tmp_path / "run" / "pushed").iterdir()
    weights = [
        path.read_bytes() for folder in (pushed, *two_heads_run.pushed) for path in folder.glob("variables/*00*")
    ]
    assert weights[0] == weights[1]
