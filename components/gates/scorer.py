"""Scorer: runs candidate and production over the evaluated split, once, into a table of predictions."""

from __future__ import annotations

import logging
import os

import tensorflow as tf
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.types import artifact_utils, channel, standard_artifacts
from tfx.types.artifact import Artifact
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter
from tfx.utils import path_utils

from components.evaluation.config import EvaluationConfig
from components.evaluation.scoring import NotScorableError, score_split, scored_model
from components.gates.production import InProduction, ProductionModel, read_production
from components.ingest.quarantine import read_lines
from components.manifest.reader import Clip
from components.registry.versions import content_digest
from schemas.predictions import CANDIDATE, PRODUCTION, ScoredModel

_logger = logging.getLogger("vivit.score")


class PredictionsTable(Artifact):
    """Parquet files of schemas/predictions.py, one per shard of the examples."""

    # Kubeflow imports the class by this name; see components/__init__.py.
    TYPE_NAME = "components.PredictionsTable"


class ScorerSpec(ComponentSpec):
    """Models and raw examples in, a table of predictions out."""

    PARAMETERS = {
        "split": ExecutionParameter(type=str),
        "batch_views": ExecutionParameter(type=int, optional=True),
        "manifest_dir": ExecutionParameter(type=str),
        "kept": ExecutionParameter(type=str),
    }
    INPUTS = {
        "model": ChannelParameter(type=standard_artifacts.Model),
        "production": ChannelParameter(type=ProductionModel),
        "examples": ChannelParameter(type=standard_artifacts.Examples),
    }
    OUTPUTS = {"predictions": ChannelParameter(type=PredictionsTable)}


class ScorerExecutor(base_executor.BaseExecutor):
    """Finds the models and the shards; the work is in components/evaluation/scoring.py."""

    def Do(self, input_dict, output_dict, exec_properties) -> None:  # noqa: N802 (TFX's name)
        """Writes the table.

        Raises:
          NotScorableError: If the candidate lacks a signature.
        """
        split = exec_properties["split"]
        candidate = path_utils.serving_model_path(artifact_utils.get_single_uri(input_dict["model"]))
        models = {CANDIDATE: scored_model(candidate, content_digest(candidate))}
        production = read_production(artifact_utils.get_single_uri(input_dict["production"]))
        if production:
            models[PRODUCTION] = _production_model(production)
        shards = sorted(
            tf.io.gfile.glob(os.path.join(artifact_utils.get_split_uri(input_dict["examples"], split), "*"))
        )
        lines = read_lines(os.path.join(exec_properties["manifest_dir"], f"{split}.jsonl"))
        settings = {
            "split": split,
            "paths": {clip.id: clip.path for clip in map(Clip.from_json, lines)},
            "kept": exec_properties["kept"],
            "output": artifact_utils.get_single_uri(output_dict["predictions"]),
            "batch_views": exec_properties.get("batch_views"),
        }
        score_split(models, shards, **settings)


def _production_model(production: InProduction) -> ScoredModel:
    try:
        return scored_model(production.path, production.digest, production.version)
    except NotScorableError as error:
        _logger.warning("version %s, which is in production, cannot be scored: %s", production.version, error)
        return ScoredModel(production.path, production.digest, production.version, {}, (0, 0), problem=str(error))


class Scorer(base_component.BaseComponent):
    """Scores models on a split. Output: `predictions`, a `PredictionsTable`."""

    SPEC_CLASS = ScorerSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(ScorerExecutor)

    def __init__(
        self,
        model: channel.BaseChannel,
        production: channel.BaseChannel,
        examples: channel.BaseChannel,
        *,
        config: EvaluationConfig,
        manifest_dir: str,
        kept: str,
    ):
        """Makes the component.

        Args:
          model: The Trainer's model.
          production: The model in production, or none: a `ProductionModel`.
          examples: The raw examples.
          config: Which split, and how many views at a time.
          manifest_dir: Folder (any URI) of the ``<split>.jsonl`` files that ingest has read.
          kept: Folder (any URI) of scores that outlive a killed run.
        """
        super().__init__(
            spec=ScorerSpec(
                model=model,
                production=production,
                examples=examples,
                split=config.split,
                batch_views=config.batch_views,
                manifest_dir=manifest_dir,
                kept=kept,
                predictions=channel.Channel(type=PredictionsTable),
            )
        )
