"""The same steps learn the same on two devices, in parts, on two machines, and several at a time."""

import numpy as np
import pytest

from tests import processes
from tests.models.training import runs
from tests.models.training.runs import with_settings

# 12 steps, two passes, with an evaluation and so a report after each, so that the loss of every step is on record.
TOGETHER = {
    "model__num_layers": "1",
    "train__epochs": "2",
    "train__eval_epochs": "0.1",
    "train__sampling": "balanced",
    "augment__scale": "null",
    "augment__erasing": "0.5",
    "augment__still": "0.3",
    "augment__repeats": "2",
}


def start(clips, output, config, *, devices=1, **variables):
    """Starts a run in a process of its own; its lines go to ``<output>.log``."""
    return processes.start(runs.run_alone, clips, output, config, devices, log=f"{output}.log", **variables)


def finish(process, output):
    """Weights of a run, in order."""
    assert processes.wait(process) == 0, output.with_suffix(".log").read_text()[-4000:]
    weights = np.load(output / "weights.npz")
    return [weights[name] for name in weights.files]


def losses(output):
    curve = runs.scalars(output)["train/loss"]
    assert len(curve) == 12
    return [curve[step] for step in sorted(curve)]


def assert_close(found, wanted, tolerance):
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)


@pytest.fixture(scope="module")
def one_device(clips, tmp_path_factory):
    output = tmp_path_factory.mktemp("one_device")
    model = runs.run(clips, output, with_settings(**TOGETHER))
    return output, [variable.numpy() for variable in model.weights]


def test_two_devices_learn_what_one_learns(clips, tmp_path, one_device):
    output, weights = one_device
    together = with_settings(**TOGETHER, train__strategy="mirrored")
    found = finish(start(clips, tmp_path / "two", together, devices=2), tmp_path / "two")
    np.testing.assert_allclose(losses(tmp_path / "two"), losses(output), atol=1e-4)
    assert_close(found, weights, 1e-5)


def test_two_devices_in_parts_learn_what_one_learns_from_the_whole_batch(clips, tmp_path, one_device):
    in_parts = with_settings(**TOGETHER, train__strategy="mirrored", train__accumulate_steps="2")
    found = finish(start(clips, tmp_path / "parts", in_parts, devices=2), tmp_path / "parts")
    np.testing.assert_allclose(losses(tmp_path / "parts"), losses(one_device[0]), atol=1e-4)
    assert_close(found, one_device[1], 1e-5)


def test_several_steps_an_execution_change_nothing(clips, tmp_path, one_device):
    # An evaluation ends an execution.
    several = {"train__steps_per_execution": "5", "train__eval_epochs": "2"}
    model = runs.run(clips, tmp_path, with_settings(**TOGETHER | several))
    assert_close([variable.numpy() for variable in model.weights], one_device[1], 1e-6)


@pytest.mark.end_to_end
def test_two_machines_learn_what_one_learns(clips, tmp_path, one_device):
    config = with_settings(**TOGETHER, train__strategy="multi_worker")
    outputs = [tmp_path / f"worker{index}" for index in range(2)]
    started = [
        start(clips, output, config, TF_CONFIG=machine)
        for output, machine in zip(outputs, runs.machines(2), strict=True)
    ]
    chief, other = map(finish, started, outputs)
    assert_close(chief, other, 0)
    assert_close(chief, one_device[1], 1e-5)
    assert [(output / "checkpoints" / "finished.index").exists() for output in outputs] == [True, False]
    np.testing.assert_allclose(losses(outputs[0]), losses(one_device[0]), atol=1e-4)
    assert not (outputs[1] / "logs").exists()
