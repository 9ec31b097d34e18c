"""Dropout, stochastic depth and patch dropout on several replicas: every one draws for itself, and again the same."""

import keras
import numpy as np
import pytest

from models.network.draws import Dropout
from tests import processes
from tests.models.training.devices import replicas


def drawn(output, devices):
    """What `tests.models.training.devices.replicas` writes."""
    log = output.with_suffix(".log")
    assert processes.wait(processes.start(replicas.draw, output, devices, log=log)) == 0, log.read_text()[-4000:]
    with np.load(output) as found:
        return dict(found)


@pytest.fixture(scope="module")
def one_and_two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("replicas")
    return drawn(folder / "one.npz", 1), drawn(folder / "two.npz", 2)


def test_every_replica_drops_something_else_and_the_first_what_one_device_drops(one_and_two):
    one, two = one_and_two
    assert np.mean(two["masks"][0] != two["masks"][1]) > 0.2
    np.testing.assert_array_equal(two["masks"][0], one["masks"][0])


def test_the_same_state_gives_the_same_masks_again(one_and_two):
    for found in one_and_two:
        np.testing.assert_array_equal(found["again"], found["masks"])


def test_the_loss_of_two_devices_is_distributed_as_that_of_one(one_and_two):
    """On a batch of equal clips, the same masks on both devices would make the loss's variance twice as high."""
    one, two = (found["losses"] for found in one_and_two)
    deviation = np.sqrt(one.var() / len(one) + two.var() / len(two))
    assert abs(one.mean() - two.mean()) < 4 * deviation
    # The logarithm of a ratio of variances of n normal draws each deviates by 2 / sqrt(n).
    assert abs(np.log(two.var() / one.var())) < 5 * 2 / np.sqrt(len(one))


def test_gradients_go_between_the_devices_once(one_and_two):
    """In each graph of a step there are two sums over the devices: of its scalars, and of its gradients."""
    largest = one_and_two[1]["reduced"].tolist()
    assert set(largest[::2]) == {1}
    assert set(largest[1::2]) == {2 * 8 * 8 * 3 * 12}


def test_one_device_drops_what_keras_drops():
    values = np.ones((4, 3, 5, 6), np.float32)
    masks = []
    for layer_type in (Dropout, keras.layers.Dropout):
        keras.utils.set_random_seed(3)
        layer = layer_type(0.5, (None, 1, None, None))
        masks.append([layer(values, training=True).numpy() for _ in range(2)])
    np.testing.assert_array_equal(*masks)
