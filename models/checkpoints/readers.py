"""Reads public checkpoints into arrays under the reference's names, whatever the file's layout.

Supported layouts, recognised by content and never by name:
  - Flax msgpack of a scenic TrainState, older (``optimizer/target``) and newer (``params``), image ViT or ViViT;
  - ``.npz`` of image ViTs: big_vision, older (``opt/target/`` before each name) and current (``params/``, and position
    embeddings at the root), and the public vision_transformer files;
  - safetensors of PyTorch's image ViTs and ViViT, or the folder with them: see `models.checkpoints.pytorch`;
  - safetensors of VideoMAE and UMT: see `models.checkpoints.videomae`;
  - ``.npz`` of VideoPrism, and its safetensors of Hugging Face: see `models.checkpoints.videoprism`.
"""

from __future__ import annotations

import collections
import dataclasses
import mmap
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from models.checkpoints import archives, videomae, videoprism
from models.checkpoints.msgpack import CorruptFileError, unpack
from models.checkpoints.origin import Origin
from models.checkpoints.pytorch import from_pytorch, is_timm

MODULE = re.compile(r"([A-Z]\w*)_(\d+)$")
NPZ_PREFIXES = ("opt/target/", "params/")
FLOATS = (*(np.dtype(f"float{bits}") for bits in (16, 32, 64)), np.dtype(ml_dtypes.bfloat16))
ROOT_POSITIONS, POSITIONS = "pos_embedding", "Transformer/posembed_input/pos_embedding"


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """Weights of an image ViT, a ViViT or another video transformer.

    Attributes:
      path: Where they were read from.
      layout: "scenic", "npz", "hugging_face", "timm", "videomae" or "videoprism".
      parameters: Arrays by the reference's names, e.g. ``Transformer/encoderblock_0/MlpBlock_0/Dense_0/kernel``.
      origin: What is known of the network beyond its weights.
    """

    path: str
    layout: str
    parameters: Mapping[str, np.ndarray]
    origin: Origin = Origin()

    @property
    def has_class_token(self) -> bool:
        """Whether the first position embedding is a class token's."""
        return any(name == "cls" or name.startswith("cls_") for name in self.parameters)

    @property
    def is_image(self) -> bool:
        """Whether the kernel [h, w, C, D] is one of single frames."""
        return np.ndim(self.parameters.get("embedding/kernel")) == 4


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Reads a checkpoint file, or a folder with a ``model.safetensors``.

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
        if data[8:9] == b"{":
            return _read_pytorch(data, path)
        if data[:4] == b"PK\x03\x04":
            arrays = archives.read_npz(path)
            if videoprism.is_flax(arrays):
                return Checkpoint(str(path), "videoprism", *videoprism.from_flax(_as_float32(arrays)))
            layout, parameters = "npz", _from_npz(arrays)
        else:
            layout, parameters = "scenic", _from_train_state(unpack(data))
        return Checkpoint(str(path), layout, _as_float32(parameters))
    except ValueError as error:
        raise CorruptFileError(f"{path}: {error}") from error


def _read_pytorch(data: memoryview, path: Path) -> Checkpoint:
    tensors, metadata = _as_float32(archives.read_safetensors(data)), archives.safetensors_metadata(data)
    if videomae.is_videomae(tensors):
        return Checkpoint(str(path), "videomae", *videomae.from_videomae(tensors, path, metadata))
    if videoprism.is_hugging_face(tensors):
        return Checkpoint(str(path), "videoprism", *videoprism.from_hugging_face(tensors, path, metadata))
    layout = "timm" if is_timm(tensors) else "hugging_face"
    return Checkpoint(str(path), layout, *from_pytorch(tensors, path, metadata))


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
    return renumber(_with_inner_positions(named))


def _with_inner_positions(parameters: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """Names the position embeddings at the root, of patches [1, N, D], as the reference does; a class token's is zero.

    Current big_vision adds them before the class token (its models/vit.py).
    """
    if ROOT_POSITIONS not in parameters or POSITIONS in parameters:
        return parameters
    table = parameters[ROOT_POSITIONS]
    if table.ndim != 3:
        raise CorruptFileError(f"{ROOT_POSITIONS}: shape {table.shape}, wanted (1, N, D)")
    if "cls" in parameters:
        table = np.concatenate([np.zeros_like(table[:, :1]), table], axis=1)
    others = {name: array for name, array in parameters.items() if name != ROOT_POSITIONS}
    return {**others, POSITIONS: table}


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


def _as_float32(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    converted = {}
    for name, array in arrays.items():
        if array.dtype not in FLOATS:
            raise CorruptFileError(f"{name}: dtype {array.dtype}, wanted one of {', '.join(map(str, FLOATS))}")
        converted[name] = array.astype(np.float32, copy=False)
        if not np.isfinite(converted[name]).all():
            raise CorruptFileError(f"{name}: holds values that are not finite")
    return converted
