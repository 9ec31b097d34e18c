"""Weights of PyTorch's vision transformers under the reference's names, and what the files beside them say.

Image ViTs of Hugging Face (``ViTModel``, ``Dinov2Model``, ``Dinov2WithRegistersModel``, bare or below a classifier) and
its ViViT; timm's ``VisionTransformer``, whose names are also those of DINOv2's own code. A tensor that belongs to none
of them is refused: the network would be another function without it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from models.checkpoints.msgpack import CorruptFileError
from models.checkpoints.normalisation import HALF, IMAGENET
from models.checkpoints.origin import Origin, read_origin, read_settings, stated_normalisation
from models.network.layers import LAYER_NORM_EPSILON

BLOCK = r"Transformer/encoderblock_\1"
ATTENTION = f"{BLOCK}/MultiHeadDotProductAttention_0"
HUGGING_FACE_PREFIX = r"(?:(?:vit|vivit|dinov2|dinov2_with_registers)\.)?"
HUGGING_FACE_LAYER = r"encoder\.layer\.(\d+)\."
HUGGING_FACE_NAMES = {
    r"embeddings\.cls_token": "cls",
    r"embeddings\.register_tokens": "Transformer/registers",
    r"embeddings\.position_embeddings": "Transformer/posembed_input/pos_embedding",
    r"embeddings\.patch_embeddings\.projection\.(\w+)": r"embedding/\1",
    HUGGING_FACE_LAYER + r"(?:layernorm_before|norm1)\.(\w+)": rf"{BLOCK}/LayerNorm_0/\2",
    HUGGING_FACE_LAYER + r"attention\.attention\.(\w+)\.(\w+)": rf"{ATTENTION}/\2/\3",
    HUGGING_FACE_LAYER + r"attention\.output\.dense\.(\w+)": rf"{ATTENTION}/out/\2",
    HUGGING_FACE_LAYER + r"layer_scale1\.lambda1": f"{ATTENTION}/out/layer_scale",
    HUGGING_FACE_LAYER + r"(?:layernorm_after|norm2)\.(\w+)": rf"{BLOCK}/LayerNorm_1/\2",
    HUGGING_FACE_LAYER + r"(?:intermediate\.dense|mlp\.fc1)\.(\w+)": rf"{BLOCK}/MlpBlock_0/Dense_0/\2",
    HUGGING_FACE_LAYER + r"(?:output\.dense|mlp\.fc2)\.(\w+)": rf"{BLOCK}/MlpBlock_0/Dense_1/\2",
    HUGGING_FACE_LAYER + r"layer_scale2\.lambda1": f"{BLOCK}/MlpBlock_0/Dense_1/layer_scale",
    r"layernorm\.(\w+)": r"Transformer/encoder_norm/\1",
    r"fc_norm\.(\w+)": r"fc_norm/\1",
    r"classifier\.(\w+)": r"output_projection/\1",
}
TIMM_LAYER = r"blocks\.(\d+)\."
TIMM_NAMES = {
    "cls_token": "cls",
    "(?:reg_token|register_tokens)": "Transformer/registers",
    "pos_embed": "Transformer/posembed_input/pos_embedding",
    r"patch_embed\.proj\.(\w+)": r"embedding/\1",
    TIMM_LAYER + r"norm1\.(\w+)": rf"{BLOCK}/LayerNorm_0/\2",
    TIMM_LAYER + r"attn\.qkv\.(\w+)": rf"{ATTENTION}/qkv/\2",
    TIMM_LAYER + r"attn\.proj\.(\w+)": rf"{ATTENTION}/out/\2",
    TIMM_LAYER + r"ls1\.gamma": f"{ATTENTION}/out/layer_scale",
    TIMM_LAYER + r"norm2\.(\w+)": rf"{BLOCK}/LayerNorm_1/\2",
    TIMM_LAYER + r"mlp\.fc1\.(\w+)": rf"{BLOCK}/MlpBlock_0/Dense_0/\2",
    TIMM_LAYER + r"mlp\.fc2\.(\w+)": rf"{BLOCK}/MlpBlock_0/Dense_1/\2",
    TIMM_LAYER + r"ls2\.gamma": f"{BLOCK}/MlpBlock_0/Dense_1/layer_scale",
    r"norm\.(\w+)": r"Transformer/encoder_norm/\1",
    r"fc_norm\.(\w+)": r"fc_norm/\1",
    r"head\.(\w+)": r"output_projection/\1",
}
# What features do not need: training's mask, heads of other kinds, a decoder.
NOT_FEATURES = re.compile(r"((embeddings\.)?mask_token|(pooler|decoder)\..*)")


class Naming(NamedTuple):
    """How a kind of network names its tensors.

    Attributes:
      names: The reference's name by the pattern of a tensor's, without the prefix.
      prefix: Pattern of what may stand before each name.
      not_features: Pattern of names, without the prefix, of tensors that features do not need.
    """

    names: Mapping[str, str]
    prefix: str = ""
    not_features: re.Pattern[str] = NOT_FEATURES


HUGGING_FACE = Naming(HUGGING_FACE_NAMES, HUGGING_FACE_PREFIX)
TIMM = Naming(TIMM_NAMES)
HUGGING_FACE_VIT_EPSILON = 1e-12
HEAD_WIDTH = 64
# ViT-H and ViT-g have heads of other widths.
HEADS_OF_WIDTH = {1280: 16, 1408: 16}


def is_timm(tensors: Mapping[str, np.ndarray]) -> bool:
    """Whether the names are those of timm, or of DINOv2's own code."""
    return "patch_embed.proj.weight" in tensors


