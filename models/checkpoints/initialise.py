"""Fits the weights of an image ViT, or of another ViViT, to a ViViT (paper section 3.4, scenic's vivit/model_utils.py).

Pure functions from arrays to arrays, under the reference's names; `initialise_model` applies them to a network.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Literal, get_args

import keras
import numpy as np
from scipy import ndimage

from models.checkpoints.readers import Checkpoint
from models.network.vivit import Classifier, ViViTConfig, token_grid, weights_by_name

PositionFit = Literal["tile", "resize", "resize_tile", "interpolate"]
Inflation = Literal["central_frame", "average_frame", "harmonic"]

# Where model 3 takes the parts of an image ViT's block from.
FACTORIZED_PARTS = {
    "LayerNorm_0": "LayerNorm_space",
    "LayerNorm_1": "LayerNorm_mlp",
    "MlpBlock_0": "MlpBlock",
}


@dataclasses.dataclass(frozen=True)
class InitOptions:
    """How weights are fitted.

    Attributes:
      positions: For position embeddings of another length. "tile" repeats them for each frame; "resize" stretches their
        grid to that of a frame, or to a square where the encoder sees all frames at once; "resize_tile" stretches to a
        frame, then repeats; "interpolate" stretches in time as well, and requires `source_grid`.
      source_grid: (frames, rows, columns) of the source's position embeddings; None for one square frame.
      source_classifier: What the source's head reads, "token" where its first position embedding is a class token's.
        None decides by whether it has a class token.
      inflation: Of an image ViT's kernel over the tubelet's t frames: "central_frame" all of it in frame t // 2,
        "average_frame" a t-th in each, "harmonic" by the weights of approximate rank pooling.
      restore_head: Whether the head's weights are taken too; its classes must then be the source's.
      restore_positions: Whether position embeddings are taken.
      restore_embedding: Whether the tubelet embedding is taken.
      spatial_attention: Whether model 3's attention over space is taken from an image ViT's attention.
      temporal_attention: Whether model 3's attention over time is a copy of it too; with `ViViTConfig.temporal_init`
        "zero" and without this, the network starts as the image ViT, frame by frame.

    Raises:
      ValueError: Where a value is not allowed; names the field, the value and what is allowed.
    """

    positions: PositionFit = "tile"
    source_grid: tuple[int, int, int] | None = None
    source_classifier: Classifier | None = None
    inflation: Inflation = "central_frame"
    restore_head: bool = False
    restore_positions: bool = True
    restore_embedding: bool = True
    spatial_attention: bool = True
    temporal_attention: bool = True

    def __post_init__(self):
        for field, choices in {
            "positions": get_args(PositionFit),
            "source_classifier": (None, *get_args(Classifier)),
            "inflation": get_args(Inflation),
        }.items():
            if getattr(self, field) not in choices:
                given, allowed = getattr(self, field), ", ".join(map(str, choices))
                raise ValueError(f"InitOptions.{field}: given {given!r}, allowed is one of {allowed}")
        if self.positions == "interpolate" and self.source_grid is None:
            raise ValueError("InitOptions.source_grid: given None, wanted (frames, rows, columns) with interpolate")


@dataclasses.dataclass(frozen=True)
class InitReport:
    """The outcome for every weight, by name.

    Attributes:
      loaded: Weights of the network that were taken, with how they were fitted ("" for a plain copy).
      initialised: Weights that keep their initial values because of the options or the rules of the model.
      missing: Weights that keep their initial values because the source has nothing for them.
      unexpected: Weights of the source that the network has no place for.
    """

    loaded: Mapping[str, str]
    initialised: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f"loaded {len(self.loaded)}"]
        lines += [f"  {name}: {how}" for name, how in self.loaded.items() if how]
        for outcome in ("initialised", "missing", "unexpected"):
            lines += [f"{outcome} {len(getattr(self, outcome))}", *(f"  {name}" for name in getattr(self, outcome))]
        return "\n".join(lines)


def initialise_model(
    model: keras.Model,
    source: Checkpoint,
    config: ViViTConfig,
    clip_shape: tuple[int, int, int],
    options: InitOptions,
) -> InitReport:
    """Fits `source` to the network that `build_vivit` made of `config` and `clip_shape`, and assigns its weights.

    Raises:
      ValueError: As `initialise`; the network is then as it was.
    """
    weights = weights_by_name(model)
    fresh = {name: weight.numpy() for name, weight in weights.items()}
    fitted, report = initialise(fresh, source, config, clip_shape, options)
    for name in report.loaded:
        weights[name].assign(fitted[name])
    return report


def initialise(
    fresh: Mapping[str, np.ndarray],
    source: Checkpoint,
    config: ViViTConfig,
    clip_shape: tuple[int, int, int],
    options: InitOptions,
) -> tuple[dict[str, np.ndarray], InitReport]:
    """Fits `source` to the weights `fresh` of a network; returns all of its weights, and the outcome for each.

    Raises:
      ValueError: Where a weight cannot be fitted (names it and both shapes), or none of the encoder's fits.
    """
    grid, result = token_grid(config, clip_shape), dict(fresh)
    loaded, unexpected = {}, []
    for name, array in source.parameters.items():
        targets = [target for target in target_names(name, config, options) if target in fresh]
        if not targets:
            unexpected.append(name)
        for target in targets:
            if left_fresh(target, options):
                continue
            fitted, how = _fit(target, array, fresh[target], source, config, grid, options)
            if fitted.shape != fresh[target].shape:
                given = f"{array.shape}{f', {how} as {fitted.shape}' if how else ''}"
                raise ValueError(
                    f"{target}: {source.path} has {name} of shape {given}, the network wants {fresh[target].shape}"
                )
            result[target] = fitted.astype(fresh[target].dtype)
            loaded[target] = how
    if not any("/encoderblock_" in name for name in loaded):
        raise ValueError(
            f"{source.path}: no encoder block fits {config.variant}; it has {', '.join(unexpected[:5])}, ..."
        )
    by_rule = {name for name in fresh if left_fresh(name, options) or not _in_reach(name, source, config, options)}
    initialised = tuple(name for name in fresh if name not in loaded and name in by_rule)
    missing = tuple(name for name in fresh if name not in loaded and name not in by_rule)
    return result, InitReport(loaded, initialised, missing, tuple(unexpected))


def target_names(name: str, config: ViViTConfig, options: InitOptions) -> list[str]:
    """Names, in a network of `config`, of the weights that the source's weight `name` goes to."""
    encoder = "SpatialTransformer" if config.variant == "factorized_encoder" else "Transformer"
    name = re.sub(r"^(Spatial)?Transformer/", f"{encoder}/", name)
    block = re.fullmatch(r"(Transformer/encoderblock_\d+)/(\w+)/(.+)", name)
    if config.variant != "factorized_self_attention" or not block:
        return [name]
    prefix, part, rest = block.groups()
    if part == "MultiHeadDotProductAttention_0":
        taken = {"space": options.spatial_attention, "time": options.temporal_attention}
        return [f"{prefix}/MultiHeadDotProductAttention_{axis}/{rest}" for axis, wanted in taken.items() if wanted]
    return [f"{prefix}/{FACTORIZED_PARTS.get(part, part)}/{rest}"]


