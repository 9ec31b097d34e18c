"""Which network a checkpoint's weights are of."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from models.checkpoints.readers import Checkpoint

BLOCK = re.compile(r"(?:Spatial)?Transformer/encoderblock_(\d+)/(.+)")


def network_of(source: Checkpoint) -> dict[str, Any]:
    """Fields of `ViViTConfig` that the weights, or the files beside them, decide.

    They are hidden_size, num_layers, num_heads, mlp_dim, tubelet (t = 1 for an image ViT), registers, gelu and
    layer_norm_epsilon, and what `Origin.network` says of a video transformer. PyTorch's weights do not say the heads:
    see `models.checkpoints.pytorch.translate`.

    Raises:
      ValueError: Where a weight that decides is missing or has an odd shape; names it.
    """
    blocks = [match for name in source.parameters if (match := BLOCK.fullmatch(name))]
    query, widen = (
        next((match[0] for match in blocks if re.fullmatch(pattern, match[2])), pattern)
        for pattern in (r"MultiHeadDotProductAttention_\w+/query/kernel", r"MlpBlock\w*/Dense_0/kernel")
    )
    *tubelet, _, width = _shape(source, "embedding/kernel", 4, 5)
    registers = [array for name, array in source.parameters.items() if name.endswith("Transformer/registers")]
    return {
        "hidden_size": width,
        "num_layers": 1 + max((int(match[1]) for match in blocks), default=-1),
        "num_heads": _shape(source, query, 3)[1],
        "mlp_dim": _shape(source, widen, 2)[1],
        "tubelet": (1,) * (3 - len(tubelet)) + tuple(tubelet),
        "registers": registers[0].shape[-2] if registers else 0,
        "gelu": source.origin.gelu,
        "layer_norm_epsilon": source.origin.layer_norm_epsilon,
        **source.origin.network,
    }


def _shape(source: Checkpoint, name: str, *ranks: int) -> tuple[int, ...]:
    shape = np.shape(source.parameters.get(name))
    if len(shape) not in ranks:
        found = f"shape {shape}" if name in source.parameters else "nothing"
        raise ValueError(f"{source.path}: {name}: found {found}, wanted {' or '.join(map(str, ranks))} axes")
    return shape
