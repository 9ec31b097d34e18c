"""The contract of a served model: its signatures, their tensors, and the files that travel inside the SavedModel.

The exporter writes it; the evaluation, the canary and `vivit predict` read it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterable
from typing import Any

import numpy as np
import tensorflow as tf

# Serialised raw examples, string [B] -> per head `logits`, `probabilities`, `classes`, averaged over all views.
EXAMPLES_SIGNATURE = "serving_default"
EXAMPLES_INPUT = "examples"
# JPEG frames, string [B, N], and how many of them each clip has, int32 [B], 1 to N -> the same outputs. What stands
# behind a clip's frames is never read: TensorFlow Serving, where it joins requests, pads them with the first frame of
# each. `frames_one_view` sees the centre view alone, for a V-th of the cost; the evaluation calls its accuracy 1x1.
FRAMES_SIGNATURE = "frames"
ONE_VIEW_SIGNATURE = "frames_one_view"
FRAMES_INPUT = "frames"
NUM_FRAMES_INPUT = "num_frames"
# The same inputs -> `embedding`, float32 [B, D]: what the heads read, averaged over all views; and `embedding_l2`, the
# same with unit length. Only where the network is a ViViT. D is the network's width, for most classifiers; see
# `models.network.vivit.read_by_heads`.
EMBEDDING_SIGNATURE = "embedding"
EMBEDDING = "embedding"
EMBEDDING_L2 = "embedding_l2"
# What `serving_default` does, in two halves, so that a scorer decodes ahead and fills an accelerator:
# Serialised raw examples, string [B] -> `clips`, uint8 [B, V + 1, T, H, W, 3]: all views, and last the centre view.
VIEWS_SIGNATURE = "views"
# Clips, uint8 [N, T, H, W, 3] -> `logits` of each head, [N, K], and `embedding`, float32 [N, D], where there is a
# signature of it: models of older releases lack both.
NETWORK_SIGNATURE = "network"
CLIPS = "clips"
# Clips, uint8 [N, T, H, W, 3] -> `attention`, float32 [N, t, h, w]: how much each tubelet contributed; the sum of each
# clip is 1. Only where the network is a ViViT.
ATTENTION_SIGNATURE = "attention"
ATTENTION = "attention"
# Those of every model.
SIGNATURES = (EXAMPLES_SIGNATURE, FRAMES_SIGNATURE, ONE_VIEW_SIGNATURE, VIEWS_SIGNATURE, NETWORK_SIGNATURE)
# Requests that a model server runs before it takes traffic: TFRecords of TensorFlow Serving's PredictionLog, at least
# one for each signature of `WARMED_UP` that the model has.
WARMED_UP = (EXAMPLES_SIGNATURE, FRAMES_SIGNATURE, ONE_VIEW_SIGNATURE, EMBEDDING_SIGNATURE)
WARMUP_REQUESTS = os.path.join("assets.extra", "tf_serving_warmup_requests")
# In the folder of a model's form for TensorFlow Lite: the signature `network` for one clip.
LITE_FILE = "network.tflite"

# Of float32 on CPUs: sums in another order differ in the last digits.
_FLOAT32_TOLERANCE = 1e-4
# Of bfloat16, and of TF32 on a GPU: a share of the logits' spread, for rounding grows with it. The same network rounds
# in other places when it is a graph: its logits then differ by up to 0.008 of their spread (all four variants of
# ViViT in bfloat16 on a CPU, 2 to 12 layers, 2 to 400 classes). Six times that leaves room for depth and for another
# device. It hides no wrong weight, which its digest shows; another preprocessing or order of classes moves logits more.
ROUNDED_TOLERANCE = 0.05

CARD = os.path.join("assets.extra", "vivit.json")
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
      training: How it went: seconds, steps, devices, and versions of libraries by name; empty if nobody knows.
    """

    classes: dict[str, list[str]]
    views: tuple[int, int]
    ingest: dict[str, Any]
    config: dict[str, Any]
    training: dict[str, Any] = dataclasses.field(default_factory=dict)

    def write(self, model_dir: str) -> None:
        """Writes the card into a SavedModel."""
        _write_json(os.path.join(model_dir, CARD), dataclasses.asdict(self))

    @classmethod
    def read(cls, model_dir: str) -> ModelCard:
        """Reads the card of a SavedModel.

        Raises:
          FileNotFoundError: If the folder holds no model of this pipeline.
        """
        path = os.path.join(model_dir, CARD)
        if not tf.io.gfile.exists(path):
            raise FileNotFoundError(f"{model_dir} holds no model of this pipeline: {CARD} is missing")
        return cls.parse(_read(path))

    @classmethod
    def parse(cls, text: str | bytes) -> ModelCard:
        """The card that a file's content is."""
        card = cls(**json.loads(text))
        return dataclasses.replace(card, views=tuple(card.views))


