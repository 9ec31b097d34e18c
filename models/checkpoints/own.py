"""The weights of our own models: one safetensors file in each SavedModel, and how it starts another network.

Contract: the file has every weight in float32 under the reference's names and, as metadata, what they mean: class names
by head, the clip's shape, the network. The same model gives the same bytes. A network that is the same in all of these
starts as the one that was written, bit by bit.
"""

from __future__ import annotations

import dataclasses
import json
import mmap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import keras
import numpy as np

from models.checkpoints import archives
from models.checkpoints.initialise import FUNCTION, InitOptions, InitReport, initialise, initialise_model, zoom
from models.checkpoints.msgpack import CorruptFileError
from models.checkpoints.origin import Origin
from models.checkpoints.readers import Checkpoint, read_checkpoint
from models.network.vivit import ViViTConfig, token_grid, weights_by_name

# Where it is in a SavedModel.
WEIGHTS = "assets.extra/weights.safetensors"
HEAD = "output_projection/"
_LAYOUT = "vivit"
_SHOWN = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class OwnCheckpoint(Checkpoint):
    """The weights of a model that this project wrote.

    Attributes:
      classes: Class names by head, in the order of the logits.
      clip_shape: (T, H, W) of its clips, in frames and pixels.
      network: Its network.
    """

    classes: Mapping[str, Sequence[str]]
    clip_shape: tuple[int, int, int]
    network: ViViTConfig


def write_weights(
    file: BinaryIO,
    model: keras.Model,
    *,
    network: ViViTConfig,
    clip_shape: Sequence[int],
    classes: Mapping[str, Sequence[str]],
) -> None:
    """Writes the weights of a network of `build_vivit`.

    Args:
      file: Open for writing.
      model: The network; its weights are float32.
      network: How it was built.
      clip_shape: (T, H, W) of its clips.
      classes: Class names by head, in the order of the logits.
    """
    settings = {field.name: getattr(network, field.name) for field in dataclasses.fields(ViViTConfig)}
    about = {
        "layout": _LAYOUT,
        "classes": json.dumps({head: list(names) for head, names in classes.items()}, ensure_ascii=False),
        "clip_shape": json.dumps(list(clip_shape)),
        "network": json.dumps(settings, sort_keys=True),
    }
    weights = {name: weight.numpy() for name, weight in weights_by_name(model).items()}
    archives.write_safetensors(file, weights, about)


def read_weights(path: str | Path) -> Checkpoint:
    """Reads the weights of a model of ours, or whatever `read_checkpoint` reads.

    Raises:
      FileNotFoundError: If there is no such file.
      CorruptFileError: If it has no known layout, is damaged, or contradicts itself; names the file.
    """
    if not Path(path).is_file() or not Path(path).stat().st_size:
        return read_checkpoint(path)
    with open(path, "rb") as file:
        data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    about = archives.safetensors_metadata(data)
    if about.get("layout") != _LAYOUT:
        return read_checkpoint(path)
    try:
        return _own(str(path), archives.read_safetensors(data), about)
    except ValueError as error:
        raise CorruptFileError(f"{path}: {error}") from error


def _own(path: str, weights: Mapping[str, np.ndarray], about: Mapping[str, str]) -> OwnCheckpoint:
    for name, array in weights.items():
        if array.dtype != np.float32 or not np.isfinite(array).all():
            raise CorruptFileError(f"{name}: wanted float32 and finite values, it has dtype {array.dtype}")
    try:
        classes, settings = json.loads(about["classes"]), json.loads(about["network"])
        frames, height, width = map(int, json.loads(about["clip_shape"]))
        network = ViViTConfig(**settings | {"tubelet": tuple(settings["tubelet"])})
        count, logits = sum(map(len, classes.values())), weights[f"{HEAD}bias"].shape
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise CorruptFileError(f"its metadata is damaged, or of a newer release: {error!r}") from error
    if logits != (count,):
        raise CorruptFileError(f"its metadata names {count} classes, {HEAD}bias has shape {logits}")
    function = {field: getattr(network, field) for field in FUNCTION}
    stated = frozenset(("gelu", "layer_norm_epsilon"))
    origin = Origin(network.gelu, network.layer_norm_epsilon, stated, network=function)
    described = {"classes": classes, "clip_shape": (frames, height, width), "network": network}
    return OwnCheckpoint(path, _LAYOUT, weights, origin, **described)


def start_model(
    model: keras.Model,
    source: Checkpoint,
    config: ViViTConfig,
    clip_shape: tuple[int, int, int],
    classes: Mapping[str, Sequence[str]],
    options: InitOptions,
) -> InitReport:
    """Assigns weights that were read to the network that `build_vivit` made of `config`, `clip_shape` and `classes`.

    Those of a public checkpoint are fitted by `initialise_model`, those of a model of ours by `fit`.

    Raises:
      ValueError: Where a weight cannot be fitted (names it and both shapes); the network is then as it was.
    """
    if not isinstance(source, OwnCheckpoint):
        return initialise_model(model, source, config, clip_shape, options)
    weights = weights_by_name(model)
    fresh = {name: weight.numpy() for name, weight in weights.items()}
    fitted, report = fit(fresh, source, config, clip_shape, classes, options)
    for name in report.loaded:
        weights[name].assign(fitted[name])
    return report


