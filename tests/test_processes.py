"""tests.processes: what it starts is as a process that a terminal starts, and ends as one."""

import json
import os
import signal
import sys
import tempfile
import time

import pytest

from tests import processes


def tell(file):
    """Writes what this process has."""
    import tensorflow as tf

    missing = sorted(set(processes.PRELOADED) - set(sys.modules))
    # Impossible once TensorFlow has computed something.
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    variables = {name: os.environ.get(name) for name in ("NEW", "GIVEN", "GONE")}
    file.write_text(json.dumps([missing, os.getcwd(), tempfile.gettempdir(), variables]))


def test_a_process_has_what_is_preloaded_and_else_what_its_start_gives_it(tmp_path, monkeypatch):
    for number in range(2):
        # Whatever was there when the first process started.
        folder = tmp_path / str(number)
        folder.mkdir()
        monkeypatch.setenv("TMPDIR", str(folder))
        monkeypatch.setenv("NEW", str(number))
        monkeypatch.setenv("GONE", "here") if number == 0 else monkeypatch.delenv("GONE")
        process = processes.start(tell, tmp_path / "told", log=tmp_path / "log", folder=folder, GIVEN="given")
        assert processes.wait(process) == 0, (tmp_path / "log").read_text()
        missing, there, temporary, variables = json.loads((tmp_path / "told").read_text())
        assert (missing, there, temporary) == ([], str(folder), str(folder))
        assert variables == {"NEW": str(number), "GIVEN": "given", "GONE": None if number else "here"}


def end(how):
    """Says so, and ends in one of several ways."""
    print("ready")
    if how == "error":
        raise ValueError("so it is")
    if how == "status":
        sys.exit(3)
    time.sleep(60)


@pytest.mark.parametrize(
    ("how", "status", "said"),
    [
        ("status", 3, "ready\n"),
        ("error", 1, "ValueError: so it is"),
        (signal.SIGINT, 1, "KeyboardInterrupt"),
        (signal.SIGTERM, -signal.SIGTERM, "ready\n"),
        (signal.SIGKILL, -signal.SIGKILL, "ready\n"),
    ],
)
def test_the_end_of_a_process_is_what_it_is(tmp_path, how, status, said):
    log = tmp_path / "log"
    process = processes.start(end, how, log=log)
    while isinstance(how, signal.Signals) and not log.read_text():
        assert process.is_alive()
    if isinstance(how, signal.Signals):
        os.kill(process.pid, how)
    assert processes.wait(process) == status
    assert said in log.read_text()
