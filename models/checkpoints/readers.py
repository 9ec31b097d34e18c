"""Reads public checkpoints into arrays under the reference's names, whatever the file's layout.

Supported layouts, recognised by content and never by name:
  - Flax msgpack of a scenic TrainState, older (``optimizer/target``) and newer (``params``), image ViT or ViViT;
  - ``.npz`` of image ViTs: big_vision (``opt/target/`` before each name) and the public vision_transformer files;
  - Hugging Face ``VivitForVideoClassification``: a folder, or its ``model.safetensors`` with ``config.json`` beside.
"""

from __future__ import annotations

import collections
import dataclasses
import json
import mmap
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from models.checkpoints import archives
from models.checkpoints.msgpack import CorruptFileError, unpack
from models.network.layers import LAYER_NORM_EPSILON

MODULE = re.compile(r"([A-Z]\w*)_(\d+)$")
NPZ_PREFIXES = ("opt/target/", "params/")
FLOATS = (*(np.dtype(f"float{bits}") for bits in (16, 32, 64)), np.dtype(ml_dtypes.bfloat16))
BLOCK = r"vivit\.encoder\.layer\.(\d+)\."
HUGGING_FACE_NAMES = {
    r"vivit\.embeddings\.cls_token": "cls",
    r"vivit\.embeddings\.position_embeddings": "Transformer/posembed_input/pos_embedding",
    r"vivit\.embeddings\.patch_embeddings\.projection\.(\w+)": r"embedding/\1",
    BLOCK + r"layernorm_before\.(\w+)": r"Transformer/encoderblock_\1/LayerNorm_0/\2",
    BLOCK + r"attention\.attention\.(\w+)\.(\w+)": (
        r"Transformer/encoderblock_\1/MultiHeadDotProductAttention_0/\2/\3"
    ),
    BLOCK + r"attention\.output\.dense\.(\w+)": r"Transformer/encoderblock_\1/MultiHeadDotProductAttention_0/out/\2",
    BLOCK + r"layernorm_after\.(\w+)": r"Transformer/encoderblock_\1/LayerNorm_1/\2",
    BLOCK + r"intermediate\.dense\.(\w+)": r"Transformer/encoderblock_\1/MlpBlock_0/Dense_0/\2",
    BLOCK + r"output\.dense\.(\w+)": r"Transformer/encoderblock_\1/MlpBlock_0/Dense_1/\2",
    r"vivit\.layernorm\.(\w+)": r"Transformer/encoder_norm/\1",
    r"classifier\.(\w+)": r"output_projection/\1",
}
HUGGING_FACE_GELUS = ("gelu_fast", "gelu_new", "gelu_pytorch_tanh")


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """Weights of an image ViT or a ViViT.

    Attributes:
      path: Where they were read from.
      layout: "scenic", "npz" or "hugging_face".
      parameters: Arrays by the reference's names, e.g. ``Transformer/encoderblock_0/MlpBlock_0/Dense_0/kernel``.
    """

    path: str
    layout: str
    parameters: Mapping[str, np.ndarray]

    @property
    def has_class_token(self) -> bool:
        """Whether the first position embedding is a class token's."""
        return any(name == "cls" or name.startswith("cls_") for name in self.parameters)


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Reads a checkpoint file, or a Hugging Face folder.

    Raises:
      FileNotFoundError: Where there is none.
      CorruptFileError: Where the file has none of the layouts, is damaged, or contradicts itself; names the file.
    """
    path = Path(path)
    if path.is_dir():
        path /= "model.safetensors"
    if not path.stat().st_size:
        raise CorruptFileError(f"{path}: the file is empty")
    try:
        with path.open("rb") as file:
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        if data[:4] == b"PK\x03\x04":
            layout, parameters = "npz", _from_npz(archives.read_npz(path))
        elif data[8:9] == b"{":
            layout, parameters = "hugging_face", _from_hugging_face(archives.read_safetensors(data), path)
        else:
            layout, parameters = "scenic", _from_train_state(unpack(data))
        parameters = {name: _as_float32(name, array) for name, array in parameters.items()}
    except ValueError as error:
        raise CorruptFileError(f"{path}: {error}") from error
    return Checkpoint(str(path), layout, parameters)


def _from_train_state(state: Any) -> dict[str, np.ndarray]:
    """The parameters of scenic's TrainState, a nested dict."""
    if not isinstance(state, dict):
        raise CorruptFileError(f"wanted a TrainState, found {type(state).__name__}")
    optimizer = state.get("optimizer")
    tree = optimizer.get("target") if isinstance(optimizer, dict) else state.get("params")
    if isinstance(tree, dict) and isinstance(tree.get("params"), dict):
        tree = tree["params"]
    if not isinstance(tree, dict):
        raise CorruptFileError(f"neither optimizer/target nor params in a TrainState of {', '.join(state)}")
    return renumber(dict(_flatten(tree)))


