"""What tests of checkpoints share."""

import importlib.util
import os
import sys

import pytest


@pytest.fixture(scope="session")
def python_with_transformers():
    """A Python that has torch and transformers: of the environment variable, else this one."""
    return _python_with("PYTHON_WITH_TRANSFORMERS", "torch", "transformers")


@pytest.fixture(scope="session")
def python_with_keras_hub():
    """A Python that has keras-hub: of the environment variable, else this one."""
    return _python_with("PYTHON_WITH_KERAS_HUB", "keras_hub")


def _python_with(variable, *packages):
    if given := os.environ.get(variable):
        return given
    if not all(importlib.util.find_spec(name) for name in packages):
        pytest.skip(f"wants {' and '.join(packages)}, here or in the Python that {variable} names")
    return sys.executable
