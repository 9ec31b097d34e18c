"""Compares the network, the checkpoint readers and the initialisation with numbers made by the reference.

A golden folder has a subfolder per kind, and in it one per case with the reference's inputs and outputs.
`check_folder` runs every case that it finds. A kind is a function from a case's folder to its comparisons: `KINDS` has
those of the network. A case of an unknown kind is reported as not run, which counts as failure.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import keras
import numpy as np

from benchmarks.parity.comparison import Comparison, compare, golden_cases
from models.checkpoints.initialise import InitOptions, initialise
from models.checkpoints.readers import Checkpoint, read_checkpoint
from models.network.vivit import ViViTConfig, build_vivit, sampled_frames, weights_by_name

FORWARD_TOLERANCE = 2e-5
INTERPOLATION_TOLERANCE = 1e-6

VARIANTS = {
    "spacetime": "spacetime",
    "factorized_encoder": "factorized_encoder",
    "factorized_self_attention_block": "factorized_self_attention",
    "factorized_dot_product_attention": "factorized_dot_product",
}
TUBELET_INITS = {"central_frame_initializer": "central_column", "average_frame_initializer": "average_frame"}
INFLATIONS = {
    "central_frame_initializer": "central_frame",
    "average_frame_initializer": "average_frame",
    "average_arp_frame_initializer": "harmonic",
}


@dataclasses.dataclass(frozen=True)
class Row:
    """One comparison with the reference, for the report.

    Attributes:
      kind, case: Where the numbers are: ``<kind>/<case>``.
      compared: What was compared.
      error: Largest absolute difference; None where the case was not run.
      tolerance: Largest difference allowed.
      reason: Why it was not run.
    """

    kind: str
    case: str
    compared: str
    error: float | None
    tolerance: float
    reason: str = ""

    @property
    def verdict(self) -> str:
        """ "pass", "fail" or "not run"."""
        if self.error is None:
            return "not run"
        return "pass" if self.error <= self.tolerance else "fail"


def check_folder(folder: str | Path, kinds: Mapping[str, Callable[[Path], Iterable[Comparison]]]) -> Iterator[Row]:
    """Runs every case of a golden folder, kind by kind.

    Args:
      folder: With cases as ``<kind>/<case>/``, or ``<kind>/<case>.npz``.
      kinds: The check of each kind; `KINDS`, or more.

    Raises:
      FileNotFoundError: Where the folder holds no case.
    """
    folders = sorted(path for path in Path(folder).iterdir() if path.is_dir() and path.name not in NOT_KINDS)
    cases = [case for kind in folders for case in golden_cases(kind) if case.name not in NOT_CASES]
    if not cases:
        raise FileNotFoundError(f"{folder}: no case in <kind>/<case>/")
    for case in cases:
        kind = case.parent.name
        if kind not in kinds:
            yield Row(kind, case.name, "", None, 0.0, f"unknown kind {kind}")
            continue
        try:
            for one in kinds[kind](case):
                yield Row(kind, one.name, one.compared, one.max_abs_error, one.tolerance)
        except (KeyError, OSError, TypeError, ValueError) as error:
            yield Row(kind, case.name, "", None, 0.0, f"{type(error).__name__}: {error}")


def reference_network(sizes: Mapping) -> tuple[ViViTConfig, tuple[int, int, int], dict[str, int]]:
    """Config, clip shape and heads of a network that the reference calls by its own names.

    Raises:
      KeyError, ValueError: Where a name or value is unknown or not allowed.
    """
    height, width, *time = sizes["patches_size"]
    sampling = sizes["temporal_encoding"] == "temporal_sampling"
    variant = VARIANTS[sizes["attention_type"]]
    config = ViViTConfig(
        variant=variant,
        tubelet=(*(time or [1]), height, width),
        hidden_size=sizes["hidden_size"],
        num_layers=sizes["num_layers"],
        temporal_layers=0 if sizes.get("spatial_only_baseline") else sizes["temporal_num_layers"] or 0,
        num_heads=sizes["num_heads"],
        mlp_dim=sizes["mlp_dim"],
        temporal_num_heads=sizes["temporal_num_heads"] if variant == "factorized_encoder" else None,
        temporal_mlp_dim=sizes["temporal_mlp_dim"] if variant == "factorized_encoder" else None,
        classifier=sizes["classifier"],
        representation_size=sizes["representation_size"],
        # The reference's model 3 ignores the rate.
        stochastic_depth=0 if variant == "factorized_self_attention" else sizes["stochastic_droplayer_rate"],
        sampled_frames=sizes["n_sampled_frames"] if sampling else None,
        tubelet_init=TUBELET_INITS.get(sizes["kernel_init_method"], "lecun_normal"),
        attention_order=sizes["attention_order"],
    )
    if sizes["class_splits"]:
        heads = dict(zip(sizes["split_names"], sizes["class_splits"], strict=True))
    else:
        heads = {"label": sizes["num_classes"]}
    return config, (sizes["num_frames"], sizes["height"], sizes["width"]), heads


def normalised(clip: np.ndarray) -> np.ndarray:
    """The network's input of a golden uint8 clip: float32 in [-1, 1]."""
    return clip.astype(np.float32) * np.float32(2 / 255) - np.float32(1)


