"""Compressor: makes smaller forms of a model, scores each on the evaluated clips, and measures what it saves.

A form that differs by more than rounding explains, or loses too much, is kept with the reason why it is refused.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.types import artifact_utils, channel, standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter
from tfx.utils import path_utils

from components.evaluation.config import EvaluationConfig, PushConfig
from components.evaluation.lite import LiteNetwork
from components.evaluation.scoring import fitting_views, score_once
from components.evaluation.smaller import SmallerForm, differences_of, losses_of, problems_of
from components.gates.model_canary import check_in_fresh_process
from components.gates.scorer import PredictionsTable
from components.gates.smaller_models import SmallerModels, write_forms
from components.registry.versions import content_digest
from components.storage import folders
from components.storage.cores import cores
from models.serving.smaller import write_smaller
from schemas import serving
from schemas.predictions import CANDIDATE, Predictions, ScoredModel

_logger = logging.getLogger("vivit.smaller")
# Each network runs so many times, in turns; the fastest counts.
_TURNS = 5
_CANARY_SECONDS = 1800
Network = Callable[..., Mapping[str, tf.Tensor]]


class CompressorSpec(ComponentSpec):
    """A model, raw examples and the model's predictions in, smaller forms out."""

    PARAMETERS = {
        "forms": ExecutionParameter(type=str),
        "max_drop": ExecutionParameter(type=float),
        "split": ExecutionParameter(type=str),
        "batch_views": ExecutionParameter(type=int, optional=True),
    }
    INPUTS = {
        "model": ChannelParameter(type=standard_artifacts.Model),
        "examples": ChannelParameter(type=standard_artifacts.Examples),
        "predictions": ChannelParameter(type=PredictionsTable),
    }
    OUTPUTS = {"smaller": ChannelParameter(type=SmallerModels)}


class CompressorExecutor(base_executor.BaseExecutor):
    """Makes and measures; what a form may lose is decided in components/evaluation/smaller.py."""

    def Do(self, input_dict, output_dict, exec_properties) -> None:  # noqa: N802 (TFX's name)
        """Writes the forms; one that is refused does not fail the run."""
        model = path_utils.serving_model_path(artifact_utils.get_single_uri(input_dict["model"]))
        examples = artifact_utils.get_split_uri(input_dict["examples"], exec_properties["split"])
        shards = sorted(tf.io.gfile.glob(os.path.join(examples, "*")))
        # Of these the trainer left logits.
        proven = artifact_utils.get_split_uri(input_dict["examples"], "eval")
        full = Predictions.read(artifact_utils.get_single_uri(input_dict["predictions"]))
        output = artifact_utils.get_single_uri(output_dict["smaller"])
        batch_views = exec_properties.get("batch_views")
        found = []
        for form in json.loads(exec_properties["forms"]):
            folder = os.path.join(output, form)
            try:
                write_smaller(model, folder, form)
            except ValueError as error:
                found.append(_not_made(form, model, folder, str(error)))
            else:
                small = _score(model, folder, full, shards, batch_views)
                found.append(_measured(form, model, folder, (small, full), proven, exec_properties["max_drop"]))
            _logger.info(found[-1].sentence)
        write_forms(output, found)


def _score(model: str, folder: str, full: Predictions, shards: Sequence[str], batch_views: int | None) -> Predictions:
    card = serving.ModelCard.read(folder)
    scored = ScoredModel(folder, content_digest(folder), "", classes=card.classes, views=card.views)
    return score_once(
        {CANDIDATE: scored},
        shards,
        split=full.clips.split,
        paths={},
        batch_views=batch_views,
        load=lambda uri: _signatures(model, uri),
    )


def _signatures(model: str, folder: str) -> Mapping[str, Network]:
    """The signatures of a form by which it is scored; a file of TensorFlow Lite sees the views of the model itself."""
    if not tf.io.gfile.exists(os.path.join(folder, serving.LITE_FILE)):
        return tf.saved_model.load(folder).signatures
    views = tf.saved_model.load(model).signatures[serving.VIEWS_SIGNATURE]
    return {serving.VIEWS_SIGNATURE: views, serving.NETWORK_SIGNATURE: LiteNetwork(folder)}


def _not_made(form: str, model: str, folder: str, reason: str) -> SmallerForm:
    size = folders.size(model)
    return SmallerForm(form, folder, 0, size, speed=0.0, cores=cores(), losses=(), largest=0.0, problems=(reason,))


def _measured(
    form: str, model: str, folder: str, tables: tuple[Predictions, Predictions], proven: str, max_drop: float
) -> SmallerForm:
    losses, differences = losses_of(*tables), differences_of(*tables)
    problems = list(problems_of(differences, losses, max_drop))
    if form != "tflite":
        serves, detail = check_in_fresh_process(folder, proven, _CANARY_SECONDS)
        problems += [] if serves else [detail]
    ours, theirs = _signatures(model, folder), _signatures(model, model)
    _, views, *shape = theirs[serving.VIEWS_SIGNATURE].structured_outputs[serving.CLIPS].shape
    clips = tf.zeros([min(fitting_views(shape), views - 1), *shape], tf.uint8)
    speed = _times_as_fast(ours[serving.NETWORK_SIGNATURE], theirs[serving.NETWORK_SIGNATURE], clips)
    return SmallerForm(
        form=form,
        path=folder,
        size=folders.size(folder),
        full_size=folders.size(model),
        speed=speed,
        cores=cores(),
        losses=losses,
        largest=max(differences.values()),
        problems=tuple(problems),
    )


def _times_as_fast(network: Network, other: Network, clips: tf.Tensor) -> float:
    """How many times as fast one network is as another, in turns, as a machine has other things to do."""

    def seconds(of: Network) -> float:
        start = time.perf_counter()
        of(**{serving.CLIPS: clips})
        return time.perf_counter() - start

    for of in (network, other):
        seconds(of)
    turns = [(seconds(other), seconds(network)) for _ in range(_TURNS)]
    slow, fast = map(min, zip(*turns, strict=True))
    return slow / fast


class Compressor(base_component.BaseComponent):
    """Makes smaller forms of a model. Output: `smaller`, a `SmallerModels`."""

    SPEC_CLASS = CompressorSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(CompressorExecutor)

    def __init__(
        self,
        model: channel.BaseChannel,
        examples: channel.BaseChannel,
        predictions: channel.BaseChannel,
        *,
        evaluation: EvaluationConfig,
        push: PushConfig,
    ):
        """Makes the component.

        Args:
          model: The Trainer's model.
          examples: The raw examples.
          predictions: The model's `PredictionsTable`.
          evaluation: Which split was evaluated, and how many views go through the network at a time.
          push: Which forms are made, and what they may lose.
        """
        super().__init__(
            spec=CompressorSpec(
                model=model,
                examples=examples,
                predictions=predictions,
                forms=json.dumps(push.smaller),
                max_drop=push.max_smaller_drop,
                split=evaluation.split,
                batch_views=evaluation.batch_views,
                smaller=channel.Channel(type=SmallerModels),
            )
        )