def left_fresh(target: str, options: InitOptions) -> bool:
    """Whether the options exclude the network's weight `target`."""
    if target.startswith("output_projection/"):
        return not options.restore_head
    if target.endswith("posembed_input/pos_embedding"):
        return not options.restore_positions
    return target.startswith("embedding/") and not options.restore_embedding


def _in_reach(target: str, source: Checkpoint, config: ViViTConfig, options: InitOptions) -> bool:
    """Whether a source of this type can have something for the network's weight `target`."""
    names = source.parameters
    if target.startswith("TemporalTransformer/"):
        return any(name.startswith("TemporalTransformer/") for name in names)
    if target.startswith("cls"):
        return target in names
    if "/LayerNorm_time/" in target:
        return any("/LayerNorm_time/" in name for name in names)
    if "/MultiHeadDotProductAttention_time/" in target:
        return options.temporal_attention
    if "/MultiHeadDotProductAttention_space/" in target:
        return options.spatial_attention
    return True


def _fit(target, array, fresh, source, config, grid, options) -> tuple[np.ndarray, str]:
    """The source's `array` fitted to the network's weight, and how."""
    if array.shape == fresh.shape:
        return array, ""
    if target == "embedding/kernel" and array.shape == fresh.shape[1:]:
        return inflate(array, fresh.shape[0], options.inflation), f"inflated by {options.inflation}"
    if target.endswith("posembed_input/pos_embedding") and array.shape[-1] == fresh.shape[-1]:
        return _fit_positions(target, array, fresh, source, config, grid, options)
    return array, ""


