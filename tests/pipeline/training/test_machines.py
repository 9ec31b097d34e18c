"""``vivit train`` on several machines, each a process: what they train, and what a lost one does to the others."""

import dataclasses
import os
import re
import signal
import time

import numpy as np
import pytest
import tensorflow as tf

from components.media.config import part
from models.training.config import LearningConfig, PaceConfig, WeightsConfig
from pipeline.training.job import await_training, make_job, write_job
from pipeline.training.weights import train_weights
from tests import processes
from tests.models.training import runs
from tests.models.training.runs import with_settings

CONFIG = with_settings(
    train__epochs="10",
    train__checkpoint_steps="10",
    train__eval_epochs="10",
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

    def __init__(self, workdir, index, machine):
        self._log, self._workdir, self._machine = workdir / f"machine{index}.log", workdir, machine

    def start(self):
        command = (processes.run_module, "pipeline.cli", "train", "--workdir", str(self._workdir))
        self.process = processes.start(*command, log=self._log, TF_CONFIG=self._machine)

    @property
    def said(self):
        return self._log.read_text()


@pytest.mark.end_to_end
def test_two_machines_of_which_one_is_lost_and_started_again_train_what_one_trains(clips, tmp_path):
    job = job_of(clips, tmp_path)
    machines = [Machine(tmp_path, index, machine) for index, machine in enumerate(runs.machines(2))]
    for machine in machines:
        machine.start()
    while not tf.train.latest_checkpoint(job.checkpoints):
        assert all(machine.process.is_alive() for machine in machines), machines[0].said + machines[1].said
        time.sleep(0.02)
    machines[1].process.kill()
    assert [processes.wait(machine.process) for machine in machines] == [AGAIN, -signal.SIGKILL], machines[0].said
    assert "Run the same command again" in machines[0].said
    for machine in machines:
        machine.start()
    assert [processes.wait(machine.process) for machine in machines] == [0, 0], machines[0].said
    assert re.search("going on from step [1-9]", machines[0].said)
    await_training(job, "never shown")
    # One that was killed at the very end finds that nothing is left to do, though the other does not come again.
    machines[1].start()
    assert processes.wait(machines[1].process) == 0, machines[1].said
    curve = [path for path in os.listdir(job.log_dir) if path.startswith("events")]
    assert len(curve) == 2

    one = dataclasses.replace(CONFIG.train, strategy="one", elsewhere=False)
    here = job_of(clips, tmp_path / "one", dataclasses.replace(CONFIG, train=one))
    wanted = train_weights(here, tf.distribute.get_strategy(), "", log_dir=str(tmp_path / "one" / "logs"))
    found = train_weights(job, tf.distribute.get_strategy(), "", log_dir=str(tmp_path / "again"))
    assert found.record["devices"][0].startswith("2 x CPU")
    for ours, theirs in zip(found.model.weights, wanted.model.weights, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=0, atol=1e-5)


def test_sigterm_saves_the_step_and_the_same_command_goes_on_from_it(clips, tmp_path):
    one = dataclasses.replace(CONFIG.train, strategy="one", epochs=20)
    job = job_of(clips, tmp_path, dataclasses.replace(CONFIG, train=one))
    machine = Machine(tmp_path, 0, "")
    machine.start()
    while not tf.train.latest_checkpoint(job.checkpoints):
        assert machine.process.is_alive(), machine.said
        time.sleep(0.02)
    machine.process.terminate()
    assert processes.wait(machine.process) == AGAIN, machine.said
    saved = int(tf.train.latest_checkpoint(job.checkpoints).rpartition("-")[2])
    assert f"training ends after step {saved} of 120; step {saved} is saved" in machine.said
    machine.start()
    assert processes.wait(machine.process) == 0, machine.said
    assert re.search(f"going on from step {saved}\\b", machine.said)
