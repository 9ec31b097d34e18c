"""``vivit train`` on several machines, each a process: what they train, and what a lost one does to the others."""

import dataclasses
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from components.media.config import part
from models.training.config import LearningConfig, PaceConfig, WeightsConfig
from pipeline.training.job import await_training, make_job, write_job
from pipeline.training.weights import train_weights
from tests.models.training import runs
from tests.models.training.runs import with_settings

ROOT = Path(__file__).parents[3]
CONFIG = with_settings(
    train__epochs="40",
    train__checkpoint_steps="20",
    train__eval_epochs="20",
    augment__erasing="0.5",
    augment__repeats="2",
    train__sampling="balanced",
    model__num_layers="1",
    train__strategy="multi_worker",
    train__elsewhere="true",
)
AGAIN = 75


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    runs.write_clips(folder)
    return folder


def job_of(clips, workdir, config=CONFIG):
    """The job of a workdir, as the pipeline's Trainer leaves it."""
    indexes = sorted(map(str, clips.glob("*.gz")))
    root = str(workdir / "checkpoints")
    learning = part(WeightsConfig, dataclasses.replace(config, train=part(LearningConfig, config.train)))
    job = make_job(
        learning, part(PaceConfig, config.train), classes=runs.CLASSES,
        train_clips=indexes, eval_clips=indexes, first="", root=root,
    )  # fmt: skip
    write_job(job, root)
    return job


class Machine:
    """A process of ``vivit train``; `said` is everything that it has printed, in all its lives."""

    def __init__(self, workdir, index, workers):
        self._cluster = json.dumps({"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}})
        self._log, self._workdir = workdir / f"machine{index}.log", workdir

    def start(self):
        with open(self._log, "a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pipeline.cli", "train", "--workdir", self._workdir],
                cwd=ROOT, env=os.environ | {"TF_CONFIG": self._cluster}, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip

    @property
    def said(self):
        return self._log.read_text()


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("localhost", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@pytest.mark.end_to_end
def test_two_machines_of_which_one_is_lost_and_started_again_train_what_one_trains(clips, tmp_path):
    job = job_of(clips, tmp_path)
    workers = [f"localhost:{port}" for port in free_ports(2)]
    machines = [Machine(tmp_path, index, workers) for index in range(2)]
    for machine in machines:
        machine.start()
    while not tf.train.latest_checkpoint(job.checkpoints):
        assert [machine.process.poll() for machine in machines] == [None, None], machines[0].said + machines[1].said
        time.sleep(0.02)
    machines[1].process.send_signal(signal.SIGKILL)
    assert machines[1].process.wait() == -signal.SIGKILL
    assert machines[0].process.wait(timeout=120) == AGAIN, machines[0].said
    assert "Run the same command again" in machines[0].said
    for machine in machines:
        machine.start()
    assert [machine.process.wait() for machine in machines] == [0, 0], machines[0].said
    assert re.search("going on from step [1-9]", machines[0].said)
    await_training(job, "never shown")
    curve = [path for path in os.listdir(job.log_dir) if path.startswith("events")]
    assert len(curve) == 2

    one = dataclasses.replace(CONFIG.train, strategy="one", elsewhere=False)
    here = job_of(clips, tmp_path / "one", dataclasses.replace(CONFIG, train=one))
    wanted = train_weights(here, tf.distribute.get_strategy(), "", log_dir=str(tmp_path / "one" / "logs"))
    found = train_weights(job, tf.distribute.get_strategy(), "", log_dir=str(tmp_path / "again"))
    assert found.record["devices"][0].startswith("2 x CPU")
    for ours, theirs in zip(found.model.weights, wanted.model.weights, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=0, atol=1e-5)
