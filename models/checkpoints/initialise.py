"""Fits the weights of an image ViT, or of another ViViT, to a ViViT (paper section 3.4, scenic's vivit/model_utils.py).

Pure functions from arrays to arrays, under the reference's names; `initialise_model` applies them to a network.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import math
import re
from collections.abc import Mapping
from typing import Literal, get_args

import keras
import numpy as np
from scipy import ndimage

from models.checkpoints.normalisation import HALF, NORMALISATIONS, fold_normalisation
from models.checkpoints.readers import Checkpoint
from models.checkpoints.resizing import resize_bicubic, resize_bilinear
from models.network.vivit import ATTENTIVE, Classifier, ViViTConfig, token_grid, weights_by_name

PositionFit = Literal["auto", "tile", "resize", "resize_tile", "bicubic", "bilinear", "interpolate"]
Inflation = Literal["central_frame", "average_frame", "harmonic"]
PixelNormalisation = Literal["auto", "half", "imagenet"]

# Layouts of the reference, which leaves model 2's class tokens fresh (its init_from).
REFERENCE_LAYOUTS = ("scenic", "npz")
# How the position embeddings of frames are fitted to frames of another grid.
FITS: dict[str, PositionFit] = {**dict.fromkeys(REFERENCE_LAYOUTS, "resize_tile"), "videoprism": "bilinear"}
HEADS = ("output_projection/", "pre_logits/", f"{ATTENTIVE}/")
# What stands between encoder and head, and comes and goes with the head.
BEFORE_HEAD = ("fc_norm/", "pooler/")
# What decides a network's function beyond the shapes of its weights.
FUNCTION = ("gelu", "layer_norm_epsilon", "position_embedding", "fc_norm", "attention_logit_cap")

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
      positions: For position embeddings of another length. "auto" is "tile" for those of a video or of the grid of the
        network's frames, else "bilinear" for VideoPrism's, "bicubic" for an image ViT of PyTorch's, "resize_tile" for
        one of the reference's. "tile" repeats them for each frame; "resize" stretches their grid to that of a frame, or
        to a square where the encoder sees all frames at once; "resize_tile" stretches to a frame, then repeats;
        "bicubic" does so as PyTorch's networks do at other image sizes, "bilinear" as VideoPrism, in time too, see
        `models.checkpoints.resizing`; "interpolate" stretches in time as well, and requires `source_grid`. Stretched
        linearly to 8 x 8, the 37 x 37 of DINOv2's ViT-S/14 give features whose cosine to PyTorch's is 0.994 to 0.9997.
      source_grid: (frames, rows, columns) of the source's position embeddings; None for one square frame.
      source_classifier: What the source's head reads, "token" where its first position embedding is a class token's.
        None decides by whether it has a class token.
      inflation: Of an image ViT's kernel over the tubelet's t frames: "central_frame" all of it in frame t // 2,
        "average_frame" a t-th in each, "harmonic" by the weights of approximate rank pooling.
      normalisation: Of the pixels that the source was trained with, which is folded into the tubelet embedding: "half"
        is ours, (p - 0.5) / 0.5, "imagenet" by ImageNet's mean and standard deviation; "auto" is what the kind of
        checkpoint or a file beside it says.
      allow_missing: Patterns, as of file names, of weights that may keep their initial values where the source has
        nothing for them; a head's always may, and with all of it what stands before it, ``fc_norm`` or ``pooler``.
      restore_head: Whether the head's weights are taken too; its classes must then be the source's.
      restore_positions: Whether position embeddings are taken.
      restore_embedding: Whether the tubelet embedding is taken.
      spatial_attention: Whether model 3's attention over space is taken from an image ViT's attention.
      temporal_attention: Whether model 3's attention over time is a copy of it too; with `ViViTConfig.temporal_init`
        "zero" and without this, the network starts as the image ViT, frame by frame.

    Raises:
      ValueError: Where a value is not allowed; names the field, the value and what is allowed.
    """

    positions: PositionFit = "auto"
    source_grid: tuple[int, int, int] | None = None
    source_classifier: Classifier | None = None
    inflation: Inflation = "central_frame"
    normalisation: PixelNormalisation = "auto"
    allow_missing: tuple[str, ...] = ()
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
            "normalisation": get_args(PixelNormalisation),
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
      differing: What the network usually of such weights does otherwise.
    """

    loaded: Mapping[str, str]
    initialised: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    differing: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [f"loaded {len(self.loaded)}"]
        lines += [f"  {name}: {how}" for name, how in self.loaded.items() if how]
        for outcome in ("initialised", "missing", "unexpected", "differing"):
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
      ValueError: Where a weight cannot be fitted (names it and both shapes), none of the encoder's fits, the source has
        nothing for a weight (see `InitOptions.allow_missing`), its settings contradict the network's, or nothing says
        how its pixels were normalised.
    """
    differing = _differing(source, config)
    source, folded = _with_our_pixels(source, config, options)
    grid, result = token_grid(config, clip_shape), dict(fresh)
    loaded, unexpected = {}, []
    for name, array in source.parameters.items():
        targets = [target for target in target_names(name, source, config, options) if target in fresh]
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
            loaded[target] = ", ".join(filter(None, (how, folded if target.startswith("embedding/") else "")))
    if not any("/encoderblock_" in name for name in loaded):
        raise ValueError(
            f"{source.path}: no encoder block fits {config.variant}; it has {', '.join(unexpected[:5])}, ..."
        )
    by_rule = {name for name in fresh if left_fresh(name, options) or not _in_reach(name, source, config, options)}
    initialised = tuple(name for name in fresh if name not in loaded and name in by_rule)
    missing = tuple(name for name in fresh if name not in loaded and name not in by_rule)
    _require_no_more_missing(missing, source, options)
    return result, InitReport(loaded, initialised, missing, tuple(unexpected), differing)


