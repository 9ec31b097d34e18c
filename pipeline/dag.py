"""The pipeline, on one screen: from a manifest to a pushed model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib import metadata
from typing import Any

import tensorflow_data_validation as tfdv

# Not from tfx.v1: that loads Vertex AI's client, which the image leaves out.
from tfx.components import Pusher, StatisticsGen, Trainer
from tfx.components.schema_gen.import_schema_gen.component import ImportSchemaGen
from tfx.dsl.components.base import executor_spec
from tfx.dsl.components.base.base_node import BaseNode
from tfx.orchestration.pipeline import Pipeline
from tfx.proto import pusher_pb2, trainer_pb2

from components.gates.clip_hasher import ClipHasher
from components.gates.evaluator import TableEvaluator
from components.gates.example_validator import GatingExampleValidator
from components.gates.model_canary import ModelCanary
from components.gates.model_gate import ModelGate
from components.gates.production import Production
from components.gates.pusher import AtomicPusherExecutor
from components.gates.quarantine_gate import QuarantineGate
from components.gates.review import Review
from components.gates.scorer import Scorer
from components.ingest.example_gen import QUARANTINE_KEY, VideoExampleGen
from components.registry.records import RunInfo
from components.storage.code_version import code_version, is_ours
from pipeline import settings
from pipeline.beam import ingest_args, step_args
from pipeline.data import PreparedData
from pipeline.nodes.clip_transform import ClipTransform
from pipeline.nodes.compressor import Compressor
from pipeline.recipe import Recipe
from schemas import features

PIPELINE_NAME = "vivit"


def build_pipeline(
    recipe: Recipe,
    data: PreparedData,
    *,
    workdir: str,
    run: RunInfo,
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
      run: What the run is called and what it changes, for the review.
      decoders: Clips decoded in parallel, where the step runs on one machine.
      beam: Beam options, as in `step_args`.
      last: Id of the last node that is built.
      **options: Further arguments of TFX's `Pipeline`, which the runner needs.

    Raises:
      ConfigError: If a Beam option is wrong.
    """
    nodes = _nodes(recipe, data, workdir, run, decoders, beam)
    for node in nodes:
        # No executor reads it: it makes the code a part of what the cache compares. A compiled pipeline names the code
        # of the machine that compiled it: build the image from the same.
        node.exec_properties["code"] = _code_of(node)
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
    run: RunInfo,
    decoders: int,
    beam: Sequence[str],
) -> list[BaseNode]:
    """The nodes, in the order in which a clip passes them."""
    example_gen = VideoExampleGen(data.manifest_dir, data.splits, recipe.ingest, kept=os.path.join(workdir, "ingest"))
    example_gen.with_beam_pipeline_args(ingest_args(decoders, beam))
    quarantine_gate = QuarantineGate(
        quarantine=example_gen.outputs[QUARANTINE_KEY], manifest_dir=data.manifest_dir, policy=recipe.ingest
    )

    statistics_gen = StatisticsGen(
        examples=example_gen.outputs["examples"],
        # Frames would only cost memory there (tfx#505).
        stats_options=tfdv.StatsOptions(feature_allowlist=features.describing_keys(data.heads, data.slices)),
    )
    statistics_gen.add_upstream_node(quarantine_gate)
    schema_gen = ImportSchemaGen(schema_file=data.schema_file)
    example_validator = GatingExampleValidator(
        statistics=statistics_gen.outputs["statistics"], schema=schema_gen.outputs["schema"]
    ).with_id("ExampleValidator")

    transform = ClipTransform(
        examples=example_gen.outputs["examples"],
        schema=schema_gen.outputs["schema"],
        preprocessing_fn="pipeline.nodes.transform.preprocessing_fn",
        custom_config={"heads": list(data.heads), "storage": recipe.data.storage},
        disable_statistics=True,
        # Nobody reads it; and in a bucket a folder that holds nothing is not there, so that no run would be cached.
        disable_analyzer_cache=True,
    ).with_id("Transform")
    transform.add_upstream_node(example_validator)

    trainer = Trainer(
        run_fn="pipeline.nodes.trainer.run_fn",
        examples=transform.outputs["transformed_examples"],
        transform_graph=transform.outputs["transform_graph"],
        train_args=trainer_pb2.TrainArgs(splits=["train"]),
        eval_args=trainer_pb2.EvalArgs(splits=["eval"]),
        custom_config={
            "config": settings.to_json(recipe.starting_from(data.first_weights.path).trainer_config(data.heads)),
            "first_weights": data.first_weights.version,
            "pace": data.pace_file,
            "checkpoints": os.path.join(workdir, "checkpoints"),
        },
    )

    model, examples = trainer.outputs["model"], example_gen.outputs["examples"]
    production = Production(model=model, pushed=os.path.join(workdir, "pushed"))
    scorer = Scorer(
        model=model,
        production=production.outputs["production"],
        examples=examples,
        config=recipe.evaluation,
        manifest_dir=data.manifest_dir,
        kept=os.path.join(workdir, "scores"),
    )
    predictions = scorer.outputs["predictions"]
    evaluator = TableEvaluator(predictions=predictions).with_id("Evaluator")
    model_gate = ModelGate(model=model, predictions=predictions, config=recipe.evaluation)
    model_gate.add_upstream_node(evaluator)
    canary = ModelCanary(model=model, examples=examples)
    clip_hasher = ClipHasher(examples=examples)
    smaller = {}
    if recipe.push.smaller:
        compressor = Compressor(model, examples, predictions, evaluation=recipe.evaluation, push=recipe.push)
        smaller = {"smaller": compressor.outputs["smaller"]}
    review = Review(
        predictions=predictions,
        model=model,
        model_run=trainer.outputs["model_run"],
        examples=examples,
        quarantine=example_gen.outputs[QUARANTINE_KEY],
        hashes=clip_hasher.outputs["hashes"],
        blessing=model_gate.outputs["blessing"],
        infra_blessing=canary.outputs["blessing"],
        manifest_dir=data.manifest_dir,
        workdir=workdir,
        run=run,
        **smaller,
    )
    pusher = Pusher(
        model=model,
        model_blessing=model_gate.outputs["blessing"],
        infra_blessing=canary.outputs["blessing"],
        push_destination=pusher_pb2.PushDestination(
            filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=os.path.join(workdir, "pushed"))
        ),
        custom_config={"workdir": workdir, "approval": recipe.push.approval},
        custom_executor_spec=executor_spec.ExecutorClassSpec(AtomicPusherExecutor),
    )
    pusher.add_upstream_node(review)
    return [
        example_gen, quarantine_gate, statistics_gen, schema_gen, example_validator, transform, trainer, production,
        scorer, evaluator, model_gate, canary, clip_hasher, *([compressor] if smaller else []), review, pusher,
    ]  # fmt: skip


def _code_of(node: BaseNode) -> str:
    """Version of the code that makes the outputs of a node: ours, and TFX's where the node has an executor of TFX."""
    executor = node.executor_spec.executor_class
    functions = [node.exec_properties.get(key) for key in ("preprocessing_fn", "run_fn")]
    modules = [executor.__module__, *(function.rpartition(".")[0] for function in functions if function)]
    version = code_version(*filter(is_ours, modules))
    is_tfx = any(base.__module__.startswith("tfx.components.") for base in executor.__mro__)
    return f"{version} tfx-{metadata.version('tfx')}" if is_tfx else version