def from_pytorch(
    tensors: Mapping[str, np.ndarray], path: Path, metadata: Mapping[str, str]
) -> tuple[dict[str, np.ndarray], Origin]:
    """The parameters, float32, under the reference's names, and their origin.

    LayerScale (Touvron et al. 2021) is folded into kernel and bias of the layer before it. Position embeddings begin
    with the class token's wherever there is one: zeros where the network adds none to it. Heads are those of
    ``config.json``, else as many as the width has in image ViTs.

    Args:
      tensors: float32, by their names in the file.
      path: Of the file; ``config.json`` and ``preprocessor_config.json`` are read beside it.
      metadata: Of the file.

    Raises:
      CorruptFileError: Where a tensor is unknown or has an odd shape, or a file beside it is damaged.
    """
    config = read_settings(path.with_name("config.json"))
    naming = TIMM if is_timm(tensors) else HUGGING_FACE
    parameters = translate(tensors, naming, config)
    has_layer_scale = fold_layer_scale(parameters)
    _set_other_heads_apart(parameters)
    _complete_positions(parameters, is_timm(tensors))
    if any(tensor.ndim == 5 or name.startswith("vivit.") for name, tensor in tensors.items()):
        return parameters, read_origin(config, "tanh", LAYER_NORM_EPSILON, HALF)
    normalisation = stated_normalisation(path, config, metadata) or (IMAGENET if has_layer_scale else None)
    epsilon = LAYER_NORM_EPSILON if has_layer_scale or is_timm(tensors) else HUGGING_FACE_VIT_EPSILON
    return parameters, read_origin(config, "exact", epsilon, normalisation)


