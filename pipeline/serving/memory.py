"""How much memory a model takes in a server, counted from its card: its weights, and each batch that is computed.

Of a batch, two clips are worked on at a time (`models.serving.export`): each holds the pixels of all its views, and the
network `per_step` of them. The network's share is that of its largest layer, as layers reuse memory.
"""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import tensorflow as tf

from models.clips.sampling import ClipConfig, ViewsConfig
from schemas.serving import ModelCard

# Clips of one batch that a signature works on at a time.
CLIPS_AT_A_TIME = 2
_FLOAT32 = 4


@dataclasses.dataclass(frozen=True)
class ServedMemory:
    """Bytes that a model takes.

    Attributes:
      weights: Of one version.
      batch: Of one batch while it is computed; None where the card does not describe the network.
    """

    weights: int
    batch: int | None


def count_memory(model_dir: str, card: ModelCard) -> ServedMemory:
    """Counts for a SavedModel; its files are not read."""
    files = tf.io.gfile.glob(os.path.join(model_dir, "variables", "variables.data*"))
    weights = sum(tf.io.gfile.stat(file).length for file in files)
    config = card.config.get("weights", card.config)
    if "model" not in config:
        return ServedMemory(weights, None)
    clip, views = ClipConfig(**config["clip"]), ViewsConfig(**card.config.get("views", {}))
    pixels = views.count * clip.num_frames * clip.crop_size**2 * 3
    one_clip = pixels + min(views.per_step, views.count) * view_bytes(config["model"], clip)
    return ServedMemory(weights, CLIPS_AT_A_TIME * one_clip)


def view_bytes(model: dict[str, Any], clip: ClipConfig) -> int:
    """Bytes of the network's largest layer, for one view.

    Args:
      model: A `ViViTConfig` as plain values.
      clip: What a view is.
    """
    time, height, width = model["tubelet"]
    frames = model["sampled_frames"] or clip.num_frames // time
    places = (clip.crop_size // height) * (clip.crop_size // width)
    tokens, hidden = frames * places, model["hidden_size"]
    # Pairs of tokens that attend to each other: all, or those of a frame.
    pairs = tokens * (tokens if model["variant"] == "spacetime" else max(places, frames))
    # Query, key, value and their mean; logits, whose place softmax takes. The MLP: before and after its nonlinearity.
    attention = 4 * tokens * hidden + model["num_heads"] * pairs
    mlp = 2 * tokens * model["mlp_dim"]
    # Around the layer: what it adds to, and its normalised input. At the very start: the normalised pixels, twice.
    largest = max(3 * tokens * hidden + max(attention, mlp), 2 * clip.num_frames * clip.crop_size**2 * 3)
    return _FLOAT32 * largest