def _flatten(tree, prefix=""):
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{name}/")
        elif isinstance(value, np.ndarray):
            yield prefix + name, value
        else:
            raise CorruptFileError(f"{prefix}{name}: wanted an array, found {type(value).__name__}")


def _from_npz(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The parameters of an image ViT of big_vision, or of the public vision_transformer files."""
    for prefix in NPZ_PREFIXES:
        if any(name.startswith(prefix) for name in arrays):
            arrays = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
    named = {re.sub(r"^head/", "output_projection/", name): array for name, array in arrays.items()}
    if "embedding/kernel" not in named:
        raise CorruptFileError(f"no embedding/kernel among {', '.join(list(named)[:5])}, ...: not a vision transformer")
    return renumber(named)


def renumber(parameters: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Counts the modules of each class from 0, as newer Flax does; older Flax counted all classes together.

    So ``encoderblock_0/MlpBlock_3`` becomes ``encoderblock_0/MlpBlock_0``; new names stay as they are.
    """
    indices = collections.defaultdict(set)
    for name in parameters:
        parts = name.split("/")
        for depth, part in enumerate(parts):
            if module := MODULE.match(part):
                indices["/".join([*parts[:depth], module[1]])].add(int(module[2]))

    def new_name(name: str) -> str:
        parts = name.split("/")
        renamed = []
        for depth, part in enumerate(parts):
            if module := MODULE.match(part):
                known = sorted(indices["/".join([*parts[:depth], module[1]])])
                part = f"{module[1]}_{known.index(int(module[2]))}"
            renamed.append(part)
        return "/".join(renamed)

    return {new_name(name): array for name, array in parameters.items()}


def _from_hugging_face(tensors: Mapping[str, np.ndarray], path: Path) -> dict[str, np.ndarray]:
    """The parameters of a VivitForVideoClassification, whose dense kernels are [out, in] without an axis of heads."""
    config_path = path.with_name("config.json")
    if not config_path.exists():
        raise CorruptFileError("config.json is not beside it; it says how many heads there are")
    config = json.loads(config_path.read_text())
    gelu, epsilon = config.get("hidden_act"), config.get("layer_norm_eps")
    if gelu not in HUGGING_FACE_GELUS or epsilon != LAYER_NORM_EPSILON:
        raise CorruptFileError(
            f"config.json says hidden_act {gelu!r} and layer_norm_eps {epsilon!r}; "
            f"ViViT has one of {', '.join(HUGGING_FACE_GELUS)}, and {LAYER_NORM_EPSILON}"
        )
    return dict(_rename_hugging_face(name, tensor, config["num_attention_heads"]) for name, tensor in tensors.items())


def _rename_hugging_face(name: str, tensor: np.ndarray, heads: int) -> tuple[str, np.ndarray]:
    for pattern, replacement in HUGGING_FACE_NAMES.items():
        if match := re.fullmatch(pattern, name):
            new = match.expand(replacement)
            break
    else:
        raise CorruptFileError(f"{name} is not a tensor of VivitForVideoClassification")
    if new.endswith("/weight"):
        new = new.removesuffix("weight") + ("kernel" if tensor.ndim > 1 else "scale")
    # PyTorch has the outputs first: [out, in] of a dense layer, [out, in, t, h, w] of a convolution.
    array = tensor.transpose(2, 3, 4, 1, 0) if tensor.ndim == 5 else tensor.T if tensor.ndim == 2 else tensor
    if re.search("/(query|key|value)/", new):
        array = array.reshape(*array.shape[:-1], heads, -1)
    elif new.endswith("/out/kernel"):
        array = array.reshape(heads, -1, array.shape[-1])
    return new, array


def _as_float32(name: str, array: np.ndarray) -> np.ndarray:
    if array.dtype not in FLOATS:
        raise CorruptFileError(f"{name}: dtype {array.dtype}, wanted one of {', '.join(map(str, FLOATS))}")
    array = array.astype(np.float32, copy=False)
    if not np.isfinite(array).all():
        raise CorruptFileError(f"{name}: holds values that are not finite")
    return array
