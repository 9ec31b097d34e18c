"""The pipeline, on one screen: from a manifest to a pushed model."""

from __future__ import annotations

import os
from collections.abc import Sequence

import tensorflow_data_validation as tfdv
from tfx import v1 as tfx
from tfx.dsl.components.common.resolver import Resolver, ResolverStrategy

from components import baseline
from components.example_gen import VideoExampleGen
from components.example_validator import GatingExampleValidator
from components.model_canary import ModelCanary
from models.evaluation import eval_config
from pipeline.beam import ingest_args
from pipeline.config import Recipe
from pipeline.data import PreparedData
from schemas import config as settings
from schemas import features


def build_components(
    recipe: Recipe,
    data: PreparedData,
    *,
    workdir: str,
    strategy: type[ResolverStrategy],
    decoders: int,
    beam: Sequence[str] = (),
) -> list:
    """Builds the nodes, in the order in which a clip meets them.

    Args:
      recipe: Every setting.
      data: The prepared data set.
      workdir: Folder (any URI) of the run: models are pushed to ``pushed/``, which a model server watches, and
        ``checkpoints/`` outlives a killed Trainer.
      strategy: How the model in production is found.
      decoders: Clips that are decoded at a time, where the step runs on one machine.
      beam: Beam options, as in `step_args`.
    """
    example_gen = VideoExampleGen(input_base=data.manifest_dir, splits=data.splits, ingest=recipe.ingest)
    example_gen.with_beam_pipeline_args(ingest_args(decoders, beam))

    statistics_gen = tfx.components.StatisticsGen(
        examples=example_gen.outputs["examples"],
        # Frames would only cost memory there (tfx#505).
        stats_options=tfdv.StatsOptions(feature_allowlist=features.describing_keys(data.heads, data.slices)),
    )
    schema_gen = tfx.components.ImportSchemaGen(schema_file=data.schema_file)
    example_validator = GatingExampleValidator(
        statistics=statistics_gen.outputs["statistics"], schema=schema_gen.outputs["schema"]
    ).with_id("ExampleValidator")

    transform = tfx.components.Transform(
        examples=example_gen.outputs["examples"],
        schema=schema_gen.outputs["schema"],
        preprocessing_fn="models.preprocessing.preprocessing_fn",
        custom_config={"heads": list(data.heads), "storage": recipe.data.storage},
        disable_statistics=True,
    )
    transform.add_upstream_node(example_validator)

    trainer = tfx.components.Trainer(
        run_fn="models.trainer.run_fn",
        examples=transform.outputs["transformed_examples"],
        transform_graph=transform.outputs["transform_graph"],
        train_args=tfx.proto.TrainArgs(splits=["train"]),
        eval_args=tfx.proto.EvalArgs(splits=["eval"]),
        custom_config={
            "config": settings.to_json(recipe.trainer_config(data.heads)),
            "checkpoints": os.path.join(workdir, "checkpoints"),
        },
    )

    production = Resolver(
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
    ).with_id("ProductionModel")
    evaluator = tfx.components.Evaluator(
        examples=example_gen.outputs["examples"],
        example_splits=[recipe.evaluation.split],
        model=trainer.outputs["model"],
        baseline_model=production.outputs[baseline.MODEL_KEY],
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
        example_gen, statistics_gen, schema_gen, example_validator, transform, trainer, production, evaluator, canary,
        pusher,
    ]  # fmt: skip
