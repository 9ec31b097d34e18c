"""Weights of VideoPrism (Zhao et al., ICML 2024), by google-deepmind/videoprism and by Hugging Face.

Contract: VideoPrism is model 2 with one frame a tubelet, whose temporal encoder sees the frames of each position by
themselves; logits of attention are capped, GELU is exact, pixels are in [0, 1], and an attention pooler stands before a
classifier. Its normalisations have 1 added to their scale. The video-text models (LvT) end in further blocks, and are
refused.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from models.checkpoints.msgpack import CorruptFileError
from models.checkpoints.normalisation import Normalisation
from models.checkpoints.origin import Origin, read_origin, read_settings, stated_normalisation
from models.checkpoints.pytorch import Naming, translate
from models.network.layers import LAYER_NORM_EPSILON

UNIT = Normalisation((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
LOGIT_CAP = 50.0
# The scale of a dimension of a query is softplus of what was learned, 1 where that is 0.
SCALE_OF_ZERO = 1 / math.log(2)

ENCODERS = {"spatial": "SpatialTransformer", "temporal": "TemporalTransformer"}
POSITIONS = "posembed_input/pos_embedding"
ATTENTION = "MultiHeadDotProductAttention_0"

HUGGING_FACE_NAMES = {
    r"spatial_embeddings\.patch_embeddings\.projection\.(\w+)": r"embedding/\1",
    r"spatial_embeddings\.position_embeddings": f"SpatialTransformer/{POSITIONS}",
    r"temporal_embeddings\.position_embeddings": f"TemporalTransformer/{POSITIONS}",
    r"layernorm1\.(\w+)": r"SpatialTransformer/encoder_norm/\1",
    r"layernorm2\.(\w+)": r"TemporalTransformer/encoder_norm/\1",
    r"head\.per_dim_scale": "pooler/per_dim_scale",
    r"head\.pooling_attention_query": "pooler/probe",
    r"head_layernorm\.(\w+)": r"pooler/LayerNorm_0/\1",
    r"classifier\.(\w+)": r"output_projection/\1",
}
HUGGING_FACE_PROJECTIONS = {"q_proj": "query", "k_proj": "key", "v_proj": "value", "o_proj": "out"}
for _theirs, _ours in HUGGING_FACE_PROJECTIONS.items():
    HUGGING_FACE_NAMES[rf"head\.{_theirs}\.(\w+)"] = rf"pooler/{_ours}/\1"
for _part, _encoder in ENCODERS.items():
    _layer, _block = rf"{_part}_layers\.(\d+)\.", rf"{_encoder}/encoderblock_\1"
    HUGGING_FACE_NAMES |= {
        _layer + r"layernorm_before\.(\w+)": rf"{_block}/LayerNorm_0/\2",
        _layer + r"layernorm_after\.(\w+)": rf"{_block}/LayerNorm_1/\2",
        _layer + r"mlp\.fc1\.(\w+)": rf"{_block}/MlpBlock_0/Dense_0/\2",
        _layer + r"mlp\.fc2\.(\w+)": rf"{_block}/MlpBlock_0/Dense_1/\2",
    }
    for _theirs, _ours in HUGGING_FACE_PROJECTIONS.items():
        HUGGING_FACE_NAMES[_layer + rf"attention\.{_theirs}\.(\w+)"] = rf"{_block}/{ATTENTION}/{_ours}/\2"
HUGGING_FACE = Naming(HUGGING_FACE_NAMES, r"(?:vision_model\.)?")

FLAX_STACK = re.compile(r"(spatial|temporal)_encoder/transformers_stack/x_layers/(.+)")
FLAX_NAMES = {
    "patch_projection/linear/kernel": "embedding/kernel",
    "patch_projection/linear/bias": "embedding/bias",
    "spatial_pos_emb/emb_var": f"SpatialTransformer/{POSITIONS}",
    "temporal_pos_emb/emb_var": f"TemporalTransformer/{POSITIONS}",
    "spatial_ln/scale": "SpatialTransformer/encoder_norm/scale",
    "spatial_ln/bias": "SpatialTransformer/encoder_norm/bias",
    "temporal_ln/scale": "TemporalTransformer/encoder_norm/scale",
    "temporal_ln/bias": "TemporalTransformer/encoder_norm/bias",
}
FLAX_BLOCK_NAMES = {
    "layer_norm": "LayerNorm_0",
    "self_attention/query": f"{ATTENTION}/query",
    "self_attention/key": f"{ATTENTION}/key",
    "self_attention/value": f"{ATTENTION}/value",
    "self_attention/post": f"{ATTENTION}/out",
    "ff_layer/layer_norm": "LayerNorm_1",
    "ff_layer/ffn_layer1/linear": "MlpBlock_0/Dense_0",
    "ff_layer/ffn_layer2/linear": "MlpBlock_0/Dense_1",
}
FLAX_PARTS = {"scale": "scale", "bias": "bias", "kernel": "kernel", "w": "kernel", "b": "bias"}


def is_flax(arrays: Mapping[str, np.ndarray]) -> bool:
    """Whether the names of an ``.npz`` are those of google-deepmind/videoprism."""
    return any("/transformers_stack/x_layers/" in name for name in arrays)


def is_hugging_face(tensors: Mapping[str, np.ndarray]) -> bool:
    """Whether the names are those of Hugging Face's VideoPrism."""
    return any(re.search(r"(^|\.)(spatial|temporal)_(layers|embeddings)\.", name) for name in tensors)


