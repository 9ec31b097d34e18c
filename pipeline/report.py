"""Summarises a run: clips, classes, accuracy with its views, blessing and reasons, where the model was pushed."""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Mapping

import tensorflow_model_analysis as tfma
from ml_metadata.proto import metadata_store_pb2

from components.gates.model_canary import DETAIL_PROPERTY
from components.ingest.config import IngestConfig
from components.ingest.example_gen import QUARANTINE_KEY
from components.ingest.quarantine import read_quarantine, read_summary
from components.manifest.reader import Manifest
from models.evaluation.tfma_config import LOSS, TOP_1, TOP_5, joint_name
from pipeline.console import typed_command, typed_path
from pipeline.local import NodeResult
from pipeline.recipe import Recipe
from schemas import serving

_MANY = 12


def summary(recipe: Recipe, manifest: Manifest, results: Mapping[str, NodeResult]) -> str:
    """The lines printed after a run."""
    cached = sum(result.cached for result in results.values())
    seconds = sum(result.seconds for result in results.values())
    return "\n".join(
        [
            "",
            "Summary",
            *_data_lines(manifest, recipe.ingest, results["VideoExampleGen"]),
            *_accuracy_lines(recipe, manifest, results["Evaluator"]),
            *_gate_lines(results),
            f"  steps     {len(results) - cached} ran, {cached} unchanged from cache, {seconds:.0f} s in all",
            "",
            *_try_lines(manifest, results["Pusher"]),
        ]
    )


def _data_lines(manifest: Manifest, ingest: IngestConfig, example_gen: NodeResult) -> list[str]:
    quarantine = example_gen.outputs[QUARANTINE_KEY][0].uri
    lost, counts = read_quarantine(quarantine), read_summary(quarantine)
    splits = ", ".join(f"{len(manifest.split(s))} {s}" for s in ("train", "eval", "test") if manifest.split(s))
    lines = [
        f"  clips     {len(manifest.clips)} in ({splits}), {len(manifest.clips) - len(lost)} out, {len(lost)} dropped"
    ]
    lines += [f"            dropped: {row['path']}: {row['reason']}" for row in lost[:_MANY]]
    if len(lost) > _MANY:
        lines += [f"            {count} of them {reason}" for reason, count in list(counts["reasons"].items())[:_MANY]]
    if lost:
        lines.append(f"            all of them: {quarantine}")
    if short := sum(counts["short"].values()):
        policy = f"ingest.short_clips={ingest.short_clips}"
        lines.append(f"            {short} have fewer than {ingest.min_frames} frames: {policy}")
    if manifest.ignored:
        shown = ", ".join(manifest.ignored[:_MANY])
        lines.append(f"            {len(manifest.ignored)} file(s) and folder(s) were left alone: {shown}")
    if manifest.moved_to_train:
        moved = len(manifest.moved_to_train)
        lines.append(f"            {moved} group(s) drawn for eval went to train: their class has no other")
    for head in manifest.heads:
        names = manifest.classes(head)
        shown = ", ".join(names[:_MANY]) + (", …" if len(names) > _MANY else "")
        lines.append(f"  classes   {head}: {len(names)} ({shown})")
    return lines


def overall_metrics(evaluation: metadata_store_pb2.Artifact) -> dict[str, dict[str, float]]:
    """Metrics over all clips: output name -> metric -> value."""
    result = tfma.load_eval_result(evaluation.uri)
    ((_, outputs),) = [(key, value) for key, value in result.slicing_metrics if key == ()]
    return {
        output: {name: value["doubleValue"] for name, value in by_key[""].items() if "doubleValue" in value}
        for output, by_key in outputs.items()
    }


def _accuracy_lines(recipe: Recipe, manifest: Manifest, evaluator: NodeResult) -> list[str]:
    metrics = overall_metrics(evaluator.outputs["evaluation"][0])
    num_classes = {head: len(manifest.classes(head)) for head in manifest.heads}
    if len(manifest.heads) > 1:
        num_classes[joint_name(manifest.heads)] = math.prod(num_classes.values())
    lines = []
    for name, classes in num_classes.items():
        views, centre = metrics[name], metrics[serving.centre_view(name)]
        top_5 = f", top-5 {views[TOP_5]:.2f}" if classes > 5 else ""
        loss = f", loss {views[LOSS]:.2f}" if LOSS in views else ""
        lines.append(
            f"  accuracy  {name}: top-1 {views[TOP_1]:.2f} ({recipe.views} views), {centre[TOP_1]:.2f} (1x1)"
            f"{top_5}{loss}, on {recipe.evaluation.split}"
        )
    return lines


def _gate_lines(results: Mapping[str, NodeResult]) -> list[str]:
    evaluator = results["Evaluator"]
    blessed = _int(evaluator.outputs["blessing"][0], "blessed") == 1
    compared = _int(evaluator.outputs["blessing"][0], "baseline_model_id")
    against = "the model in production" if compared else "its thresholds alone: no model is in production yet"
    canary = results["ModelCanary"].outputs["blessing"][0]
    serves = "serves" if _int(canary, "blessed") == 1 else "DOES NOT SERVE"
    pushed = results["Pusher"].outputs["pushed_model"][0]
    reasons = [] if blessed else refusals(evaluator.outputs["evaluation"][0])
    return [
        f"  blessing  {'BLESSED' if blessed else 'NOT BLESSED'}, compared with {against}",
        *(f"            {reason}" for reason in reasons),
        f"  canary    {serves}: {_text(canary, DETAIL_PROPERTY)}",
        f"  pushed    {typed_path(_text(pushed, 'pushed_destination')) if _int(pushed, 'pushed') else 'nothing'}",
    ]


def refusals(evaluation: metadata_store_pb2.Artifact) -> list[str]:
    """Why an evaluation did not bless its model, one line per threshold that failed."""
    result = tfma.load_validation_result(evaluation.uri)
    lines = []
    for by_slice in result.metric_validations_per_slice:
        for failure in by_slice.failures:
            key, value = failure.metric_key, failure.metric_value.double_value.value
            threshold = failure.metric_threshold
            if key.is_diff:
                allowed = threshold.change_threshold.absolute.value
                reason = f"changed by {value:+.3f} against the model in production; at least {allowed:+.3f} is required"
            else:
                reason = f"is {value:.3f}; at least {threshold.value_threshold.lower_bound.value:.3f} is required"
            lines.append(f"{key.output_name}: {key.name} {reason}")
    for missing in result.missing_slices:
        lines.append(f"no clip in the slice {missing}")
    return lines


def _try_lines(manifest: Manifest, pusher: NodeResult) -> list[str]:
    pushed = pusher.outputs["pushed_model"][0]
    if not _int(pushed, "pushed"):
        return ["Nothing was pushed; the lines above say why."]
    clips = [clip.path for clip in manifest.split("eval")[:1]]
    model = typed_path(os.path.dirname(_text(pushed, "pushed_destination")))
    return ["Try it:", "  " + shlex.join([typed_command(), "predict", "--model", model, *map(typed_path, clips)])]


def _int(artifact: metadata_store_pb2.Artifact, name: str) -> int:
    return artifact.custom_properties[name].int_value


def _text(artifact: metadata_store_pb2.Artifact, name: str) -> str:
    return artifact.custom_properties[name].string_value