def inflate(kernel: np.ndarray, frames: int, how: Inflation) -> np.ndarray:
    """Spreads an image ViT's kernel [h, w, C, D] over `frames` frames: [t, h, w, C, D] (paper section 3.4)."""
    if how == "central_frame":
        weights = (np.arange(frames) == frames // 2).astype(kernel.dtype)
        return weights[:, None, None, None, None] * kernel
    if how == "average_frame":
        return np.repeat(kernel[None], frames, axis=0) / frames
    # Approximate rank pooling (Bilen et al., TPAMI 2017, equation 3).
    frame = np.arange(1, frames + 1)
    harmonic = np.concatenate([[0.0], np.cumsum(1.0 / frame)])
    weights = 2 * (frames - frame + 1) - (frames + 1) * (harmonic[-1] - harmonic[:-1])
    return (weights / frames)[:, None, None, None, None] * kernel


def _fit_positions(target, array, fresh, source, config, grid, options):
    """Position embeddings [1, N, D] of another length: class token apart, the rest by `options.positions`."""
    classifier = options.source_classifier or ("token" if source.has_class_token else "gap")
    table = array[0, 1:] if classifier == "token" else array[0]
    token = config.classifier == "token"
    length = fresh.shape[1] - token
    if len(table) == length:
        fitted, how = table, "copied but for the class token"
    elif target.startswith("TemporalTransformer/"):
        fitted, how = zoom(table, (len(table),), (length,)), f"interpolated in time from {len(table)} to {length}"
    else:
        frames = 1 if config.variant == "factorized_encoder" else grid[0]
        fitted, how = _stretch(table, (frames, *grid[1:]), options)
    first = (array[:, :1] if classifier == "token" else fresh[:, :1])[:, :token]
    return np.concatenate([first, fitted[None]], axis=1), how


def _stretch(table, grid, options):
    """Position embeddings [N, D] fitted to (frames, rows, columns), and how."""
    frames, rows, columns = grid
    if options.positions == "interpolate":
        source = grid[:1] + options.source_grid[1:] if frames == 1 else options.source_grid
        return zoom(table, source, grid), f"interpolated from {source} to {grid}"
    if options.positions == "resize":
        side = int(np.sqrt(frames * rows * columns))
        target = (rows, columns) if frames == 1 else (side, side)
        if target[0] * target[1] != frames * rows * columns:
            raise ValueError(
                f"positions: resize of {len(table)} wants a square number of tokens, the network has {grid}"
            )
        return zoom(table, _frame_grid(table, options), target), f"resized to {target}"
    how = "tiled"
    if options.positions == "resize_tile":
        table, how = (
            zoom(table, _frame_grid(table, options), (rows, columns)),
            f"resized to {(rows, columns)}, tiled",
        )
    repeats = frames * rows * columns // len(table)
    return np.tile(table, (repeats, 1)), f"{how} {repeats} times"


def _frame_grid(table, options) -> tuple[int, int]:
    """(rows, columns) of the source's position embeddings of one frame."""
    if options.source_grid is not None:
        return options.source_grid[1:]
    side = int(np.sqrt(len(table)))
    if side * side != len(table):
        raise ValueError(f"source_grid: {len(table)} position embeddings are not one square frame; give their grid")
    return side, side


def zoom(table: np.ndarray, source: tuple[int, ...], target: tuple[int, ...]) -> np.ndarray:
    """Linear interpolation of a table [prod(source), D] to [prod(target), D], corners on corners.

    Raises:
      ValueError: Where the table has another length.
    """
    if math.prod(source) != len(table):
        raise ValueError(f"source_grid: given {source}, the source has {len(table)} position embeddings")
    factors = [wanted / given for wanted, given in zip(target, source, strict=True)]
    zoomed = ndimage.zoom(table.reshape(*source, -1), (*factors, 1), order=1)
    return zoomed.reshape(-1, table.shape[-1])
