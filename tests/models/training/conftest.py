"""Clips that several tests train on."""

import keras
import pytest

from tests.models.training import runs


@pytest.fixture(autouse=True)
def random_seed():
    """As the Trainer sets it: without one, TensorFlow's shuffle takes the seed that another test has left."""
    keras.utils.set_random_seed(1)


@pytest.fixture(scope="session")
def clips(tmp_path_factory):
    """A folder of 24 clips."""
    folder = tmp_path_factory.mktemp("clips")
    runs.write_clips(folder)
    return folder
