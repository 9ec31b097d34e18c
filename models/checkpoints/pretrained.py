"""A network with the weights that a recipe starts from: fresh, of an image ViT, or of another ViViT."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from typing import Literal

import keras

from models.checkpoints.initialise import InitOptions
from models.checkpoints.own import read_weights, start_model
from models.network.vivit import ViViTConfig, build_vivit

_logger = logging.getLogger("vivit.train")


@dataclasses.dataclass(frozen=True)
class ModelConfig(ViViTConfig):
    """A network, and where its first weights come from.

    Attributes:
      network: "stated" by the other settings; or of the "weights": width, depth, heads, patch, registers, GELU and
        epsilon of an image ViT, variant, classifier and positions too of a video transformer, or all of a model of
        ours, are taken from `init_from` when a run is planned; the classifier "attentive" stays above public weights.
      init_from: Checkpoint file (scenic TrainState; .npz of an image ViT or VideoPrism; safetensors of Hugging Face,
        timm, VideoMAE or UMT) or folder, any URI; or a model of ours: the folder of a version or of a run, or
        "production" for the version that is in production in the workdir; None for fresh weights. Of a URI that is a
        file, the settings files beside it are not read.
      init: How the checkpoint's weights are fitted. A model of ours says itself what `positions`, `source_grid`,
        `source_classifier` and `restore_head` say of another checkpoint.
    """

    network: Literal["stated", "weights"] = "stated"
    init_from: str | None = None
    init: InitOptions = InitOptions()


def build_model(
    config: ModelConfig,
    *,
    clip_shape: tuple[int, int, int],
    classes: Mapping[str, Sequence[str]],
    checkpoint: str | None = None,
) -> keras.Model:
    """Builds the network; with `config.init_from`, logs what was loaded, initialised, missing and unexpected.

    Args:
      config: The network and its first weights.
      clip_shape: As in `build_vivit`.
      classes: Class names by head, in the order of the logits.
      checkpoint: Local copy of `config.init_from`, where that is a URI.

    Raises:
      FileNotFoundError: If the checkpoint is not there.
      ValueError: If it is damaged, or a weight does not fit; names the weight and both shapes.
    """
    heads = {head: len(names) for head, names in classes.items()}
    model = build_vivit(config, clip_shape=clip_shape, heads=heads)
    if config.init_from is not None:
        source = read_weights(checkpoint or config.init_from)
        report = start_model(model, source, config, clip_shape, classes, config.init)
        _logger.info("weights of %s: %s", config.init_from, report)
    return model
