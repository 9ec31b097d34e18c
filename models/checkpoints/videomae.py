"""Weights of VideoMAE (Tong et al., NeurIPS 2022), its v2 (Wang et al., CVPR 2023) and UMT (Li et al., ICCV 2023).

Contract: the three are one network, model 1 without a class token: fixed waves of the token's index for positions,
exact GELU, no bias of keys, and the mean of the tokens, normalised by ``fc_norm``, for the head. Read are the names of
their own repositories, fine-tuned and pretrained (``encoder.``), and those of Hugging Face. A decoder is left aside.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from models.checkpoints.normalisation import IMAGENET
from models.checkpoints.origin import Origin, read_origin, read_settings, stated_normalisation
from models.checkpoints.pytorch import (
    ATTENTION,
    BLOCK,
    HUGGING_FACE_LAYER,
    HUGGING_FACE_NAMES,
    TIMM_LAYER,
    TIMM_NAMES,
    Naming,
    fold_layer_scale,
    translate,
)
from models.network.layers import LAYER_NORM_EPSILON

_NOT_OURS = ("cls", "Transformer/registers")
_NOT_FEATURES = re.compile(r"(module\.)?(mask_token|encoder_to_decoder\.\w+|(decoder|clip_decoder)\..*)")
HUGGING_FACE = Naming(
    {
        HUGGING_FACE_LAYER + r"attention\.attention\.q_bias": f"{ATTENTION}/query/bias",
        HUGGING_FACE_LAYER + r"attention\.attention\.v_bias": f"{ATTENTION}/value/bias",
        **{pattern: name for pattern, name in HUGGING_FACE_NAMES.items() if name not in _NOT_OURS},
    },
    r"(?:videomae\.)?",
    _NOT_FEATURES,
)
OWN = Naming(
    {
        TIMM_LAYER + r"attn\.q_bias": f"{ATTENTION}/query/bias",
        TIMM_LAYER + r"attn\.v_bias": f"{ATTENTION}/value/bias",
        TIMM_LAYER + r"gamma_1": f"{ATTENTION}/out/layer_scale",
        TIMM_LAYER + r"gamma_2": f"{BLOCK}/MlpBlock_0/Dense_1/layer_scale",
        **{pattern: name for pattern, name in TIMM_NAMES.items() if name not in _NOT_OURS},
    },
    r"(?:module\.)?(?:(?:model|encoder|backbone)\.(?=(?:patch_embed|blocks|pos_embed|norm|fc_norm|head)\b))?",
    _NOT_FEATURES,
)
# Hugging Face's network has 1e-12 in its encoder, and PyTorch's default in fc_norm; the authors' has 1e-6 in both.
HUGGING_FACE_EPSILON, HUGGING_FACE_FC_NORM = 1e-12, 1e-5


def is_videomae(tensors: Mapping[str, np.ndarray]) -> bool:
    """Whether the names are those of VideoMAE or UMT: queries and values have a bias, keys have none."""
    biases = {
        part for name in tensors for part in ("query", "key") if name.endswith(f".attention.attention.{part}.bias")
    }
    return any(name.endswith(("attn.q_bias", "attention.q_bias")) for name in tensors) or biases == {"query"}


def from_videomae(
    tensors: Mapping[str, np.ndarray], path: Path, metadata: Mapping[str, str]
) -> tuple[dict[str, np.ndarray], Origin]:
    """The parameters, float32, under the reference's names, and their origin.

    A key's bias would add the same to all logits of a query, which softmax takes away: ours is zero.

    Args:
      tensors: float32, by their names in the file.
      path: Of the file; ``config.json`` and ``preprocessor_config.json`` are read beside it.
      metadata: Of the file.

    Raises:
      CorruptFileError: Where a tensor is unknown or has an odd shape, or a file beside it is damaged.
    """
    own = any(name.endswith("patch_embed.proj.weight") for name in tensors)
    config = read_settings(path.with_name("config.json"))
    parameters = translate(tensors, OWN if own else HUGGING_FACE, config)
    fold_layer_scale(parameters)
    for name in [name for name in parameters if name.endswith("/key/kernel")]:
        kernel = parameters[name]
        parameters[name.replace("kernel", "bias")] = np.zeros(kernel.shape[1:], np.float32)
    network = {"variant": "spacetime", "classifier": "gap", "position_embedding": "sinusoidal_1d"}
    network |= {"spatial_pool": True, "attention_logit_cap": None}
    if "Transformer/posembed_input/pos_embedding" in parameters:
        network["position_embedding"] = "learned_1d"
    if "fc_norm/scale" in parameters:
        network["fc_norm"] = LAYER_NORM_EPSILON if own else HUGGING_FACE_FC_NORM
    elif "output_projection/kernel" in parameters:
        # Fine-tuned without the mean of the tokens, the head reads the first.
        network["classifier"] = "0"
    epsilon = LAYER_NORM_EPSILON if own else HUGGING_FACE_EPSILON
    normalisation = stated_normalisation(path, config, metadata) or IMAGENET
    return parameters, read_origin(config, "exact", epsilon, normalisation, network)