def translate(tensors: Mapping[str, np.ndarray], naming: Naming, config: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The arrays of all tensors by the reference's names; those that are not features keep their own.

    Heads of attention are those of `config`, else as many as the width has in image ViTs.

    Raises:
      CorruptFileError: Where a tensor is unknown or has an odd shape, or two stand for one weight.
    """
    bare = {name: re.sub(f"^{naming.prefix}", "", name) for name in tensors}
    features = {name: tensor for name, tensor in tensors.items() if not naming.not_features.fullmatch(bare[name])}
    width = next((tensor.size for name, tensor in features.items() if re.search(r"(norm1|before)\.weight$", name)), 0)
    heads = config.get("num_attention_heads", HEADS_OF_WIDTH.get(width, max(1, width // HEAD_WIDTH)))
    if not isinstance(heads, int) or heads < 1:
        raise CorruptFileError(f"config.json says num_attention_heads {heads!r}")
    parameters = {name: tensor for name, tensor in tensors.items() if name not in features}
    for name, tensor in features.items():
        for new, array in _translate(name, bare[name], tensor, naming.names, heads):
            if new in parameters:
                raise CorruptFileError(f"{name}: a second tensor for {new}")
            parameters[new] = array
    return parameters


def _translate(
    name: str, bare: str, tensor: np.ndarray, names: Mapping[str, str], heads: int
) -> Iterator[tuple[str, np.ndarray]]:
    """The reference's names and arrays of one tensor."""
    for pattern, replacement in names.items():
        if match := re.fullmatch(pattern, bare):
            new = match.expand(replacement)
            break
    else:
        raise CorruptFileError(f"{name} is not a tensor of a transformer that can be read here")
    if new.endswith("/weight"):
        is_kernel = tensor.ndim > 1 or new.startswith("output_projection/")
        new = new.removesuffix("weight") + ("kernel" if is_kernel else "scale")
    try:
        yield from _arrange(new, tensor, heads)
    except ValueError as error:
        raise CorruptFileError(f"{name}: shape {tensor.shape} with {heads} heads of attention: {error}") from error


def _arrange(new: str, tensor: np.ndarray, heads: int) -> Iterator[tuple[str, np.ndarray]]:
    """Turns an array as the reference has it; PyTorch has outputs first and no axis of heads.

    [out, in] of a dense layer becomes [in, out], [out, in, (t,) h, w] of a convolution [(t,) h, w, in, out].
    """
    if not tensor.ndim:
        raise ValueError("a single number")
    if new.endswith("/kernel") and tensor.ndim != 2 and not new.startswith("embedding/"):
        raise ValueError("wanted [out, in]")
    array = np.moveaxis(tensor, (1, 0), (-2, -1)) if new.endswith("/kernel") else tensor
    if "/qkv/" in new:
        for part, third in zip(("query", "key", "value"), np.split(array, 3, axis=-1), strict=True):
            yield new.replace("/qkv/", f"/{part}/"), third.reshape(*third.shape[:-1], heads, -1)
    elif re.search("/(query|key|value)/", new):
        yield new, array.reshape(*array.shape[:-1], heads, -1)
    elif new.endswith("/out/kernel"):
        yield new, array.reshape(heads, -1, array.shape[-1])
    else:
        yield new, array


def fold_layer_scale(parameters: dict[str, np.ndarray]) -> bool:
    """Multiplies each layer's outputs by its ``layer_scale`` [D], which goes; all blocks have it, or none.

    Returns whether there is one.
    """
    scales = {name: parameters.pop(name) for name in list(parameters) if name.endswith("/layer_scale")}
    ends = [name.removesuffix("kernel") for name in parameters if re.search("/(out|Dense_1)/kernel$", name)]
    if lacking := [end for end in ends if scales and f"{end}layer_scale" not in scales]:
        raise CorruptFileError(f"{lacking[0]}layer_scale: missing, where other layers have one")
    for name, scale in scales.items():
        layer = name.removesuffix("/layer_scale")
        for weight in (f"{layer}/kernel", f"{layer}/bias"):
            if weight not in parameters or parameters[weight].shape[-1:] != scale.shape:
                given = parameters[weight].shape if weight in parameters else "none"
                raise CorruptFileError(f"{name}: scale of shape {scale.shape} for {weight} of shape {given}")
            parameters[weight] = parameters[weight] * scale
    return bool(scales)


def _set_other_heads_apart(parameters: dict[str, np.ndarray]) -> None:
    """Names a head that reads more than one token otherwise: DINOv2's reads the mean of the patches as well."""
    width = next((array.size for name, array in parameters.items() if name.endswith("/LayerNorm_0/scale")), 0)
    kernel = parameters.get("output_projection/kernel")
    if kernel is not None and len(kernel) != width:
        for name in ("output_projection/kernel", "output_projection/bias"):
            if name in parameters:
                parameters[name.replace("output_projection", "classifier")] = parameters.pop(name)


def _complete_positions(parameters: dict[str, np.ndarray], timm: bool) -> None:
    """Gives the class token a position embedding, and takes those of registers into them.

    timm has positions [1, N, D] of patches alone, of class token and patches, or of class token, registers and patches;
    which, the number of patches says: a square.
    """
    name, registers = "Transformer/posembed_input/pos_embedding", parameters.get("Transformer/registers")
    table = parameters.get(name)
    if table is None or table.ndim != 3:
        return
    length = table.shape[1]
    if "cls" not in parameters:
        if _is_square(length - 1) and not _is_square(length):
            raise CorruptFileError(f"no class token, where there are {length} position embeddings, one beyond a square")
    elif not timm:
        return
    elif _is_square(length):
        parameters[name] = np.concatenate([np.zeros_like(table[:, :1]), table], axis=1)
    elif registers is not None and registers.ndim == 3 and registers.shape[2] == table.shape[2]:
        count = registers.shape[1]
        patches = length - 1 - count
        if _is_square(patches):
            parameters["Transformer/registers"] = registers + table[:, 1 : 1 + count]
            parameters[name] = np.delete(table, slice(1, 1 + count), axis=1)


def _is_square(count: int) -> bool:
    return count > 0 and math.isqrt(count) ** 2 == count
