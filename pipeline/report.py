"""Summarises a run: clips, classes, accuracy with its views, blessing and reasons, where the model was pushed."""

from __future__ import annotations

import itertools
import os
import shlex
from collections.abc import Iterator, Mapping

import tensorflow_model_analysis as tfma
from ml_metadata.proto import metadata_store_pb2

from components.evaluation.assessment import Assessment, Scored
from components.evaluation.gate import in_words
from components.gates.model_canary import DETAIL_PROPERTY
from components.gates.model_gate import read_assessment
from components.gates.pusher import DETAIL_PROPERTY as PUSH_DETAIL
from components.gates.review import PAGE_PROPERTY
from components.gates.smaller_models import read_forms
from components.ingest.config import IngestConfig
from components.ingest.example_gen import QUARANTINE_KEY
from components.ingest.quarantine import read_quarantine, read_summary
from components.manifest.reader import Manifest
from pipeline.console import typed_command, typed_path
from pipeline.local.runner import NodeResult
from pipeline.recipe import Recipe

_MANY = 12
_SHOWN = {"top_5": "top-5", "macro_top_1": "macro", "ece": "calibration error", "loss": "loss"}


def summary(recipe: Recipe, manifest: Manifest, results: Mapping[str, NodeResult]) -> str:
    """The lines printed after a run."""
    cached = sum(result.cached for result in results.values())
    seconds = sum(result.seconds for result in results.values())
    assessment = read_assessment(results["ModelGate"].outputs["blessing"][0].uri)
    return "\n".join(
        [
            "",
            "Summary",
            *_data_lines(manifest, recipe.ingest, results["VideoExampleGen"]),
            *_accuracy_lines(assessment),
            *_gate_lines(assessment, results),
            *_page_lines(results),
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
    for head in manifest.heads:
        names = manifest.classes(head)
        shown = ", ".join(names[:_MANY]) + (", …" if len(names) > _MANY else "")
        lines.append(f"  classes   {head}: {len(names)} ({shown})")
    return lines


def overall_metrics(evaluation: metadata_store_pb2.Artifact) -> dict[str, dict[str, float]]:
    """The candidate's metrics over all clips, as TFMA has them: output name -> metric -> value."""
    result = tfma.load_eval_result(evaluation.uri)
    ((_, outputs),) = [(key, value) for key, value in result.slicing_metrics if key == ()]
    return {output: dict(_numbers(by_key[""])) for output, by_key in outputs.items()}


def _numbers(metrics: Mapping[str, Mapping]) -> Iterator[tuple[str, float]]:
    for name, value in metrics.items():
        if "doubleValue" in value:
            yield name, value["doubleValue"]
        elif "boundedValue" in value:
            yield name, value["boundedValue"]["value"]


def _accuracy_lines(assessment: Assessment) -> list[str]:
    lines = []
    views = "x".join(map(str, assessment.views))
    for scored in assessment.scored:
        figures = {figure.metric: figure.candidate for figure in scored.figures}
        top_1, centre = figures["top_1"], figures["centre_top_1"]
        rest = [f"{centre.value:.2f} (1x1)"]
        rest += [f"{name} {figures[name_of].value:.2f}" for name_of, name in _SHOWN.items() if name_of in figures]
        lines.append(
            f"  accuracy  {scored.name}: top-1 {top_1.value:.2f} ({views} views; {top_1.low:.2f} to {top_1.high:.2f}), "
            f"{', '.join(rest)}, on {assessment.split}"
        )
    return lines


def _gate_lines(assessment: Assessment, results: Mapping[str, NodeResult]) -> list[str]:
    against = (
        f"version {assessment.production}" if assessment.production else "its thresholds alone: nothing is served yet"
    )
    lines = [f"  blessing  {'BLESSED' if assessment.blessed else 'NOT BLESSED'}, compared with {against}"]
    lines += [f"            {reason}" for reason in assessment.reasons]
    for scored in assessment.scored:
        lines += _comparison_lines(scored)
    lines += [f"            note: {note}" for note in assessment.notes]
    canary = results["ModelCanary"].outputs["blessing"][0]
    serves = "serves" if _int(canary, "blessed") == 1 else "DOES NOT SERVE"
    lines.append(f"  canary    {serves}: {_text(canary, DETAIL_PROPERTY)}")
    return lines + _smaller_lines(results.get("Compressor"))


def _smaller_lines(compressor: NodeResult | None) -> list[str]:
    forms = read_forms(compressor.outputs["smaller"][0].uri) if compressor else ()
    titles = itertools.chain(["smaller "], itertools.repeat(" " * 8))
    return [f"  {title}  {form.sentence} ({typed_path(form.path)})" for title, form in zip(titles, forms, strict=False)]


def _comparison_lines(scored: Scored) -> list[str]:
    found = scored.comparison
    if not found:
        return []
    change = in_words(scored.figure("top_1").difference, signed=True)
    needed = f"; {found.clips_needed} clips would be needed to tell" if found.clips_needed else ""
    clips = f"{found.clips} clips, {found.won} won, {found.lost} lost"
    lines = [f"            {scored.name}: {found.verdict}: {change} on {clips}, p {found.p_value:.2g}{needed}"]
    for group in scored.groups:
        if group.significant:
            change = in_words(group.top_1.difference, signed=True)
            lines.append(f"            {scored.name}: {group.column} {group.value} is {group.significant}: {change}")
    return lines


def _page_lines(results: Mapping[str, NodeResult]) -> list[str]:
    pushed = results["Pusher"].outputs["pushed_model"][0]
    state = typed_path(_text(pushed, "pushed_destination")) if _int(pushed, "pushed") else "nothing"
    if reason := _text(pushed, PUSH_DETAIL):
        state = f"nothing: {reason}"
    review = results["Review"].outputs["review"][0]
    return [f"  pushed    {state}", f"  review    {typed_path(_text(review, PAGE_PROPERTY))}"]


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
