"""The same DAG as a Kubeflow Pipelines v2 spec."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence

import yaml

from components.storage.folders import artifact_store_problem
from kubeflow.cluster.apply import apply_cluster, decoders
from kubeflow.cluster.config import Backend, read_cluster
from kubeflow.cluster.defaults import needs_of
from kubeflow.parameters import default_values
from kubeflow.spec import our_spec, tfx_spec
from kubeflow.submit.spec import records_of
from pipeline.dag import build_pipeline
from pipeline.data import locate
from pipeline.plan.weights import FirstWeights
from pipeline.recipe import describe, heads_of, load_recipe
from pipeline.settings import ConfigError


def compile_recipe(
    recipe: str,
    overrides: Iterable[str] = (),
    *,
    output: str,
    workdir: str,
    image: str,
    data: str = "",
    accelerator: str | None = None,
    cluster: str | None = None,
    backend: Backend = "kubernetes",
    beam: Sequence[str] = (),
    label: str = "",
    echo: Callable[[str], None] = print,
) -> None:
    """Writes the spec of a recipe. Nothing is read but the recipe: the spec's first step looks at the data.

    Args:
      recipe: Name of the recipe.
      overrides: ``key=value`` settings.
      output: YAML file to write.
      workdir: Folder (any URI that the cluster reads and writes) of everything that runs keep.
      image: Container image with this project installed.
      data: Manifest, folder of classes, or folder that `vivit prepare` has named.
      accelerator: ``TYPE:COUNT`` of the Trainer, where `cluster` does not name it.
      cluster: File of what each step gets, as `read_cluster` reads it.
      backend: Where the spec will run.
      beam: Beam options, as in `step_args`; without a runner each step's container does its own work.
      label: What the user calls the runs, for the reviewer.
      echo: Called with each line for the user.

    `workdir`, `data`, `label` and some of the settings are what a run has unless it is given others.

    Raises:
      ConfigError: If a setting or the cluster's file is wrong.
    """
    overrides = list(overrides)
    config, stated = load_recipe(recipe, overrides), read_cluster(cluster)
    if accelerator and any(step.accelerator for *_, step in stated.sections(backend)):
        raise ConfigError(f"--accelerator {accelerator}, and {cluster} names one too; keep one of them")
    needs = needs_of(config, accelerator)
    if problem := artifact_store_problem(workdir):
        # The image decides, not this machine.
        echo(f"An image like this machine cannot run it: {problem}")
    # Its settings are replaced by those that the first step makes; what stays is how the steps hang together.
    pipeline = build_pipeline(
        config,
        locate(
            workdir,
            manifest_dir=os.path.join(workdir, "data"),
            first_weights=FirstWeights(),
            splits=("train", "eval"),
            heads=heads_of(config),
            slices=(),
        ),
        workdir=workdir,
        run=describe(recipe, config, source=data, label=label),
        decoders=decoders(stated, backend, needs),
        beam=beam,
    )
    spec = our_spec(
        tfx_spec(pipeline, image),
        name=f"vivit-{recipe.replace('_', '-')}",
        image=image,
        root=records_of(workdir),
        recipe=recipe,
        values=default_values(config, overrides, data=data, workdir=workdir, label=label),
    )
    platform = apply_cluster(spec, stated, backend=backend, needs=needs)
    with open(output, "w", encoding="utf-8") as file:
        yaml.safe_dump_all([spec, platform] if platform else [spec], file, sort_keys=True)
    echo(f"{output}: {len(spec['root']['dag']['tasks'])} steps, image {image}")
    if stated.service_account:
        echo(f"Start its runs as service account {stated.service_account}: a spec holds none.")