def from_flax(arrays: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], Origin]:
    """The parameters under the reference's names, and their origin.

    Args:
      arrays: float32, by their names in the file; those of an encoder's blocks are stacked, [blocks, ...].

    Raises:
      CorruptFileError: Where an array is unknown or has an odd shape.
    """
    parameters: dict[str, np.ndarray] = {}
    counts: dict[str, int] = {}
    for name, array in arrays.items():
        bare = name.removeprefix("params/")
        if stack := FLAX_STACK.fullmatch(bare):
            encoder, blocks = ENCODERS[stack[1]], len(array) if array.ndim else 0
            if not blocks or counts.setdefault(encoder, blocks) != blocks:
                wanted = counts.get(encoder, "blocks")
                raise CorruptFileError(f"{name}: shape {array.shape}, wanted [{wanted}, ...], blocks first")
            for block, part in enumerate(array):
                new, weight = _flax_weight(name, stack[2], part)
                parameters[f"{encoder}/encoderblock_{block}/{new}"] = weight
        elif bare in FLAX_NAMES:
            parameters[FLAX_NAMES[bare]] = _flax_root(name, FLAX_NAMES[bare], array)
        else:
            raise _unknown(name)
    _add_one_to_scales(parameters)
    return parameters, Origin("exact", LAYER_NORM_EPSILON, frozenset(), UNIT, _network(parameters, LOGIT_CAP))


def from_hugging_face(
    tensors: Mapping[str, np.ndarray], path: Path, metadata: Mapping[str, str]
) -> tuple[dict[str, np.ndarray], Origin]:
    """The parameters under the reference's names, and their origin.

    Args:
      tensors: float32, by their names in the file.
      path: Of the file; ``config.json`` and ``preprocessor_config.json`` are read beside it.
      metadata: Of the file.

    Raises:
      CorruptFileError: Where a tensor is unknown or has an odd shape, or a file beside it is damaged.
    """
    if further := next(
        (name for name in tensors if re.match(r"(auxiliary_layers|text_model|video_model)\.", name)), ""
    ):
        raise _unknown(further)
    config = read_settings(path.with_name("config.json"))
    parameters = translate(tensors, HUGGING_FACE, config)
    _add_one_to_scales(parameters)
    _fold_scale_of_queries(parameters)
    cap = config.get("attn_logit_softcapping", LOGIT_CAP)
    if not isinstance(cap, int | float) or isinstance(cap, bool) or not 0 < cap < math.inf:
        raise CorruptFileError(f"config.json says attn_logit_softcapping {cap!r}, wanted a number above 0")
    normalisation = stated_normalisation(path, config, metadata) or UNIT
    # Hugging Face's "gelu_python" is GELU by the error function.
    config = {key: "gelu" if value == "gelu_python" else value for key, value in config.items()}
    origin = read_origin(config, "exact", LAYER_NORM_EPSILON, normalisation, _network(parameters, float(cap)))
    stated = {"attention_logit_cap"} if "attn_logit_softcapping" in config else set()
    return parameters, dataclasses.replace(origin, stated=origin.stated | stated)