@dataclasses.dataclass(frozen=True, order=True)
class Weight:
    """One weight, without its values.

    Attributes:
      shape: Its shape.
      sha256: Digest of its dtype, shape and bytes.
    """

    shape: tuple[int, ...]
    sha256: str


def weights_of(variables: Iterable[Any]) -> tuple[Weight, ...]:
    """The weights of TensorFlow or Keras variables, sorted: names and order differ once a model is saved."""
    return tuple(sorted(_weight_of(variable.numpy()) for variable in variables))


def compute_device() -> str:
    """Where this process computes: "TPU", "GPU" or "CPU"."""
    return next((kind for kind in ("TPU", "GPU") if tf.config.list_logical_devices(kind)), "CPU")


@dataclasses.dataclass(frozen=True)
class ExpectedLogits:
    """The trainer's own logits for some clips of the evaluation split, which the served model must reproduce.

    Attributes:
      views: Logits over all views: clip id -> head -> K floats.
      centre: Logits over the centre view: clip id -> head -> K floats.
      dtype: Of the network's matrix products, "float32" or "bfloat16"; of a smaller model, its form.
      device: Where the trainer computed the logits, see `compute_device`.
      weights: All weights that the logits follow from, see `weights_of`; None in files from before they were written.
    """

    views: dict[str, dict[str, list[float]]]
    centre: dict[str, dict[str, list[float]]]
    dtype: str = "float32"
    device: str = "CPU"
    weights: tuple[Weight, ...] | None = None

    def tolerance(self, logits: np.ndarray, device: str) -> float:
        """The largest difference from the trainer's logits of a head, [n, K], that rounding explains on a device."""
        if self.dtype == "float32" and {self.device, device} == {"CPU"}:
            return _FLOAT32_TOLERANCE
        return max(_FLOAT32_TOLERANCE, ROUNDED_TOLERANCE * float(np.ptp(logits)))

    def rounded(self, form: str, weights: tuple[Weight, ...] | None) -> ExpectedLogits:
        """The same for a smaller form, which has other weights and may differ by their rounding."""
        return dataclasses.replace(self, dtype=form, weights=weights)

    def write(self, model_dir: str) -> None:
        """Writes them into a SavedModel."""
        _write_json(os.path.join(model_dir, _EXPECTED), dataclasses.asdict(self))

    @classmethod
    def read(cls, model_dir: str) -> ExpectedLogits:
        """Reads them from a SavedModel."""
        expected = cls(**json.loads(_read(os.path.join(model_dir, _EXPECTED))))
        if expected.weights is None:
            return expected
        weights = (Weight(tuple(weight["shape"]), weight["sha256"]) for weight in expected.weights)
        return dataclasses.replace(expected, weights=tuple(weights))


def _weight_of(values: np.ndarray) -> Weight:
    digest = hashlib.sha256(f"{values.dtype.name} {values.shape}\n".encode())
    digest.update(values.tobytes())
    return Weight(values.shape, digest.hexdigest())


def _write_json(path: str, value: dict[str, Any]) -> None:
    tf.io.gfile.makedirs(os.path.dirname(path))
    with tf.io.gfile.GFile(path, "w") as file:
        file.write(json.dumps(value, indent=1, ensure_ascii=False))


def _read(path: str) -> str:
    with tf.io.gfile.GFile(path) as file:
        return file.read()
