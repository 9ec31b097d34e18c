"""The pipeline, on one screen: from a manifest to a pushed model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import tensorflow_data_validation as tfdv
from tfx import v1 as tfx
from tfx.dsl.components.base.base_node import BaseNode
from tfx.dsl.components.common.resolver import Resolver, ResolverStrategy
from tfx.orchestration.pipeline import Pipeline

from components.gates import baseline
from components.gates.example_validator import GatingExampleValidator
from components.gates.model_canary import ModelCanary
from components.gates.quarantine_gate import QuarantineGate
from components.ingest.example_gen import QUARANTINE_KEY, VideoExampleGen
from models.evaluation.tfma_config import eval_config
from pipeline import settings
from pipeline.beam import ingest_args, step_args
from pipeline.data import PreparedData
from pipeline.recipe import Recipe
from schemas import features

PIPELINE_NAME = "vivit"


def build_pipeline(
    recipe: Recipe,
    data: PreparedData,
    *,
    workdir: str,
    strategy: type[ResolverStrategy],
    decoders: int,
    beam: Sequence[str] = (),
    last: str = "Pusher",
    **options: Any,
) -> Pipeline:
    """Builds the pipeline, for any runner.

    Args:
      recipe: Every setting.
      data: The prepared data set.
      workdir: Folder (any URI) of the run: models are pushed to ``pushed/``, which a model server watches, and
        ``checkpoints/`` outlives a killed Trainer.
      strategy: How to find the latest blessed model, which the candidate is compared with.
      decoders: Clips decoded in parallel, where the step runs on one machine.
      beam: Beam options, as in `step_args`.
      last: Id of the last node that is built.
      **options: Further arguments of TFX's `Pipeline`, which the runner needs.

    Raises:
      ConfigError: If a Beam option is wrong.
    """
    nodes = _nodes(recipe, data, workdir, strategy, decoders, beam)
    ids = [node.id for node in nodes]
    return Pipeline(
        pipeline_name=PIPELINE_NAME,
        pipeline_root=os.path.join(workdir, "pipeline"),
        components=nodes[: ids.index(last) + 1],
        enable_cache=True,
        beam_pipeline_args=step_args(beam),
        **options,
    )


def _nodes(
    recipe: Recipe,
    data: PreparedData,
    workdir: str,
    strategy: type[ResolverStrategy],
    decoders: int,
    beam: Sequence[str],
) -> list[BaseNode]:
    """The nodes, in the order in which a clip passes them."""
    example_gen = VideoExampleGen(input_base=data.manifest_dir, splits=data.splits, ingest=recipe.ingest)
    example_gen.with_beam_pipeline_args(ingest_args(decoders, beam))
    quarantine_gate = QuarantineGate(
        quarantine=example_gen.outputs[QUARANTINE_KEY], manifest_dir=data.manifest_dir, policy=recipe.ingest
    )

    statistics_gen = tfx.components.StatisticsGen(
        examples=example_gen.outputs["examples"],
        # Frames would only cost memory there (tfx#505).
        stats_options=tfdv.StatsOptions(feature_allowlist=features.describing_keys(data.heads, data.slices)),
    )
    statistics_gen.add_upstream_node(quarantine_gate)
    schema_gen = tfx.components.ImportSchemaGen(schema_file=data.schema_file)
    example_validator = GatingExampleValidator(
        statistics=statistics_gen.outputs["statistics"], schema=schema_gen.outputs["schema"]
    ).with_id("ExampleValidator")

    transform = tfx.components.Transform(
        examples=example_gen.outputs["examples"],
        schema=schema_gen.outputs["schema"],
        preprocessing_fn="pipeline.nodes.transform.preprocessing_fn",
        custom_config={"heads": list(data.heads), "storage": recipe.data.storage},
        disable_statistics=True,
    )
    transform.add_upstream_node(example_validator)

    trainer = tfx.components.Trainer(
        run_fn="pipeline.nodes.trainer.run_fn",
        examples=transform.outputs["transformed_examples"],
        transform_graph=transform.outputs["transform_graph"],
        train_args=tfx.proto.TrainArgs(splits=["train"]),
        eval_args=tfx.proto.EvalArgs(splits=["eval"]),
        custom_config={
            "config": settings.to_json(recipe.trainer_config(data.heads)),
            "pace": data.pace_file,
            "checkpoints": os.path.join(workdir, "checkpoints"),
        },
    )

    baseline_model = Resolver(
        strategy_class=strategy,
        **{
            baseline.MODEL_KEY: tfx.dsl.Channel(type=tfx.types.standard_artifacts.Model),
            baseline.BLESSING_KEY: tfx.dsl.Channel(type=tfx.types.standard_artifacts.ModelBlessing),
        },
        **(
            {baseline.CANDIDATE_KEY: trainer.outputs["model"]}
            if strategy is baseline.PreviousBlessedModelStrategy
            else {}
        ),
    ).with_id("LatestBlessedModel")
    evaluator = tfx.components.Evaluator(
        examples=example_gen.outputs["examples"],
        example_splits=[recipe.evaluation.split],
        model=trainer.outputs["model"],
        baseline_model=baseline_model.outputs[baseline.MODEL_KEY],
        eval_config=eval_config(data.heads, data.slices, recipe.evaluation),
    )
    canary = ModelCanary(model=trainer.outputs["model"], examples=example_gen.outputs["examples"])

    pusher = tfx.components.Pusher(
        model=trainer.outputs["model"],
        model_blessing=evaluator.outputs["blessing"],
        infra_blessing=canary.outputs["blessing"],
        push_destination=tfx.proto.PushDestination(
            filesystem=tfx.proto.PushDestination.Filesystem(base_directory=os.path.join(workdir, "pushed"))
        ),
    )
    return [
        example_gen, quarantine_gate, statistics_gen, schema_gen, example_validator, transform, trainer, baseline_model,
        evaluator, canary, pusher,
    ]  # fmt: skip
