"""SIGTERM: the running execution is finished and saved, wherever a process trains, and nothing is trained twice."""

import concurrent.futures
import itertools
import os
import random
import re
import shutil
import signal
import time

import keras
import numpy as np
import pytest
import tensorflow as tf

from components.media.config import part
from kubeflow.steps.invocation import run_step
from models.checkpoints.pretrained import build_model
from models.clips import input_pipeline
from models.training import termination
from models.training.config import PaceConfig
from models.training.loop import train_steps
from pipeline import settings
from pipeline.local.interrupt import stoppable
from pipeline.training import splits
from tests import processes
from tests.models.training import runs
from tests.models.training.runs import with_settings

# No checkpoint but after the last step.
CONFIG = with_settings(
    model__num_layers="1",
    model__dropout="0.1",
    train__epochs="100",
    train__eval_epochs="10",
    train__checkpoint_steps="100000",
    train__steps_per_execution="6",
)


def test_five_times_at_a_random_moment_loses_no_step(clips, tmp_path):
    output, log, moments = tmp_path / "ended", tmp_path / "ended.log", random.Random(5)
    log.touch()
    for _ in range(5):
        before = log.read_text().count("training: about")
        process = processes.start(runs.run_alone, clips, output, CONFIG, log=log)
        while log.read_text().count("training: about") == before and process.is_alive():
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 0.15))
        os.kill(process.pid, signal.SIGTERM)
        assert processes.wait(process) == 1, log.read_text()[-4000:]
    assert processes.wait(processes.start(runs.run_alone, clips, output, CONFIG, log=log)) == 0
    ends = re.findall(r"vivit: SIGTERM: training ends after step (\d+) of 600; step \1 is saved", log.read_text())
    assert ends == re.findall(r"going on from step (\d+)", log.read_text())
    assert [int(step) for step in ends] == sorted({int(step) for step in ends})
    assert len(ends) == 5
    undisturbed = runs.run(clips, tmp_path / "undisturbed", CONFIG)
    with np.load(output / "weights.npz") as ended:
        for name, wanted in zip(ended.files, undisturbed.weights, strict=True):
            np.testing.assert_allclose(ended[name], wanted.numpy(), rtol=0, atol=1e-6)


@pytest.mark.end_to_end
def test_of_two_machines_both_end_after_the_same_step(clips, tmp_path):
    config = settings.override(CONFIG, {"train.strategy": "multi_worker"})
    logs = [tmp_path / f"worker{index}.log" for index in range(2)]
    started = [
        processes.start(runs.run_alone, clips, log.with_suffix(""), config, log=log, TF_CONFIG=machine)
        for log, machine in zip(logs, runs.machines(2), strict=True)
    ]
    while not all("training: about" in log.read_text() for log in logs):
        assert [process.exitcode for process in started] == [None, None]
        time.sleep(0.01)
    os.kill(started[1].pid, signal.SIGTERM)
    assert [processes.wait(process) for process in started] == [1, 1]
    steps = [re.search(r"vivit: SIGTERM: training ends after step (\d+) of 600", log.read_text())[1] for log in logs]
    assert steps[0] == steps[1]
    assert tf.train.latest_checkpoint(str(tmp_path / "worker0" / "checkpoints")).endswith(f"step-{steps[0]}")


def test_a_run_that_fails_in_its_last_evaluation_trains_nothing_again(clips, tmp_path):
    config, evaluated = with_settings(train__epochs="1"), tmp_path / "evaluated"

    def train_splits():
        runs.write_clips(evaluated)
        keras.utils.set_random_seed(1)
        model = build_model(config.model, clip_shape=config.clip.shape, classes=runs.CLASSES)
        counted = []
        for folder in (clips, evaluated):
            files = [str(path) for path in sorted(folder.glob("*.gz"))]
            source = input_pipeline.transformed_source(files, config.heads, config.storage)
            counted.append(splits.count_clips(source, runs.CLASSES, "train"))
        steps = train_steps(
            model, tf.distribute.get_strategy(), config, part(PaceConfig, config.train), *counted,
            checkpoints=str(tmp_path / "checkpoints"), log_dir=str(tmp_path / "logs"),
        )  # fmt: skip
        return model, steps

    model, steps = train_splits()
    assert [step for step, _ in itertools.islice(steps, 5)] == [1, 2, 3, 4, 5]
    shutil.rmtree(evaluated)
    with pytest.raises(tf.errors.OpError, match="No such file"):
        next(steps)
    again, steps = train_splits()
    assert list(steps) == [(6, {})]
    for found, wanted in zip(again.weights, model.weights, strict=True):
        np.testing.assert_array_equal(found.numpy(), wanted.numpy())


def train(*_):
    """Trains without end."""
    with termination.training():
        print("training")
        while True:
            time.sleep(0.01)
            termination.end_if_asked()


def train_in_a_thread():
    with stoppable(lambda: None), concurrent.futures.ThreadPoolExecutor() as threads:
        threads.submit(train).result()


def train_in_a_container():
    run_step(train)


def train_nothing():
    with termination.listening():
        print("training")
        time.sleep(60)


def terminated(function, log):
    """Runs a function in a process, sends SIGTERM when it prints "training"; returns the status and all it prints."""
    process = processes.start(function, log=log)
    while "training\n" not in log.read_text():
        assert process.is_alive()
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGTERM)
    return processes.wait(process), log.read_text()


def test_a_training_in_a_thread_of_a_local_run_ends_by_an_error_of_its_own(tmp_path):
    status, said = terminated(train_in_a_thread, tmp_path / "log")
    assert (status, "EndAskedError" in said) == (1, True)


def test_a_training_in_a_container_of_kubeflow_ends_by_an_error_of_its_own(tmp_path):
    status, said = terminated(train_in_a_container, tmp_path / "log")
    assert (status, "vivit: " in said) == (1, True)


def test_where_nothing_trains_a_process_ends_at_once(tmp_path):
    assert terminated(train_nothing, tmp_path / "log")[0] == -signal.SIGTERM
