"""A training that is killed goes on from its last checkpoint, and learns what it would have learned."""

import random
import re
import signal
import time

import numpy as np
import tensorflow as tf

from tests import processes
from tests.models.training import runs
from tests.models.training.runs import with_settings

# Everything that has a state of its own.
STATEFUL = with_settings(
    train__epochs="30",
    train__checkpoint_steps="10",
    train__eval_epochs="30",
    train__optimizer__name="adamw",
    train__optimizer__ema="0.9",
    train__optimizer__schedule__base_learning_rate="0.001",
    model__stochastic_depth="0.3",
    model__dropout="0.1",
    train__sampling="balanced",
    augment__repeats="2",
    augment__erasing="0.5",
    augment__still="0.3",
    augment__mixup="0.3",
    augment__cutmix="0.5",
)


def newest(output):
    """Step of the last checkpoint, 0 for none."""
    last = tf.train.latest_checkpoint(str(output / "checkpoints"))
    return int(last.rpartition("-")[2]) if last else 0


def test_ends_where_an_undisturbed_run_ends_though_killed_three_times(clips, tmp_path):
    undisturbed = runs.run(clips, tmp_path / "undisturbed", STATEFUL)
    killed, log, moments = tmp_path / "killed", tmp_path / "killed.log", random.Random(7)
    for _ in range(3):
        process, before = processes.start(runs.run_alone, clips, killed, STATEFUL, log=log), newest(killed)
        while newest(killed) == before and process.is_alive():
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 0.3))
        process.kill()
        assert processes.wait(process) == -signal.SIGKILL, "it ended before it was killed"
        assert newest(killed) > before
    process = processes.start(runs.run_alone, clips, killed, STATEFUL, log=log)
    assert processes.wait(process) == 0, log.read_text()[-4000:]
    assert len(re.findall("going on from step [1-9]", log.read_text())) == 3
    with np.load(killed / "weights.npz") as found:
        for name, wanted in zip(found.files, undisturbed.weights, strict=True):
            np.testing.assert_allclose(found[name], wanted.numpy(), rtol=0, atol=1e-6)
