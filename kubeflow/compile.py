"""The same DAG as a Kubeflow Pipelines v2 spec."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence

import yaml
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import LatestBlessedModelStrategy
from tfx.orchestration.kubeflow.v2.kubeflow_v2_dag_runner import KubeflowV2DagRunner, KubeflowV2DagRunnerConfig
from tfx.orchestration.pipeline import Pipeline

from kubeflow.resources import RESOURCES, add_example_gen_resources, set_resources
from pipeline.beam import step_args
from pipeline.config import heads_of, load_recipe
from pipeline.dag import build_components
from pipeline.data import artifact_store_problem, planned, prepare

PIPELINE_NAME = "vivit"


def compile_recipe(
    recipe: str,
    overrides: Iterable[str] = (),
    *,
    output: str,
    workdir: str,
    image: str,
    data: str | None = None,
    accelerator: str | None = None,
    beam: Sequence[str] = (),
    say: Callable[[str], None] = print,
) -> None:
    """Writes the spec of a recipe.

    Args:
      recipe: Name of the recipe.
      overrides: ``key=value`` settings.
      output: YAML file to write.
      workdir: Folder (any URI that the cluster reads and writes) of everything that the runs keep.
      image: Container image with this project installed.
      data: Manifest or folder of classes, checked and prepared in the workdir; without it, the heads and slices are
        the recipe's, and `vivit prepare` must have run before the pipeline does.
      accelerator: ``TYPE:COUNT`` of the Trainer.
      beam: Beam options, as in `step_args`; without a runner each step's container does its own work.
      say: Called with each line for the user.

    Raises:
      ConfigError, ManifestError: If a setting or the manifest is wrong.
    """
    settings, beam_args = load_recipe(recipe, overrides), step_args(beam)
    if data:
        prepared, _ = prepare(data, workdir, settings)
    else:
        # The image decides, not this machine.
        problem = artifact_store_problem(workdir)
        if problem:
            say(f"An image like this machine cannot run it: {problem}")
        prepared = planned(
            workdir, splits=("train", "eval"), heads=heads_of(settings), slices=settings.data.slices or ()
        )
    # Kubeflow resolves by queries on its own metadata, and knows this strategy only.
    components = build_components(
        settings,
        prepared,
        workdir=workdir,
        strategy=LatestBlessedModelStrategy,
        decoders=RESOURCES["VideoExampleGen"][0],
        beam=beam,
    )
    set_resources(components, accelerator)
    pipeline = Pipeline(
        pipeline_name=PIPELINE_NAME,
        pipeline_root=os.path.join(workdir, "pipeline"),
        components=components,
        enable_cache=True,
        beam_pipeline_args=beam_args,
    )
    config = KubeflowV2DagRunnerConfig(
        display_name=f"ViViT, recipe {recipe}", default_image=image, use_pipeline_spec_2_1=True
    )
    spec = KubeflowV2DagRunner(config=config).run(pipeline, write_out=False)["pipelineSpec"]
    add_example_gen_resources(spec, components)
    with open(output, "w", encoding="utf-8") as file:
        yaml.safe_dump(spec, file, sort_keys=True)
    say(f"{output}: {len(components)} nodes, heads {', '.join(prepared.heads)}, image {image}")
