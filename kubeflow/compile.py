"""The same DAG as a Kubeflow Pipelines v2 spec."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence

import yaml
from tfx.orchestration.kubeflow.v2.kubeflow_v2_dag_runner import KubeflowV2DagRunner, KubeflowV2DagRunnerConfig

from kubeflow.resources import RESOURCES, add_example_gen_resources, set_resources
from pipeline.beam import step_args
from pipeline.dag import build_pipeline
from pipeline.data import artifact_store_problem, locate, prepare
from pipeline.plan.plan import plan_run, plan_text
from pipeline.plan.weights import find_first_weights, with_network
from pipeline.recipe import describe, heads_of, load_recipe

# Of a spec that is compiled for no data set.
UNKNOWN_MANIFEST = "manifest-YOUR-DATA"


def compile_recipe(
    recipe: str,
    overrides: Iterable[str] = (),
    *,
    output: str,
    workdir: str,
    image: str,
    data: str | None = None,
    manifest: str | None = None,
    accelerator: str | None = None,
    beam: Sequence[str] = (),
    label: str = "",
    echo: Callable[[str], None] = print,
) -> None:
    """Writes the spec of a recipe.

    Args:
      recipe: Name of the recipe.
      overrides: ``key=value`` settings.
      output: YAML file to write.
      workdir: Folder (any URI that the cluster reads and writes) of everything that the runs keep.
      image: Container image with this project installed.
      data: Manifest or folder of classes, checked and prepared in the workdir.
      manifest: Without `data`: the folder that `vivit prepare` has named. The heads and slices are then the recipe's.
      accelerator: ``TYPE:COUNT`` of the Trainer.
      beam: Beam options, as in `step_args`; without a runner each step's container does its own work.
      label: What the user calls the runs, for the reviewer.
      echo: Called with each line for the user.

    Raises:
      ConfigError, ManifestError: If a setting or the manifest is wrong.
    """
    step_args(beam)  # A wrong option is refused before anything is read.
    name, recipe = recipe, with_network(load_recipe(recipe, overrides), workdir)
    if data:
        prepared, checked = prepare(data, workdir, recipe)
        echo(plan_text(plan_run(checked, recipe, prepared.first_weights.words)))
    else:
        # The image decides, not this machine.
        problem = artifact_store_problem(workdir)
        if problem:
            echo(f"An image like this machine cannot run it: {problem}")
        prepared = locate(
            workdir,
            manifest_dir=manifest or os.path.join(workdir, "data", UNKNOWN_MANIFEST),
            first_weights=find_first_weights(recipe.model.init_from, workdir),
            splits=("train", "eval"),
            heads=heads_of(recipe),
            slices=recipe.data.slices or (),
        )
    pipeline = build_pipeline(
        recipe,
        prepared,
        workdir=workdir,
        run=describe(name, recipe, source=data or "", label=label),
        decoders=RESOURCES["VideoExampleGen"][0],
        beam=beam,
    )
    set_resources(pipeline.components, accelerator)
    config = KubeflowV2DagRunnerConfig(
        display_name=f"ViViT, recipe {name}", default_image=image, use_pipeline_spec_2_1=True
    )
    spec = KubeflowV2DagRunner(config=config).run(pipeline, write_out=False)["pipelineSpec"]
    add_example_gen_resources(spec, pipeline.components)
    # Whoever pushed or rolled back, it must be seen; there is no driver that would look before the cache is asked.
    spec["root"]["dag"]["tasks"]["Production"]["cachingOptions"] = {"enableCache": False}
    with open(output, "w", encoding="utf-8") as file:
        yaml.safe_dump(spec, file, sort_keys=True)
    echo(f"{output}: {len(pipeline.components)} nodes, heads {', '.join(prepared.heads)}, image {image}")