def _network(parameters: Mapping[str, np.ndarray], cap: float) -> dict[str, Any]:
    """What of `ViViTConfig` these weights decide beyond sizes; without a pooler, the head sees the tokens' mean."""
    blocks = {name.split("/")[1] for name in parameters if name.startswith("TemporalTransformer/encoderblock_")}
    return {
        "variant": "factorized_encoder",
        "spatial_pool": False,
        "temporal_layers": len(blocks),
        "temporal_num_heads": None,
        "temporal_mlp_dim": None,
        "classifier": "attention_pooler" if "pooler/probe" in parameters else "gap",
        "fc_norm": None,
        "position_embedding": "learned_1d",
        "attention_logit_cap": cap,
    }


def _flax_weight(name: str, inner: str, array: np.ndarray) -> tuple[str, np.ndarray]:
    """The reference's name within a block, and the array, of one block's part of a stack."""
    layer, _, part = inner.rpartition("/")
    if layer not in FLAX_BLOCK_NAMES or part not in FLAX_PARTS:
        raise _unknown(name)
    # Kernels are [D, heads, D / heads] throughout; the reference has that of the projection out turned.
    turned = np.moveaxis(array, 0, -1) if (layer, part) == ("self_attention/post", "w") and array.ndim else array
    return f"{FLAX_BLOCK_NAMES[layer]}/{FLAX_PARTS[part]}", turned


def _flax_root(name: str, new: str, array: np.ndarray) -> np.ndarray:
    """An array outside of the blocks as the reference has it."""
    if new == "embedding/kernel":
        side = math.isqrt(len(array) // 3) if array.ndim == 2 else 0
        if not side or 3 * side**2 != len(array):
            raise CorruptFileError(f"{name}: shape {array.shape}, wanted [3 * side * side, D] of a square patch")
        return array.reshape(1, side, side, 3, -1)
    return array[None] if new.endswith(POSITIONS) else array


def _add_one_to_scales(parameters: dict[str, np.ndarray]) -> None:
    for name in parameters:
        if name.endswith("/scale"):
            parameters[name] = parameters[name] + 1


def _fold_scale_of_queries(parameters: dict[str, np.ndarray]) -> None:
    """Multiplies the pooler's queries by the scale of each dimension, [D / heads], which goes."""
    if (learned := parameters.pop("pooler/per_dim_scale", None)) is None:
        if "pooler/probe" in parameters:
            raise CorruptFileError("head.per_dim_scale: missing, where there is a head.pooling_attention_query")
        return
    scale = (SCALE_OF_ZERO * np.logaddexp(0, learned)).astype(np.float32)
    for name in ("pooler/query/kernel", "pooler/query/bias"):
        if name not in parameters or scale.ndim != 1 or parameters[name].shape[-1:] != scale.shape:
            given = parameters[name].shape if name in parameters else "none"
            raise CorruptFileError(f"head.per_dim_scale: shape {scale.shape} for {name} of shape {given}")
        parameters[name] = parameters[name] * scale


def _unknown(name: str) -> CorruptFileError:
    return CorruptFileError(
        f"{name} is not a tensor of VideoPrism's video encoder; its video-text models (lvt) end in further blocks: "
        "take videoprism_public_v1_base or videoprism_public_v1_large"
    )
