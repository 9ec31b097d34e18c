"""The first container of a compiled pipeline: ``python -m kubeflow.steps.prepare``.

It resolves the recipe, the run's parameters and the data to the settings of every other step, in the image and where
the data is: what `vivit run` does before its first step. A step is taken from the cache where its settings, which name
the data by their content and the code by its version, are those of an earlier run.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from kubeflow.parameters import overrides_of
from kubeflow.spec import execution_properties, tfx_spec
from kubeflow.steps.invocation import answer, run_step
from pipeline.dag import build_pipeline
from pipeline.data import prepare
from pipeline.plan.plan import plan_run, plan_text
from pipeline.plan.weights import with_network
from pipeline.recipe import describe, load_recipe
from pipeline.settings import ConfigError


def main(arguments: Sequence[str]) -> None:
    """Prepares a run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", required=True, help="name of the recipe")
    parser.add_argument("--invocation", required=True, help="what Kubeflow says: JSON of an ExecutorInput")
    given = parser.parse_args(arguments)
    invocation = json.loads(given.invocation)
    answer(invocation, {"parameterValues": prepare_run(given.recipe, invocation["inputs"]["parameterValues"])})


def prepare_run(name: str, values: Mapping[str, Any]) -> dict[str, str]:
    """Checks the data of a run and writes what its steps read; returns the settings of each task, as JSON.

    Args:
      name: Name of the recipe.
      values: The run's parameters.

    Raises:
      ConfigError, ManifestError, TooManyBadVideosError: If a parameter, a row or too many files are wrong.
    """
    data, workdir = values["data"], values["workdir"].rstrip("/")
    if not data:
        raise ConfigError(
            "the run's parameter data is empty: give it a manifest, a folder of classes, or a prepared folder"
        )
    recipe = with_network(load_recipe(name, overrides_of(values)), workdir)
    prepared, manifest = prepare(data, workdir, recipe)
    print(plan_text(plan_run(manifest, recipe, prepared.first_weights.words)), flush=True)
    info = describe(name, recipe, source=data, label=values["label"])
    # How many clips a container decodes in parallel is in the spec.
    pipeline = build_pipeline(recipe, prepared, workdir=workdir, run=info, decoders=1)
    root = os.path.join(workdir, "pipeline")
    return {
        task: json.dumps({"root": root, "parameters": properties}, sort_keys=True)
        for task, properties in execution_properties(tfx_spec(pipeline, image="any")).items()
    }


if __name__ == "__main__":
    run_step(main)
