"""Parity with the reference's training: losses, mixup, learning rates, metrics, and whole steps of a small network."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from benchmarks.parity.comparison import Comparison, compare
from benchmarks.parity.networks import assign, reference_network
from models.clips import images, mixup
from models.network.vivit import build_vivit, weights_by_name
from models.training import losses, scores
from models.training.optimizers import CompoundSchedule, Momentum, clip_by_global_norm

LOGITS, LOSS, GRADIENT, WEIGHTS = 2e-5, 1e-5, 1e-4, 1e-4
_GRADIENT_FLOOR = 1e-6


def check_train_case(case: Path) -> list[Comparison]:
    """Runs one case of a golden folder's ``train``.

    Args:
      case: As `benchmarks.parity.comparison.golden_cases` lists it.

    Raises:
      ValueError: the case is none of those known.
    """
    if case.name in _CHECKS:
        return list(_CHECKS[case.name](case))
    if (case / "meta.json").exists():
        return list(_steps(case))
    raise ValueError(f"Unknown train case {case}; known are {', '.join(_CHECKS)} and folders with a meta.json.")


def _network(sizes: Mapping, weights: Mapping[str, np.ndarray]) -> keras.Model:
    """The network that the reference's config describes, with the reference's weights."""
    config, clip_shape, heads = reference_network(sizes)
    network = build_vivit(config, clip_shape=clip_shape, heads=heads)
    assign(network, weights)
    return network


def _lr_schedules(case: Path) -> Iterator[Comparison]:
    for name, row in json.loads(case.with_suffix(".json").read_text()).items():
        schedule = CompoundSchedule(row["base"], row["warmup_steps"], row["total_steps"])
        rates = [float(schedule(tf.constant(step))) for step in row["steps"]]
        yield compare(f"{case.name}/{name}", "learning rate", rates, row["lr"], 1e-6 * row["base"])


def _losses(case: Path) -> Iterator[Comparison]:
    golden = np.load(case.with_suffix(".npz"))
    logits, mask = golden["logits"], golden["mask"]
    for key in (key for key in golden if key.startswith("ce_")):
        _, targets, smoothing, *masked = key.split("_")
        smoothing = smoothing.removeprefix("ls")
        loss = losses.softmax_cross_entropy(
            logits,
            golden[targets],
            label_smoothing=0.0 if smoothing == "None" else float(smoothing),
            mask=mask if masked else None,
        )
        yield compare(case.name, key, loss, golden[key], LOSS * abs(golden[key]))
    labels = golden["onehot"].argmax(-1)
    for k in (1, 5):
        correct = scores.correct(logits, labels, k)
        yield compare(case.name, f"top-{k}", correct, golden[f"top{k}_nomask"].ravel())
        yield compare(case.name, f"top-{k} masked", correct * mask, golden[f"top{k}"].ravel())


def _mixup(case: Path) -> Iterator[Comparison]:
    golden = np.load(case.with_suffix(".npz"))
    weight = tf.constant(golden["weight"])
    yield compare(case.name, "clips", mixup.mix(golden["inputs"], weight), golden["mixed_inputs"], 1e-6)
    yield compare(case.name, "labels", mixup.mix(golden["label"], weight), golden["mixed_label"], 1e-6)


def _epic_metrics(case: Path) -> Iterator[Comparison]:
    meta, golden = json.loads(case.with_suffix(".json").read_text()), np.load(case.with_name(f"{case.name}_io.npz"))
    heads = dict(zip(meta["split_names"], meta["class_splits"], strict=True))
    logits, targets = _split(golden["logits"], heads), _split(golden["label"], heads)
    mask = golden["mask"]
    yield from _compare_metrics(case.name, scores.metrics(logits, targets, mask), meta["metrics_sum_and_norm"])
    labels = {head: target.numpy().argmax(-1) for head, target in targets.items()}
    joint, pairs = scores.joint_scores(logits), scores.joint_labels(labels, heads)
    for k in (1, 5):
        correct = scores.correct(joint, pairs, k) * mask
        yield compare(case.name, f"joint top-{k}", correct, golden[f"joint_top{k}"].ravel())
    expected = meta["loss_label_smoothing_0_2"]
    yield compare(case.name, "loss", _loss(logits, targets, mask, 0.2), expected, LOSS * expected)


def _multiview(case: Path) -> Iterator[Comparison]:
    model, golden = json.loads((case / "config.json").read_text())["model"], np.load(case / "io.npz")
    network = _network(model, np.load(case / "params.npz"))
    views = network(images.normalise(golden["input_uint8"]))["label"]
    yield compare(case.name, "logits of each view", views, golden["per_view_logits"], LOGITS)
    yield compare(case.name, "mean of logits", tf.reduce_mean(views, 0)[tf.newaxis], golden["avg_logits"], LOGITS)


def _steps(case: Path) -> Iterator[Comparison]:
    """Loss, gradients and metrics of the first steps, and the weights and momenta after them."""
    meta = json.loads((case / "meta.json").read_text())
    settings, batch = meta["config"], np.load(case / "batch.npz")
    _, _, heads = reference_network(meta["model"])
    network = _network(meta["model"], np.load(case / "params_0.npz"))
    weights = weights_by_name(network)
    schedule = settings["lr_configs"]
    rate = CompoundSchedule(schedule["base_learning_rate"], schedule["warmup_steps"], schedule["steps_per_cycle"])
    optimizer = Momentum(rate, kernel_decay=settings["explicit_weight_decay"] or 0.0)
    optimizer.build(network.trainable_variables)
    optimizer.iterations.assign(meta["start_step"])
    clip, targets, mask = images.normalise(batch["input_uint8"]), _split(batch["label"], heads), batch["batch_mask"]
    for step, logged in enumerate(meta["log"]):
        with tf.GradientTape() as tape:
            logits = network(clip, training=True)
            loss = _loss(logits, targets, mask, settings["label_smoothing"] or 0.0)
            loss += settings["l2_decay_factor"] * losses.l2_penalty(network.trainable_variables)
        gradients = tape.gradient(loss, network.trainable_variables)
        clipped, norm = clip_by_global_norm(gradients, settings["max_grad_norm"])
        if step == 0:
            yield compare(case.name, "loss", loss, meta["loss_0"], LOSS * meta["loss_0"])
            expected = meta["grad_global_norm_0"]
            yield compare(case.name, "gradient norm", norm, expected, GRADIENT * expected)
            by_name = dict(zip(weights, gradients, strict=True))
            yield _compare_gradients(case.name, by_name, np.load(case / "grads_0.npz"))
        yield compare(case.name, f"learning rate at step {logged['step']}", optimizer.learning_rate, logged["lr"], 1e-7)
        at_step = f"{case.name} at step {logged['step']}"
        yield from _compare_metrics(at_step, scores.metrics(logits, targets, mask), logged["metrics"])
        optimizer.apply(clipped, network.trainable_variables)
    momenta = dict(zip(weights, optimizer.momentums, strict=True))
    for quantity, values in (("params", weights), ("momentum", momenta)):
        golden = np.load(case / f"{quantity}_{meta['steps']}.npz")
        errors = [compare(case.name, name, values[name], golden[name]).max_abs_error for name in golden]
        yield Comparison(case.name, f"{quantity} after {meta['steps']} steps", max(errors), WEIGHTS)


def _loss(logits, targets, mask, label_smoothing) -> tf.Tensor:
    return losses.mean_over_heads(
        {
            head: losses.softmax_cross_entropy(logits[head], targets[head], label_smoothing=label_smoothing, mask=mask)
            for head in logits
        }
    )


def _split(rows: np.ndarray, heads: Mapping[str, int]) -> dict[str, tf.Tensor]:
    return dict(zip(heads, tf.split(rows, list(heads.values()), axis=-1), strict=True))


def _compare_metrics(name: str, metrics: Mapping, expected: Mapping) -> Iterator[Comparison]:
    for metric, (total, count) in expected.items():
        # Losses of later steps inherit the tolerance of the weights.
        tolerance = WEIGHTS * total if metric.endswith("loss") else 0.0
        yield compare(name, metric, metrics[metric], [total, count], tolerance)


def _compare_gradients(name: str, gradients: Mapping, golden: Mapping) -> Comparison:
    """The tensor with the largest difference, relative to its largest value."""
    errors = []
    for key in golden:
        error = compare(name, key, gradients[key], golden[key]).max_abs_error
        errors.append(max(error - _GRADIENT_FLOOR, 0.0) / np.abs(golden[key]).max(initial=_GRADIENT_FLOOR))
    return Comparison(name, "gradients, relative to each tensor's largest", max(errors), GRADIENT)


_CHECKS: dict[str, Callable[[Path], Iterator[Comparison]]] = {
    "lr_schedules": _lr_schedules,
    "losses": _losses,
    "mixup": _mixup,
    "epic_metrics": _epic_metrics,
    "multiview": _multiview,
}
