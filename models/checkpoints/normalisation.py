"""How the pixels of a checkpoint's images were normalised, and its exact change to our [-1, 1]."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from models.checkpoints.msgpack import CorruptFileError


class Normalisation(NamedTuple):
    """Normalisation (p - mean) / std of pixels p in [0, 1], by channel: red, green, blue."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


HALF = Normalisation((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
IMAGENET = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
NORMALISATIONS = {"half": HALF, "imagenet": IMAGENET}


def read_normalisation(mean: Any, std: Any) -> Normalisation:
    """The normalisation that a settings file gives.

    Raises:
      CorruptFileError: Where they are not three finite numbers each, or a deviation is not positive.
    """
    for values in (mean, std):
        if not isinstance(values, list) or len(values) != 3 or not all(map(_is_number, values)):
            raise CorruptFileError(f"image mean {mean!r} and std {std!r}, wanted three numbers each")
    if min(std) <= 0:
        raise CorruptFileError(f"image std {std!r}, wanted positive numbers")
    return Normalisation(tuple(mean), tuple(std))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def fold_normalisation(
    parameters: Mapping[str, np.ndarray], normalisation: Normalisation, *, constant: bool = True
) -> dict[str, np.ndarray]:
    """Weights that give for pixels in [-1, 1] what `parameters` give for the same pixels normalised.

    A pixel x in [-1, 1] is (x + 1) / 2 in [0, 1], so (p - mean) / std = x / (2 std) + (1 / 2 - mean) / std: the factor
    goes into ``embedding/kernel`` [..., 3, D], the constant, summed over the kernel, into ``embedding/bias`` [D].

    Args:
      parameters: Weights under the reference's names.
      normalisation: What the pixels had when the weights were trained.
      constant: Whether the kernel keeps its sum in the network; where it is spread over frames by weights that sum to
        zero, the constant falls out.

    Raises:
      ValueError: Where the kernel has not three channels, or the bias another width.
    """
    kernel = parameters["embedding/kernel"]
    if kernel.ndim < 2 or kernel.shape[-2] != 3:
        raise ValueError(f"embedding/kernel: shape {kernel.shape}, wanted three channels before the last axis")
    bias = parameters.get("embedding/bias", np.zeros(kernel.shape[-1:], np.float32))
    if bias.shape != kernel.shape[-1:]:
        raise ValueError(f"embedding/bias: shape {bias.shape} for embedding/kernel of shape {kernel.shape}")
    mean, std = (np.array(values)[:, None] for values in normalisation)
    shift = (kernel * ((0.5 - mean) / std)).reshape(-1, kernel.shape[-1]).sum(axis=0)
    folded = {"embedding/kernel": (kernel / (2 * std)).astype(np.float32)}
    if "embedding/bias" in parameters and constant:
        folded["embedding/bias"] = (bias + shift).astype(np.float32)
    return {**parameters, **folded}