def run_network(
    sizes: Mapping, parameters: Mapping[str, np.ndarray], clip: np.ndarray, outputs: Sequence[str] = ("logits",)
) -> dict[str, np.ndarray]:
    """Outputs, of "logits" [B, K], "prelogits" [B, D] and "encoder_output" [B, N, D], of a network of the reference."""
    config, clip_shape, heads = reference_network(sizes)
    model = build_vivit(config, clip_shape=clip_shape, heads=heads, all_tokens="encoder_output" in outputs)
    assign(model, parameters)
    tensors = {"logits": model.get_layer("output_projection").output}
    tensors["prelogits"] = model.get_layer("output_projection").input
    if "encoder_output" in outputs:
        tensors["encoder_output"] = model.get_layer("Transformer").output
    probe = keras.Model(model.input, {name: tensors[name] for name in outputs})
    return {name: value.numpy() for name, value in probe(normalised(clip), training=False).items()}


def assign(model: keras.Model, parameters: Mapping[str, np.ndarray]):
    """Sets all weights of a network.

    Raises:
      ValueError: Where names or shapes differ; names them.
    """
    weights = weights_by_name(model)
    if different := sorted(set(weights) ^ set(parameters)):
        raise ValueError(f"weights that only one side has: {', '.join(different)}")
    for name, weight in weights.items():
        if tuple(weight.shape) != parameters[name].shape:
            raise ValueError(f"{name}: given {parameters[name].shape}, the network wants {tuple(weight.shape)}")
        weight.assign(parameters[name])


def check_model(case: Path) -> Iterator[Comparison]:
    """A forward pass with the reference's weights, from the arrays and from each checkpoint file of the case."""
    sizes = json.loads((case / "config.json").read_text())
    golden = dict(np.load(case / "io.npz"))
    parameters = dict(np.load(case / "params.npz"))
    outputs = [name for name in ("logits", "prelogits", "encoder_output") if name in golden]
    ours = run_network(sizes, parameters, golden["input_uint8"], outputs)
    for name in outputs:
        yield compare(case.name, name, ours[name], golden[name], FORWARD_TOLERANCE)
    if "sampled_frame_indices" in golden:
        frames = sampled_frames(sizes["num_frames"], sizes["n_sampled_frames"])
        yield compare(case.name, "sampled_frame_indices", frames, golden["sampled_frame_indices"])
    for path in sorted(case.glob("checkpoint*")):
        read = read_checkpoint(path).parameters
        yield _compare_weights(case.name, f"{path.name}: weights", read, parameters)
        ours = run_network(sizes, read, golden["input_uint8"])
        yield compare(case.name, f"{path.name}: logits", ours["logits"], golden["logits"], FORWARD_TOLERANCE)


def _compare_weights(name, compared, ours, reference, tolerance=0.0) -> Comparison:
    """The largest difference over weights by name; infinite where the names differ."""
    if set(ours) != set(reference):
        return Comparison(name, compared, float("inf"), tolerance)
    errors = [compare(name, compared, ours[weight], reference[weight]).max_abs_error for weight in reference]
    return Comparison(name, compared, max(errors), tolerance)


def check_init_from_vit(case: Path) -> Iterator[Comparison]:
    """Initialisation of a network from another, and its forward pass."""
    meta = json.loads((case / "meta.json").read_text())
    before, after = dict(np.load(case / "params_before.npz")), dict(np.load(case / "params_after.npz"))
    golden = dict(np.load(case / "io.npz"))
    config, clip_shape, _ = reference_network(meta["target"])
    extra = meta["init_from_extra"]
    options = InitOptions(
        positions=meta["positional_embed_size_change"],
        source_classifier=meta["source_classifier"],
        inflation=INFLATIONS.get(meta["target"]["kernel_init_method"], "central_frame"),
        restore_head=meta["restore_output_proj"],
        restore_positions=extra.get("restore_positional_embedding", True),
        restore_embedding=extra.get("restore_input_embedding", True),
        spatial_attention=extra.get("init_spatial_transformer", True),
        temporal_attention=extra.get("init_temporal_transformer", True),
    )
    source = read_source(case.parent / meta["source"])
    fitted, report = initialise(before, source, config, clip_shape, options)
    interpolated = {name for name, how in report.loaded.items() if "interpolated" in how or "resized" in how}
    for compared, names, tolerance in (
        ("copied weights", set(after) - interpolated, 0.0),
        ("interpolated weights", interpolated, INTERPOLATION_TOLERANCE),
    ):
        if names:
            ours, reference = ({name: weights[name] for name in names} for weights in (fitted, after))
            yield _compare_weights(case.name, compared, ours, reference, tolerance)
    ours = run_network(meta["target"], fitted, golden["input_uint8"])
    yield compare(case.name, "logits", ours["logits"], golden["logits_after"], FORWARD_TOLERANCE)


def read_source(path: Path) -> Checkpoint:
    """The checkpoint that a case starts from: a file, or a folder with one."""
    if path.is_dir():
        path = next(iter([*sorted(path.glob("checkpoint*")), path / "params.npz"]))
    return read_checkpoint(path)


NOT_KINDS = ("param_shapes",)
NOT_CASES = ("sources",)
KINDS: Mapping[str, Callable[[Path], Iterable[Comparison]]] = {
    "models": check_model,
    "init_from_vit": check_init_from_vit,
}