def _require_no_more_missing(missing: tuple[str, ...], source: Checkpoint, options: InitOptions) -> None:
    headless = not any(name.startswith((*HEADS, *BEFORE_HEAD)) for name in source.parameters)
    allowed = (*options.allow_missing, *(f"{head}*" for head in (*HEADS, *BEFORE_HEAD * headless)))
    refused = [name for name in missing if not any(fnmatch.fnmatchcase(name, pattern) for pattern in allowed)]
    if refused:
        raise ValueError(
            f"{source.path}: it has nothing for {len(refused)} weights of the network: {', '.join(refused[:5])}"
            f"{', ...' if len(refused) > 5 else ''}. Fit the network to it, or name them in init.allow_missing"
        )


def _differing(source: Checkpoint, config: ViViTConfig) -> tuple[str, ...]:
    """Where the network computes another function than is usual for the source's kind.

    Raises:
      ValueError: Where the source states it.
    """
    origin, differing = source.origin, []
    known = {"gelu": origin.gelu, "layer_norm_epsilon": origin.layer_norm_epsilon, **origin.network}
    for field in (field for field in FUNCTION if field in known):
        theirs, ours = known[field], getattr(config, field)
        if theirs != ours and field in origin.stated:
            raise ValueError(
                f"{source.path}: its config.json says {field} {theirs}, the network has {ours}: set model.{field}"
            )
        if theirs != ours:
            differing.append(f"{field}: {theirs} is usual for these weights, the network has {ours}")
    return tuple(differing)


