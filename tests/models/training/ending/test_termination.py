"""SIGTERM: the running execution is finished and saved, wherever a process trains, and nothing is trained twice."""

import itertools
import json
import multiprocessing
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from components.media.config import part
from models.checkpoints.pretrained import build_model
from models.clips import input_pipeline
from models.training.config import PaceConfig
from models.training.loop import train_steps
from pipeline import settings
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
ROOT = Path(__file__).parents[4]


@pytest.fixture(scope="module")
def processes():
    """Real processes, forked from one that has all modules and has computed nothing."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.models.training.runs"])
    return context


def test_five_times_at_a_random_moment_loses_no_step(processes, clips, tmp_path):
    log, moments = tmp_path / "ended.log", random.Random(5)
    log.touch()
    for _ in range(5):
        process = processes.Process(target=runs.run_and_listen, args=(clips, tmp_path / "ended", CONFIG))
        before = log.read_text().count("training: about")
        process.start()
        while log.read_text().count("training: about") == before and process.is_alive():
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 0.15))
        os.kill(process.pid, signal.SIGTERM)
        process.join()
        assert process.exitcode == 1, log.read_text()[-4000:]
    process = processes.Process(target=runs.run_and_listen, args=(clips, tmp_path / "ended", CONFIG))
    process.start()
    process.join()
    assert process.exitcode == 0
    ends = re.findall(r"vivit: SIGTERM: training ends after step (\d+) of 600; step \1 is saved", log.read_text())
    assert ends == re.findall(r"going on from step (\d+)", log.read_text())
    assert [int(step) for step in ends] == sorted({int(step) for step in ends})
    assert len(ends) == 5
    undisturbed = runs.run(clips, tmp_path / "undisturbed", CONFIG)
    with np.load(tmp_path / "ended" / "weights.npz") as ended:
        for name, wanted in zip(ended.files, undisturbed.weights, strict=True):
            np.testing.assert_allclose(ended[name], wanted.numpy(), rtol=0, atol=1e-6)


@pytest.mark.end_to_end
def test_of_two_machines_both_end_after_the_same_step(processes, clips, tmp_path, monkeypatch):
    config = settings.override(CONFIG, {"train.strategy": "multi_worker"})
    ports = []
    for _ in range(2):
        with socket.socket() as probe:
            probe.bind(("localhost", 0))
            ports.append(probe.getsockname()[1])
    started = []
    for index in range(2):
        cluster = {"worker": [f"localhost:{port}" for port in ports]}
        monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}}))
        command = [sys.executable, "-c", "from tests.models.training import runs; runs.listen_main()"]
        command += [str(clips), str(tmp_path / f"worker{index}"), settings.to_json(config)]
        started.append(subprocess.Popen(command, cwd=ROOT))
    logs = [tmp_path / f"worker{index}.log" for index in range(2)]
    while not all(log.exists() and "training: about" in log.read_text() for log in logs):
        assert [process.poll() for process in started] == [None, None]
        time.sleep(0.01)
    started[1].send_signal(signal.SIGTERM)
    assert [process.wait() for process in started] == [1, 1]
    steps = [re.search(r"vivit: SIGTERM: training ends after step (\d+) of 600", log.read_text())[1] for log in logs]
    assert steps[0] == steps[1]
    assert tf.train.latest_checkpoint(str(tmp_path / "worker0" / "checkpoints")).endswith(f"step-{steps[0]}")


def test_a_run_that_fails_in_its_last_evaluation_trains_nothing_again(clips, tmp_path):
    config, evaluated = with_settings(train__epochs="1"), tmp_path / "evaluated"

    def train():
        runs.write_clips(evaluated)
        keras.utils.set_random_seed(1)
        model = build_model(config.model, clip_shape=config.clip.shape, classes=runs.CLASSES)
        splits = []
        for folder in (clips, evaluated):
            files = [str(path) for path in sorted(folder.glob("*.gz"))]
            source = input_pipeline.transformed_source(files, config.heads, config.storage)
            splits.append(splits.count_clips(source, runs.CLASSES, "train"))
        steps = train_steps(
            model, tf.distribute.get_strategy(), config, part(PaceConfig, config.train), *splits,
            checkpoints=str(tmp_path / "checkpoints"), log_dir=str(tmp_path / "logs"),
        )  # fmt: skip
        return model, steps

    model, steps = train()
    assert [step for step, _ in itertools.islice(steps, 5)] == [1, 2, 3, 4, 5]
    shutil.rmtree(evaluated)
    with pytest.raises(tf.errors.OpError, match="No such file"):
        next(steps)
    again, steps = train()
    assert list(steps) == [(6, {})]
    for found, wanted in zip(again.weights, model.weights, strict=True):
        np.testing.assert_array_equal(found.numpy(), wanted.numpy())


def terminated(code):
    """Runs code, sends SIGTERM when it prints "training"; returns the status and what it says on stderr."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout.readline() == "training\n"
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    return process.returncode, errors


TRAINING = """
    import time
    from models.training import termination

    def train(*_):
        with termination.training():
            print("training", flush=True)
            while True:
                time.sleep(0.01)
                termination.end_if_asked()
"""


def test_a_training_in_a_thread_of_a_local_run_ends_by_an_error_of_its_own():
    code = f"""{TRAINING}
    import concurrent.futures
    from pipeline.local.interrupt import stoppable

    with stoppable(lambda: None), concurrent.futures.ThreadPoolExecutor() as threads:
        threads.submit(train).result()
    """
    status, errors = terminated(code)
    assert (status, "EndAskedError" in errors) == (1, True)


def test_a_training_in_a_container_of_kubeflow_ends_by_an_error_of_its_own():
    status, errors = terminated(
        f"{TRAINING}\n    from kubeflow.steps.invocation import run_step\n    run_step(train)\n"
    )
    assert (status, "vivit: " in errors) == (1, True)


def test_where_nothing_trains_a_process_ends_at_once():
    code = """
    import time
    from models.training import termination

    with termination.listening():
        print("training", flush=True)
        time.sleep(60)
    """
    assert terminated(code)[0] == -signal.SIGTERM
