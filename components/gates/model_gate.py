"""ModelGate: blesses a candidate, or says why not. The Pusher requires its ModelBlessing.

The decision is in components/evaluation/gate.py.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os

import tensorflow as tf
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.types import artifact_utils, channel, standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.evaluation.assessment import Assessment
from components.evaluation.config import EvaluationConfig
from components.evaluation.gate import assess
from components.gates.scorer import PredictionsTable
from schemas.predictions import CANDIDATE, Predictions

# The names of TFX's Evaluator, which the Pusher reads.
_BLESSED, _MODEL_URI, _MODEL_ID = "blessed", "current_model_uri", "current_model_id"
_ASSESSMENT = "assessment.json"
# Hash of the candidate's content.
DIGEST_PROPERTY = "digest"
_logger = logging.getLogger("vivit.gate")


class ModelGateSpec(ComponentSpec):
    """A table of predictions in, a ModelBlessing out."""

    PARAMETERS = {"config": ExecutionParameter(type=str)}
    INPUTS = {
        "model": ChannelParameter(type=standard_artifacts.Model),
        "predictions": ChannelParameter(type=PredictionsTable),
    }
    OUTPUTS = {"blessing": ChannelParameter(type=standard_artifacts.ModelBlessing)}


class ModelGateExecutor(base_executor.BaseExecutor):
    """Computes the assessment, and keeps it in the blessing."""

    def Do(self, input_dict, output_dict, exec_properties) -> None:  # noqa: N802 (TFX's name)
        """Blesses the model or not; a model that is refused does not fail the run."""
        predictions = Predictions.read(artifact_utils.get_single_uri(input_dict["predictions"]))
        found = assess(predictions, EvaluationConfig(**json.loads(exec_properties["config"])))
        _logger.info(found.sentence)
        blessing = artifact_utils.get_single_instance(output_dict["blessing"])
        tf.io.gfile.makedirs(blessing.uri)
        for name, text in ((_ASSESSMENT, found.to_json()), ("BLESSED" if found.blessed else "NOT_BLESSED", "")):
            with tf.io.gfile.GFile(os.path.join(blessing.uri, name), "w") as file:
                file.write(text)
        model = artifact_utils.get_single_instance(input_dict["model"])
        blessing.set_int_custom_property(_BLESSED, int(found.blessed))
        blessing.set_string_custom_property(_MODEL_URI, model.uri)
        blessing.set_int_custom_property(_MODEL_ID, model.id)
        blessing.set_string_custom_property(DIGEST_PROPERTY, predictions.models[CANDIDATE].digest)


def read_assessment(blessing_uri: str) -> Assessment:
    """The assessment of a blessing."""
    with tf.io.gfile.GFile(os.path.join(blessing_uri, _ASSESSMENT)) as file:
        return Assessment.from_json(file.read())


class ModelGate(base_component.BaseComponent):
    """The gate of a model. Output: `blessing`, a ModelBlessing with the assessment."""

    SPEC_CLASS = ModelGateSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(ModelGateExecutor)

    def __init__(self, model: channel.BaseChannel, predictions: channel.BaseChannel, config: EvaluationConfig):
        """Makes the component.

        Args:
          model: The Trainer's model.
          predictions: Its `PredictionsTable`.
          config: The thresholds.
        """
        super().__init__(
            spec=ModelGateSpec(
                model=model,
                predictions=predictions,
                config=json.dumps(dataclasses.asdict(config), sort_keys=True),
                blessing=channel.Channel(type=standard_artifacts.ModelBlessing),
            )
        )
