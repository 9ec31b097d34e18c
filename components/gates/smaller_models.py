"""The smaller forms of a model, and what was measured of them: what the Compressor writes and the review shows."""

from __future__ import annotations

import os
from collections.abc import Sequence

import tensorflow as tf
from tfx.types.artifact import Artifact

from components.evaluation.smaller import FORMS, SmallerForm

_FILE = "smaller.json"


class SmallerModels(Artifact):
    """A folder for each form, and ``smaller.json``."""

    # Kubeflow imports the class by this name; see components/__init__.py.
    TYPE_NAME = "components.SmallerModels"


def write_forms(folder: str, forms: Sequence[SmallerForm]) -> None:
    """Writes what was measured into the artifact's folder, any URI."""
    with tf.io.gfile.GFile(os.path.join(folder, _FILE), "w") as file:
        file.write(FORMS.dump_json(tuple(forms), indent=1).decode())


def read_forms(folder: str) -> tuple[SmallerForm, ...]:
    """Reads it."""
    with tf.io.gfile.GFile(os.path.join(folder, _FILE)) as file:
        return FORMS.validate_json(file.read())
