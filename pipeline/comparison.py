"""Compares any two models of a run on the clips of its last evaluation, and makes the page of it."""

from __future__ import annotations

import dataclasses
import os

import tensorflow as tf
from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration import metadata

from components.evaluation.config import EvaluationConfig
from components.evaluation.gate import assess
from components.evaluation.scoring import score_once, scored_model
from components.gates.review import review_facts
from components.ingest.quarantine import read_lines
from components.manifest.reader import Clip
from components.registry.history import Entry
from components.registry.records import RegistryError
from components.registry.versions import content_digest, pushed_folder, standing
from components.review.page import review_page
from pipeline import settings
from pipeline.dag import PIPELINE_NAME
from schemas.predictions import CANDIDATE, PRODUCTION

_REVIEW_NODE = "Review"


def compare(workdir: str, entry: Entry, against: Entry | None) -> str:
    """Scores two models on the evaluated split, and writes their page; returns its path.

    Args:
      workdir: Local folder of a run.
      entry: The model under review.
      against: What it is compared with; None for what it was compared with when it was evaluated, if that still stands.

    Raises:
      RegistryError: If the run's examples are not here.
      NotScorableError: If a model lacks a signature.
    """
    inputs = _last_review_inputs(workdir)
    config = settings.build(EvaluationConfig, entry.candidate.training.config["evaluation"])
    other = against.model_uri if against else _production_path(workdir, entry.candidate.assessment.production)
    models = {CANDIDATE: scored_model(entry.model_uri, content_digest(entry.model_uri))}
    if other:
        version = against.id if against else entry.candidate.assessment.production
        models[PRODUCTION] = scored_model(other, content_digest(other), version)
    split_uri = os.path.join(inputs["examples"], f"Split-{config.split}")
    clips = [Clip.from_json(line) for line in read_lines(os.path.join(workdir, "data", "manifest", "*.jsonl"))]
    predictions = score_once(
        models,
        sorted(tf.io.gfile.glob(os.path.join(split_uri, "*"))),
        split=config.split,
        paths={clip.id: clip.path for clip in clips},
        batch_views=config.batch_views,
    )
    candidate = dataclasses.replace(entry.candidate, assessment=assess(predictions, config))
    facts = review_facts(candidate, predictions, workdir, split_uri, inputs["hashes"], inputs["model_run"])
    name = f"{entry.id}-against-{against.id}.html" if against else f"{entry.id}.html"
    path = os.path.join(os.path.abspath(workdir), "reviews", name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(review_page(facts))
    return path


def _production_path(workdir: str, version: str) -> str:
    """Path of a pushed version; empty if it is not there any more."""
    return next((model.path for model in standing(pushed_folder(workdir)) if model.version == version), "")


def _last_review_inputs(workdir: str) -> dict[str, str]:
    """URIs of the artifacts that the last review of a local run has read, by input name."""
    database = os.path.join(workdir, "metadata.db")
    if "://" in workdir or not os.path.exists(database):
        raise RegistryError(f"{database} is missing: models are compared in the folder of a run of this machine")
    with metadata.Metadata(metadata.sqlite_metadata_connection_config(database)) as handle:
        context = handle.store.get_context_by_type_and_name("node", f"{PIPELINE_NAME}.{_REVIEW_NODE}")
        executions = handle.store.get_executions_by_context(context.id) if context else []
        if not executions:
            raise RegistryError(f"no run in {workdir} has come to its review yet")
        last = max(executions, key=lambda execution: execution.id)
        events = [
            event
            for event in handle.store.get_events_by_execution_ids([last.id])
            if event.type == metadata_store_pb2.Event.INPUT
        ]
        uris = {found.id: found.uri for found in handle.store.get_artifacts_by_id([e.artifact_id for e in events])}
    return {event.path.steps[0].key: uris[event.artifact_id] for event in events}
