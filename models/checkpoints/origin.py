"""What a checkpoint's kind, and the settings files beside it, say of its network beyond the weights."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.checkpoints.msgpack import CorruptFileError
from models.checkpoints.normalisation import HALF, Normalisation, read_normalisation
from models.network.layers import LAYER_NORM_EPSILON, Gelu

# Names of PyTorch's networks for the functions that ours has.
GELUS: dict[str, Gelu] = {"gelu": "exact", **dict.fromkeys(("gelu_fast", "gelu_new", "gelu_pytorch_tanh"), "tanh")}


@dataclasses.dataclass(frozen=True)
class Origin:
    """What a checkpoint's kind, or the files beside it, say of its network beyond the weights.

    Attributes:
      gelu, layer_norm_epsilon: As in `ViViTConfig`.
      stated: Which of them a file says; the others are usual for the kind of checkpoint.
      normalisation: Of the pixels that the network was trained with; None where nothing says.
      network: Further fields of `ViViTConfig` that the kind of checkpoint decides, as of a video transformer's.
    """

    gelu: Gelu = "tanh"
    layer_norm_epsilon: float = LAYER_NORM_EPSILON
    stated: frozenset[str] = frozenset()
    normalisation: Normalisation | None = HALF
    network: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def read_origin(
    config: Mapping[str, Any],
    gelu: Gelu,
    epsilon: float,
    normalisation: Normalisation | None,
    network: Mapping[str, Any] | None = None,
) -> Origin:
    """The origin by ``config.json``, with the usual values that are given where that says nothing.

    Raises:
      CorruptFileError: Where it says what no network of ours computes.
    """
    stated = set()
    if "hidden_act" in config:
        if config["hidden_act"] not in GELUS:
            raise CorruptFileError(
                f"config.json says hidden_act {config['hidden_act']!r}; allowed is one of {', '.join(GELUS)}"
            )
        gelu = GELUS[config["hidden_act"]]
        stated.add("gelu")
    if "layer_norm_eps" in config:
        epsilon = config["layer_norm_eps"]
        if not isinstance(epsilon, float) or not 0 < epsilon < 1:
            raise CorruptFileError(f"config.json says layer_norm_eps {epsilon!r}, wanted a number in (0, 1)")
        stated.add("layer_norm_epsilon")
    return Origin(gelu, epsilon, frozenset(stated), normalisation, network or {})


def stated_normalisation(path: Path, config: Mapping[str, Any], metadata: Mapping[str, str]) -> Normalisation | None:
    """What ``preprocessor_config.json`` (or ``video_…``), ``config.json`` or the metadata say of the pixels, else None.

    Raises:
      CorruptFileError: Where one of them is damaged.
    """
    files = ("preprocessor_config.json", "video_preprocessor_config.json")
    processor = next(filter(None, (read_settings(path.with_name(name)) for name in files)), {})
    if processor.get("do_normalize") is False:
        return Normalisation((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    pretrained = [config.get("pretrained_cfg"), _parse("metadata", metadata.get("pretrained_cfg", "{}"))]
    for settings, prefix in [(processor, "image_"), (config, "image_"), *((given, "") for given in pretrained)]:
        if isinstance(settings, dict) and f"{prefix}mean" in settings:
            return read_normalisation(settings[f"{prefix}mean"], settings.get(f"{prefix}std"))
    return None


def read_settings(path: Path) -> dict[str, Any]:
    """The content of a settings file; empty where there is none.

    Raises:
      CorruptFileError: Where it is not a JSON object.
    """
    return _parse(path.name, path.read_text()) if path.exists() else {}


def _parse(name: str, text: str) -> dict[str, Any]:
    try:
        settings = json.loads(text)
    except (RecursionError, ValueError) as error:
        raise CorruptFileError(f"{name}: not JSON: {error}") from error
    if not isinstance(settings, dict):
        raise CorruptFileError(f"{name}: wanted an object, found {type(settings).__name__}")
    return settings
