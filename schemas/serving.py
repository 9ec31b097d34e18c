"""The contract of a served model: its signatures, their tensors, and the files that travel inside the SavedModel.

The exporter writes it; the evaluation, the canary and `vivit predict` read it.
"""

from __future__ import annotations

import dataclasses
import json
import os
from typing import Any

import tensorflow as tf

# Serialised raw examples, string [B] -> per head `logits`, `probabilities`, `classes`, averaged over all views.
EXAMPLES_SIGNATURE = "serving_default"
EXAMPLES_INPUT = "examples"
# JPEG frames, string [B, N], "" where a clip has fewer than N -> the same outputs.
FRAMES_SIGNATURE = "frames"
FRAMES_INPUT = "frames"
# Serialised raw examples -> per head the probabilities over all views, and over the centre view alone.
EVALUATION_SIGNATURE = "evaluation"
# Serialised raw examples -> class id per head.
TRANSFORM_SIGNATURE = "transform_features"

_CARD = os.path.join("assets.extra", "vivit.json")
_EXPECTED = os.path.join("assets.extra", "expected_logits.json")


def logits_key(head: str) -> str:
    """Output: float32 [B, K], averaged over views."""
    return f"{head}/logits"


def probabilities_key(head: str) -> str:
    """Output: float32 [B, K], softmax of the averaged logits."""
    return f"{head}/probabilities"


def classes_key(head: str) -> str:
    """Output: string [B, K], the class names in the order of the logits."""
    return f"{head}/classes"


def centre_view(head: str) -> str:
    """Evaluation output of one head over the centre view alone; the head's own name is its output over all views."""
    return f"{head}_centre_view"


@dataclasses.dataclass(frozen=True)
class ModelCard:
    """What a served model states about itself, stored in its assets.

    Attributes:
      classes: Class names by head, in the order of the logits.
      views: Temporal and spatial views that are averaged, e.g. (4, 3).
      ingest: The ingest configuration; `vivit predict` stores videos with the same one.
      config: The resolved configuration of the training run, for the reader.
    """

    classes: dict[str, list[str]]
    views: tuple[int, int]
    ingest: dict[str, Any]
    config: dict[str, Any]

    def write(self, model_dir: str) -> None:
        """Writes the card into a SavedModel."""
        _write_json(os.path.join(model_dir, _CARD), dataclasses.asdict(self))

    @classmethod
    def read(cls, model_dir: str) -> ModelCard:
        """Reads the card of a SavedModel.

        Raises:
          FileNotFoundError: If the folder holds no model of this pipeline.
        """
        path = os.path.join(model_dir, _CARD)
        if not tf.io.gfile.exists(path):
            raise FileNotFoundError(f"{model_dir} holds no model of this pipeline: {_CARD} is missing")
        card = cls(**_read_json(path))
        return dataclasses.replace(card, views=tuple(card.views))


@dataclasses.dataclass(frozen=True)
class ExpectedLogits:
    """The trainer's own logits for some clips of the evaluation split, which the served model must reproduce.

    Attributes:
      views: Logits over all views: clip id -> head -> K floats.
      centre: Logits over the centre view: clip id -> head -> K floats.
    """

    views: dict[str, dict[str, list[float]]]
    centre: dict[str, dict[str, list[float]]]

    def write(self, model_dir: str) -> None:
        """Writes them into a SavedModel."""
        _write_json(os.path.join(model_dir, _EXPECTED), dataclasses.asdict(self))

    @classmethod
    def read(cls, model_dir: str) -> ExpectedLogits:
        """Reads them from a SavedModel."""
        return cls(**_read_json(os.path.join(model_dir, _EXPECTED)))


def _write_json(path: str, value: dict[str, Any]) -> None:
    tf.io.gfile.makedirs(os.path.dirname(path))
    with tf.io.gfile.GFile(path, "w") as file:
        file.write(json.dumps(value, indent=1, ensure_ascii=False))


def _read_json(path: str) -> dict[str, Any]:
    with tf.io.gfile.GFile(path) as file:
        return json.loads(file.read())