def fit(
    fresh: Mapping[str, np.ndarray],
    source: OwnCheckpoint,
    config: ViViTConfig,
    clip_shape: tuple[int, int, int],
    classes: Mapping[str, Sequence[str]],
    options: InitOptions,
) -> tuple[dict[str, np.ndarray], InitReport]:
    """Fits a model of ours to the weights `fresh` of a network; returns all of its weights, and the outcome for each.

    The classes that both have, by head and name, keep their part of the head; the others start as in `fresh`. Position
    embeddings are interpolated where the grid of tokens is another. All else is copied.

    Raises:
      ValueError: Where depth or shape of a weight is another; names it and both.
    """
    depths = ("num_layers", *["temporal_layers"] * (config.variant == source.network.variant == "factorized_encoder"))
    for field in depths:
        given, wanted = getattr(source.network, field), getattr(config, field)
        if given != wanted:
            raise ValueError(f"model.{field}: {source.path} has {given} blocks, the network wants {wanted}")
    parameters, how = dict(source.parameters), {}
    for name in (f"{HEAD}kernel", f"{HEAD}bias"):
        parameters[name] = _fit_head(name, fresh[name], source, classes)
        how[name] = _in_words(source.classes, classes)
    if config.variant == source.network.variant:
        for name in source.parameters:
            if name.endswith("posembed_input/pos_embedding"):
                parameters[name], how[name] = _fit_positions(name, source, config, clip_shape)
    options = dataclasses.replace(
        options,
        restore_head=True,
        positions="interpolate",
        source_grid=token_grid(source.network, source.clip_shape),
        source_classifier="token" if source.network.class_token else "gap",
    )
    fitted, report = initialise(fresh, dataclasses.replace(source, parameters=parameters), config, clip_shape, options)
    loaded = {name: how.get(name) or plain for name, plain in report.loaded.items()}
    return fitted, dataclasses.replace(report, loaded=loaded)


def _fit_head(name: str, fresh: np.ndarray, source: OwnCheckpoint, classes: Mapping[str, Sequence[str]]) -> np.ndarray:
    """Kernel [D, K] or bias [K] of the head: the columns of the classes that stay, else those of `fresh`."""
    given = source.parameters[name]
    if given.shape[:-1] != fresh.shape[:-1]:
        raise ValueError(f"{name}: {source.path} has it of shape {given.shape}, the network wants {fresh.shape}")
    columns = {pair: column for column, pair in enumerate(_pairs(source.classes))}
    fitted = fresh.copy()
    for column, pair in enumerate(_pairs(classes)):
        if pair in columns:
            fitted[..., column] = given[..., columns[pair]]
    return fitted


def _pairs(classes: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, str]]:
    """Head and class name of each logit."""
    return ((head, name) for head, names in classes.items() for name in names)


def _in_words(before: Mapping[str, Sequence[str]], now: Mapping[str, Sequence[str]]) -> str:
    """What becomes of each head; empty where all classes are the same, in the same order."""
    if list(_pairs(before)) == list(_pairs(now)):
        return ""
    words = []
    for head, names in now.items():
        if head not in before:
            words.append(f"head {head} is new")
            continue
        new, gone = _besides(names, before[head]), _besides(before[head], names)
        parts = [f"head {head} keeps {len(names) - len(new)} of {len(before[head])} classes"]
        parts += [f"{what} {_some(some)}" for what, some in (("new", new), ("gone", gone)) if some]
        words.append(", ".join(parts))
    words += [f"head {head} is gone" for head in _besides(before, now)]
    return "; ".join(words)


def _besides(names: Sequence[str] | Mapping, others: Sequence[str] | Mapping) -> list[str]:
    others = set(others)
    return [name for name in names if name not in others]


def _some(names: Sequence[str]) -> str:
    rest = len(names) - _SHOWN
    return " ".join(map(repr, names[:_SHOWN])) + (f" and {rest} more" if rest > 0 else "")


def _fit_positions(
    name: str, source: OwnCheckpoint, config: ViViTConfig, clip_shape: tuple[int, int, int]
) -> tuple[np.ndarray, str]:
    """Position embeddings [1, N, D], the class token's as it is and the others on the new grid of tokens; and how."""
    table = source.parameters[name]
    given = _grid_of(name, token_grid(source.network, source.clip_shape))
    wanted = _grid_of(name, token_grid(config, clip_shape))
    if given == wanted:
        return table, ""
    first = int(source.network.class_token)
    fitted = zoom(table[0, first:], given, wanted)
    return np.concatenate([table[:, :first], fitted[None]], axis=1), f"interpolated from {given} to {wanted}"


def _grid_of(name: str, grid: tuple[int, int, int]) -> tuple[int, int, int]:
    """The part of a grid of tokens (frames, rows, columns) that an encoder's position embeddings are about."""
    frames, rows, columns = grid
    encoder = name.partition("/")[0]
    return {"SpatialTransformer": (1, rows, columns), "TemporalTransformer": (frames, 1, 1)}.get(encoder, grid)
