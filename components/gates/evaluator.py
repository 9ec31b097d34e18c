"""Evaluator: TFMA's evaluation of a table of predictions, for its dashboards and `tfma.load_eval_result`."""

from __future__ import annotations

from tfx.dsl.components.base import base_beam_component, base_beam_executor, executor_spec
from tfx.types import artifact_utils, channel, standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec

from components.evaluation.tfma.table import evaluate_table
from components.gates.scorer import PredictionsTable


class TableEvaluatorSpec(ComponentSpec):
    """A table of predictions in, TFMA's results out."""

    PARAMETERS = {}
    INPUTS = {"predictions": ChannelParameter(type=PredictionsTable)}
    OUTPUTS = {"evaluation": ChannelParameter(type=standard_artifacts.ModelEvaluation)}


class TableEvaluatorExecutor(base_beam_executor.BaseBeamExecutor):
    """Runs TFMA with Beam."""

    def Do(self, input_dict, output_dict, exec_properties) -> None:  # noqa: N802 (TFX's name)
        """Writes TFMA's results."""
        self._log_startup(input_dict, output_dict, exec_properties)
        table = artifact_utils.get_single_uri(input_dict["predictions"])
        with self._make_beam_pipeline() as pipeline:
            evaluate_table(pipeline, table, artifact_utils.get_single_uri(output_dict["evaluation"]))


class TableEvaluator(base_beam_component.BaseBeamComponent):
    """Evaluates the models of a table. Output: `evaluation`, TFMA's results."""

    SPEC_CLASS = TableEvaluatorSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(TableEvaluatorExecutor)

    def __init__(self, predictions: channel.BaseChannel):
        """Makes the component for a `PredictionsTable`."""
        evaluation = channel.Channel(type=standard_artifacts.ModelEvaluation)
        super().__init__(spec=TableEvaluatorSpec(predictions=predictions, evaluation=evaluation))