def _with_our_pixels(source: Checkpoint, config: ViViTConfig, options: InitOptions) -> tuple[Checkpoint, str]:
    """The source with a tubelet embedding for pixels in [-1, 1], and how it was changed."""
    if not options.restore_embedding or "embedding/kernel" not in source.parameters:
        return source, ""
    normalisation = NORMALISATIONS.get(options.normalisation, source.origin.normalisation)
    if normalisation is None:
        raise ValueError(
            f"{source.path}: nothing says how its images were normalised: set init.normalisation to imagenet "
            "(DINO, DeiT, most of timm) or half (Google's ViT), or put its preprocessor_config.json beside it"
        )
    if normalisation == HALF:
        return source, ""
    inflated = source.is_image and config.sampled_frames is None
    constant = not (inflated and options.inflation == "harmonic")
    try:
        parameters = fold_normalisation(source.parameters, normalisation, constant=constant)
    except ValueError as error:
        raise ValueError(f"{source.path}: {error}") from error
    return dataclasses.replace(source, parameters=parameters), f"normalisation by {normalisation.mean} folded in"


def target_names(name: str, source: Checkpoint, config: ViViTConfig, options: InitOptions) -> list[str]:
    """Names, in a network of `config`, of the weights that the source's weight `name` goes to."""
    encoder = "SpatialTransformer" if config.variant == "factorized_encoder" else "Transformer"
    if name == "cls" and source.layout not in REFERENCE_LAYOUTS:
        return ["cls", f"cls_{encoder}"]
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
        return any(target in target_names(name, source, config, options) for name in names)
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
    is_table = array.ndim == 3 and array.shape[1] > 1 and array.shape[::2] == fresh.shape[::2]
    if target.endswith("posembed_input/pos_embedding") and is_table:
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
    token = config.class_token
    length = fresh.shape[1] - token
    if len(table) == length:
        fitted, how = table, "copied but for the class token"
    elif target.startswith("TemporalTransformer/"):
        how = f"interpolated in time from {len(table)} to {length}"
        bilinear = options.positions == "bilinear" or options.positions == "auto" and source.layout == "videoprism"
        if bilinear:
            fitted = resize_bilinear(table, (len(table), 1), (length, 1))
        else:
            fitted = zoom(table, (len(table),), (length,))
    else:
        frames = 1 if config.variant == "factorized_encoder" else grid[0]
        fitted, how = _stretch(table, (frames, *grid[1:]), source, options)
    first = (array[:, :1] if classifier == "token" else fresh[:, :1])[:, :token]
    return np.concatenate([first, fitted[None]], axis=1), how


def _stretch(table, grid, source, options):
    """Position embeddings [N, D] fitted to (frames, rows, columns), and how."""
    frames, rows, columns = grid
    fit = options.positions
    of_frames = source.is_image or source.layout == "videoprism"
    if fit == "auto" and of_frames and _frame_grid(table, options) != (rows, columns):
        fit = FITS.get(source.layout, "bicubic")
    if fit == "interpolate":
        given = grid[:1] + options.source_grid[1:] if frames == 1 else options.source_grid
        return zoom(table, given, grid), f"interpolated from {given} to {grid}"
    if fit == "resize":
        side = int(np.sqrt(frames * rows * columns))
        target = (rows, columns) if frames == 1 else (side, side)
        if target[0] * target[1] != frames * rows * columns:
            raise ValueError(
                f"positions: resize of {len(table)} wants a square number of tokens, the network has {grid}"
            )
        return zoom(table, _frame_grid(table, options), target), f"resized to {target}"
    how = "tiled"
    if fit == "resize_tile":
        table, how = (
            zoom(table, _frame_grid(table, options), (rows, columns)),
            f"resized to {(rows, columns)}, tiled",
        )
    if fit == "bilinear":
        table = resize_bilinear(table, _frame_grid(table, options), (rows, columns))
        how = f"resized bilinearly to {(rows, columns)}, tiled"
    if fit == "bicubic":
        # timm, and DINOv2 with registers, widen the filter where the grid shrinks.
        antialias = source.layout == "timm" or "Transformer/registers" in source.parameters
        table = resize_bicubic(table, _frame_grid(table, options), (rows, columns), antialias=antialias)
        how = f"resized bicubically to {(rows, columns)}, tiled"
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
