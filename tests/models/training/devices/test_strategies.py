"""models.training.strategies: a device that was asked for, or that the machine has, and is not there is said."""

import numpy as np
import pytest
import tensorflow as tf

from models.training.strategies import build_strategy, check_strategy, of_first
from tests import processes
from tests.models.training import runs


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch):
    for name in ("TF_CONFIG", "TPU_NAME", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("device", "message"),
    [
        (
            "nvidia0",
            r"this machine has a GPU \(.*nvidia0\) that TensorFlow does not see: install tensorflow",
        ),
        ("accel0", r"this machine has a TPU \(.*accel0\) that TensorFlow does not see"),
    ],
)
def test_an_accelerator_that_tensorflow_does_not_see_is_an_error_unless_one_device_is_asked_for(
    tmp_path, device, message
):
    check_strategy("auto", str(tmp_path))
    (tmp_path / device).touch()
    with pytest.raises(ValueError, match=f"strategy 'auto': {message}.*set strategy 'one'"):
        check_strategy("auto", str(tmp_path))
    check_strategy("one", str(tmp_path))


def test_a_gpu_that_is_hidden_from_tensorflow_is_not_missed(tmp_path, monkeypatch):
    (tmp_path / "nvidia0").touch()
    (tmp_path / "nvidiactl").touch()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    check_strategy("auto", str(tmp_path))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tpu", "no TPU can be reached: this machine has none, and TPU_NAME names none"),
        ("multi_worker", "wants TF_CONFIG"),
        ("mirrored", "this machine has no GPU, and one CPU device"),
    ],
)
def test_devices_that_are_named_and_not_there_are_an_error(tmp_path, name, message):
    with pytest.raises(ValueError, match=f"strategy '{name}'.* {message}"):
        check_strategy(name, str(tmp_path))


@pytest.mark.parametrize("name", ["auto", "tpu"])
def test_a_tpu_of_other_machines_is_refused_before_anything_starts(monkeypatch, name):
    monkeypatch.setenv("TPU_NAME", "pod-7")
    with pytest.raises(ValueError, match=f"strategy '{name}': TPU_NAME is 'pod-7', a TPU of other machines"):
        check_strategy(name)
    check_strategy("one")


def keep_first(index, output):
    """Of each machine: what it has of the first one."""
    (found,) = of_first(build_strategy("multi_worker"), [np.array([index + 0.1, 7], np.float32)])
    np.save(output, found)


def test_all_machines_get_what_the_first_one_has(tmp_path):
    outputs = [tmp_path / f"{index}.npy" for index in range(2)]
    machines = [
        processes.start(keep_first, index, str(outputs[index]), log=tmp_path / f"{index}.log", TF_CONFIG=machine)
        for index, machine in enumerate(runs.machines(2))
    ]
    assert [processes.wait(machine) for machine in machines] == [0, 0], (tmp_path / "0.log").read_text()
    for output in outputs:
        np.testing.assert_array_equal(np.load(output), np.array([0.1, 7], np.float32))


def test_a_machine_without_accelerators_trains_on_its_cpu(tmp_path):
    check_strategy("auto", str(tmp_path))
    assert build_strategy("one") is tf.distribute.get_strategy()
