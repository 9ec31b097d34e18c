"""Review: the page from which a reviewer decides, and the candidate's record. The Pusher waits for it."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import json
import os

import tensorflow as tf
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.types import artifact_utils, channel, standard_artifacts
from tfx.types.artifact import Artifact
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.gates.clip_hasher import ClipHashes, read_hashes
from components.gates.model_canary import DETAIL_PROPERTY
from components.gates.model_gate import read_assessment
from components.gates.scorer import PredictionsTable
from components.gates.smaller_models import SmallerModels, read_forms
from components.ingest.example_gen import QUARANTINE_KEY, Quarantine
from components.ingest.quarantine import read_lines, read_summary
from components.manifest.reader import Clip
from components.registry.candidates import candidate_id, now, page_path, read_decision, write_candidate
from components.registry.records import Canary, Candidate, Data, RunInfo, Training
from components.review import making
from components.review.facts import Review as ReviewFacts
from components.review.facts import clips_to_show
from components.review.page import review_page
from schemas import serving
from schemas.predictions import CANDIDATE, Predictions

PAGE_PROPERTY = "page"


class ReviewArtifact(Artifact):
    """A review page, ``review.html``."""

    # Kubeflow imports the class by this name; see components/__init__.py.
    TYPE_NAME = "components.ReviewArtifact"


class ReviewSpec(ComponentSpec):
    """What the steps before have left in, a page out."""

    PARAMETERS = {
        "manifest_dir": ExecutionParameter(type=str),
        "workdir": ExecutionParameter(type=str),
        "run": ExecutionParameter(type=str),
    }
    INPUTS = {
        "predictions": ChannelParameter(type=PredictionsTable),
        "model": ChannelParameter(type=standard_artifacts.Model),
        "model_run": ChannelParameter(type=standard_artifacts.ModelRun),
        "examples": ChannelParameter(type=standard_artifacts.Examples),
        QUARANTINE_KEY: ChannelParameter(type=Quarantine),
        "hashes": ChannelParameter(type=ClipHashes),
        "blessing": ChannelParameter(type=standard_artifacts.ModelBlessing),
        "infra_blessing": ChannelParameter(type=standard_artifacts.InfraBlessing),
        "smaller": ChannelParameter(type=SmallerModels, optional=True),
    }
    OUTPUTS = {"review": ChannelParameter(type=ReviewArtifact)}


class ReviewExecutor(base_executor.BaseExecutor):
    """Gathers, and writes; what is on the page is decided in components/review/."""

    def Do(self, input_dict, output_dict, exec_properties) -> None:  # noqa: N802 (TFX's name)
        """Writes the candidate's record and its page, also below ``<workdir>/candidates``."""
        uri = {key: artifact_utils.get_single_uri(artifacts) for key, artifacts in input_dict.items() if artifacts}
        predictions = Predictions.read(uri["predictions"])
        infra = artifact_utils.get_single_instance(input_dict["infra_blessing"])
        candidate = _record(
            RunInfo(**json.loads(exec_properties["run"])),
            predictions,
            _data(exec_properties["manifest_dir"], exec_properties["run"], uri[QUARANTINE_KEY], predictions),
            Canary(infra.get_int_custom_property("blessed") == 1, infra.get_string_custom_property(DETAIL_PROPERTY)),
            uri["blessing"],
        )
        workdir = exec_properties["workdir"]
        split = artifact_utils.get_split_uri(input_dict["examples"], predictions.clips.split)
        facts = review_facts(candidate, predictions, workdir, split, uri["hashes"], uri["model_run"])
        smaller = read_forms(uri["smaller"]) if "smaller" in uri else ()
        page = review_page(dataclasses.replace(facts, smaller=smaller))
        write_candidate(workdir, candidate)
        review = artifact_utils.get_single_instance(output_dict["review"])
        kept = page_path(workdir, candidate.id)
        for path in (os.path.join(review.uri, "review.html"), kept):
            tf.io.gfile.makedirs(os.path.dirname(path))
            with tf.io.gfile.GFile(path, "w") as file:
                file.write(page)
        review.set_string_custom_property(PAGE_PROPERTY, kept)


def _data(manifest_dir: str, run: str, quarantine: str, predictions: Predictions) -> Data:
    lines = list(read_lines(os.path.join(manifest_dir, "*.jsonl")))
    return Data(
        source=json.loads(run)["source"],
        manifest_hash=hashlib.sha256("".join(sorted(lines)).encode()).hexdigest(),
        clips=dict(collections.Counter(Clip.from_json(line).split for line in lines)),
        classes={head: len(names) for head, names in predictions.models[CANDIDATE].classes.items()},
        lost=read_summary(quarantine)["reasons"],
    )


def _record(run: RunInfo, predictions: Predictions, data: Data, canary: Canary, blessing: str) -> Candidate:
    model = predictions.models[CANDIDATE]
    training = serving.ModelCard.read(model.uri).training
    return Candidate(
        id=candidate_id(model.digest),
        made=now(),
        label=run.label,
        model_uri=model.uri,
        digest=model.digest,
        data=data,
        training=Training(recipe=run.recipe, changes=run.changes, config=run.config, **training),
        canary=canary,
        assessment=read_assessment(blessing),
        approval=run.approval,
    )


def review_facts(
    candidate: Candidate, predictions: Predictions, workdir: str, split_uri: str, hashes: str, model_run: str
) -> ReviewFacts:
    """What the page of a candidate shows.

    Args:
      candidate: Its record.
      predictions: Its table.
      workdir: Folder (any URI) of the run.
      split_uri: Folder of the raw examples of the evaluated split.
      hashes: URI of the `ClipHashes`.
      model_run: Folder of the TensorBoard logs.
    """
    duplicates = making.duplicates_of(read_hashes(hashes, predictions.clips.split), read_hashes(hashes, "train"))
    shown = clips_to_show(predictions, candidate.assessment, duplicates)
    found = making.examples_of(sorted(tf.io.gfile.glob(os.path.join(split_uri, "*"))), shown)
    examples = {clip_id: found[clip_id] for clip_id in shown}
    return ReviewFacts(
        candidate=candidate,
        predictions=predictions,
        pictures=making.filmstrips_of(examples),
        attention=making.attention_of(candidate.model_uri, examples),
        duplicates=duplicates,
        curves=making.curves_of(model_run),
        decision=read_decision(workdir, candidate),
        workdir=workdir,
    )


class Review(base_component.BaseComponent):
    """Makes the review page. Output: `review`, with the path of the page as a property."""

    SPEC_CLASS = ReviewSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(ReviewExecutor)

    def __init__(self, *, manifest_dir: str, workdir: str, run: RunInfo, **inputs: channel.BaseChannel):
        """Makes the component.

        Args:
          manifest_dir: Folder (any URI) of the ``<split>.jsonl`` files that ingest has read.
          workdir: Folder (any URI) of the run; the record and the page are kept in ``candidates/``.
          run: What the run is called and what it runs.
          **inputs: Channels by the names of `ReviewSpec.INPUTS`.
        """
        super().__init__(
            spec=ReviewSpec(
                manifest_dir=manifest_dir,
                workdir=workdir,
                run=json.dumps(dataclasses.asdict(run), sort_keys=True),
                review=channel.Channel(type=ReviewArtifact),
                **inputs,
            )
        )
