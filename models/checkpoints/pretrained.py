"""A network with the weights that a recipe starts from: fresh, of an image ViT, or of another ViViT."""

from __future__ import annotations

import dataclasses
import logging
import os
import tempfile
from collections.abc import Mapping

import fsspec
import keras
import tensorflow as tf

from models.checkpoints.initialise import InitOptions, initialise_model
from models.checkpoints.readers import Checkpoint, read_checkpoint
from models.network.vivit import ViViTConfig, build_vivit

_logger = logging.getLogger("vivit.train")


@dataclasses.dataclass(frozen=True)
class ModelConfig(ViViTConfig):
    """A network, and where its first weights come from.

    Attributes:
      init_from: Checkpoint file (scenic TrainState, image ViT .npz, Hugging Face safetensors) or folder, any URI; None
        for fresh weights.
      init: How the checkpoint's weights are fitted.
    """

    init_from: str | None = None
    init: InitOptions = InitOptions()


def build_model(config: ModelConfig, *, clip_shape: tuple[int, int, int], heads: Mapping[str, int]) -> keras.Model:
    """Builds the network; with `config.init_from`, logs what was loaded, initialised, missing and unexpected.

    Raises:
      FileNotFoundError: If the checkpoint is not there.
      ValueError: If it is damaged, or a weight does not fit; names the weight and both shapes.
    """
    model = build_vivit(config, clip_shape=clip_shape, heads=heads)
    if config.init_from is not None:
        report = initialise_model(model, read_anywhere(config.init_from), config, clip_shape, config.init)
        _logger.info("weights of %s: %s", config.init_from, report)
    return model


def read_anywhere(path: str) -> Checkpoint:
    """`read_checkpoint` for any URI that TensorFlow or fsspec reads: remote files are copied first."""
    if "://" not in path:
        return read_checkpoint(path)
    # The file is mapped, and a mapping outlives the file's name.
    with tempfile.TemporaryDirectory() as folder:
        if path.partition("://")[0] not in tf.io.gfile.get_registered_schemes():
            system, source = fsspec.url_to_fs(path)
            copy = os.path.join(folder, "checkpoint", os.path.basename(source))
            system.get(source, copy, recursive=True)
            return read_checkpoint(copy)
        names = tf.io.gfile.listdir(path) if tf.io.gfile.isdir(path) else [""]
        for name in names:
            source = os.path.join(path, name) if name else path
            tf.io.gfile.copy(source, os.path.join(folder, os.path.basename(source)))
        return read_checkpoint(folder if names != [""] else os.path.join(folder, os.path.basename(path)))
