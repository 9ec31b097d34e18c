"""Smaller forms of a served model: its weights in 16 or 8 bits, or its network as a TensorFlow Lite file.

Contract: a form is made of a SavedModel of this pipeline alone. It has that one's card and warm-up requests, and the
logits that it must reproduce, from which it may differ by no more than rounding explains. Arithmetic stays float32.
"""

from __future__ import annotations

import os
import tempfile
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from models.checkpoints.initialise import InitOptions
from models.checkpoints.own import WEIGHTS, read_weights, start_model
from models.clips.sampling import ClipConfig, ViewsConfig
from models.network.vivit import build_vivit
from models.serving.export import ServedModel
from schemas import serving

# Smaller weights, biases among them, stay float32: they are about a thousandth of all.
_LEAST_VALUES = 4096
_INT8_MAX = 127


class StoredModel(ServedModel):
    """A `ServedModel` that computes with what weights stand for that are stored in fewer bits.

    Args:
      model: As in `ServedModel`.
      form: "float16", or "int8": rounded to 255 steps, for each output of a kernel its own.
      **settings: Further arguments of `ServedModel`.
    """

    def __init__(self, model: keras.Model, form: str, **settings: Any):
        stored = [_stored(variable.numpy(), form) for variable in model.variables]
        self._mapping = lambda: [
            (variable, tf.cast(values, tf.float32) * scale)
            for variable, (values, scale) in zip(model.variables, stored, strict=True)
        ]
        super().__init__(model, **settings)
        self._variables = [variable for pair in stored for variable in pair if isinstance(variable, tf.Variable)]

    @property
    def weights(self) -> tuple[serving.Weight, ...]:
        """Digests of what is stored."""
        return serving.weights_of(self._variables)

    def compute(self, clips: tf.Tensor) -> dict[str, tf.Tensor]:
        """As `ServedModel.compute`."""
        with keras.StatelessScope(state_mapping=self._mapping()):
            return super().compute(clips)

    def attention(self, clips: tf.Tensor) -> dict[str, tf.Tensor]:
        """As `ServedModel.attention`."""
        with keras.StatelessScope(state_mapping=self._mapping()):
            return super().attention(clips)


def _stored(values: np.ndarray, form: str) -> tuple[tf.Variable, tf.Variable | float]:
    """A weight as it is stored, and what its values are multiplied by."""
    if values.ndim < 2 or values.size < _LEAST_VALUES:
        return tf.Variable(values, trainable=False), 1.0
    if form == "float16":
        return tf.Variable(values.astype(np.float16), trainable=False), 1.0
    # Of an attention's kernels, the inputs are the first axis, [D, heads, D / heads], or all but the last.
    inputs = (0,) if values.shape[0] == max(values.shape) else tuple(range(values.ndim - 1))
    largest = np.abs(values).max(axis=inputs, keepdims=True)
    scale = np.where(largest > 0, largest, 1.0).astype(np.float32) / _INT8_MAX
    return tf.Variable(np.round(values / scale).astype(np.int8), trainable=False), tf.Variable(scale, trainable=False)


def write_smaller(source: str, output: str, form: str) -> None:
    """Writes a smaller form of a SavedModel.

    Args:
      source: The SavedModel, any URI; its weights are in a file of their own.
      output: Folder to write, any URI. "float16" and "int8" are SavedModels with the same signatures; "tflite" has
        `serving.LITE_FILE` in place of the graph.
      form: "float16", "int8" or "tflite".

    Raises:
      ValueError: If the model has no file of its weights, or TensorFlow Lite cannot express the network.
    """
    card, expected = serving.ModelCard.read(source), serving.ExpectedLogits.read(source)
    model, settings = _network(source, card)
    if form == "tflite":
        content = lite_file(ServedModel(model, **settings), settings["clip"])
        _write(os.path.join(output, serving.LITE_FILE), content)
        card.write(output)
        expected.rounded(form, None).write(output)
        return
    stored = StoredModel(model, form, **settings)
    stored.save(output, card, expected.rounded(form, stored.weights))
    with tf.io.gfile.GFile(os.path.join(source, serving.WARMUP_REQUESTS), "rb") as file:
        _write(os.path.join(output, serving.WARMUP_REQUESTS), file.read())


def _network(source: str, card: serving.ModelCard) -> tuple[keras.Model, dict[str, Any]]:
    """The network of a SavedModel with its weights, and the other arguments of `ServedModel`."""
    stated = card.config.get("weights", card.config)
    clip = ClipConfig(**stated["clip"])
    views = ViewsConfig(**{"temporal": card.views[0], "spatial": card.views[1], **card.config.get("views", {})})
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "weights.safetensors")
        try:
            tf.io.gfile.copy(os.path.join(source, WEIGHTS), path)
        except tf.errors.NotFoundError as error:
            raise ValueError(f"{source} has no {WEIGHTS}: an older release exported it, export it again") from error
        own = read_weights(path)
        model = build_vivit(
            own.network, clip_shape=clip.shape, heads={head: len(names) for head, names in own.classes.items()}
        )
        start_model(model, own, own.network, clip.shape, own.classes, InitOptions(restore_head=True))
    return model, {"clip": clip, "views": views, "classes": card.classes}


def lite_file(served: ServedModel, clip: ClipConfig) -> bytes:
    """The network of one clip as a file of TensorFlow Lite, its weights in float16.

    Raises:
      ValueError: If TensorFlow Lite cannot express the network.
    """
    one = [tf.TensorSpec([1, *clip.shape, 3], tf.uint8, name=serving.CLIPS)]
    network = tf.function(served.compute, input_signature=one, autograph=False).get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([network], served)
    converter.optimizations, converter.target_spec.supported_types = [tf.lite.Optimize.DEFAULT], [tf.float16]
    try:
        return converter.convert()
    # Its own class is private, and derives from it.
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(f"TensorFlow Lite cannot express the network: {reason}") from error


def _write(path: str, content: bytes) -> None:
    tf.io.gfile.makedirs(os.path.dirname(path))
    with tf.io.gfile.GFile(path, "wb") as file:
        file.write(content)
