"""A network with the weights that a recipe starts from: fresh, of an image ViT, or of another ViViT."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping

import keras

from models.checkpoints.initialise import InitOptions, initialise_model
from models.checkpoints.readers import read_checkpoint
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


def build_model(
    config: ModelConfig,
    *,
    clip_shape: tuple[int, int, int],
    heads: Mapping[str, int],
    checkpoint: str | None = None,
) -> keras.Model:
    """Builds the network; with `config.init_from`, logs what was loaded, initialised, missing and unexpected.

    Args:
      config: The network and its first weights.
      clip_shape, heads: As in `build_vivit`.
      checkpoint: Local copy of `config.init_from`, where that is a URI.

    Raises:
      FileNotFoundError: If the checkpoint is not there.
      ValueError: If it is damaged, or a weight does not fit; names the weight and both shapes.
    """
    model = build_vivit(config, clip_shape=clip_shape, heads=heads)
    if config.init_from is not None:
        report = initialise_model(
            model, read_checkpoint(checkpoint or config.init_from), config, clip_shape, config.init
        )
        _logger.info("weights of %s: %s", config.init_from, report)
    return model
