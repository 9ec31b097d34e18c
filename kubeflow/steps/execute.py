"""The container of a step of TFX: ``python -m kubeflow.steps.execute``.

TFX's own container reads each setting from the spec. Here one parameter has them all, as `kubeflow.steps.prepare` made
them for this run, and what the step reads and writes is in the workdir.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf
from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_run_executor

from components.storage import folders
from kubeflow.steps.invocation import LOCATION, PROPERTIES, Invocation, answer, artifacts_of, execution_id, run_step
from pipeline.settings import ConfigError

_TYPES = {bool: "BOOLEAN", int: "NUMBER_INTEGER", float: "NUMBER_DOUBLE", str: "STRING"}


def main(arguments: Sequence[str]) -> None:
    """Runs the executor of one task."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", required=True, help="name of the task")
    parser.add_argument("--executor", required=True, help="import path of its executor")
    parser.add_argument("--invocation", required=True, help="what Kubeflow says: JSON of an ExecutorInput")
    given, beam = parser.parse_known_args(arguments)
    execute(given.task, given.executor, json.loads(given.invocation), beam)


def execute(task: str, executor: str, invocation: Invocation, beam: Sequence[str]) -> None:
    """Runs an executor of TFX for Kubeflow.

    Args:
      task: Name of the task.
      executor: Import path of the executor.
      invocation: What Kubeflow says.
      beam: Arguments of Beam.
    """
    properties = json.loads(invocation["inputs"]["parameterValues"][PROPERTIES])
    execution = execution_id(invocation)
    folder = os.path.join(properties["root"], task)
    if problem := folders.artifact_store_problem(folder):
        raise ConfigError(problem)
    for artifact in artifacts_of(invocation["inputs"]).values():
        artifact["uri"] = artifact["metadata"][LOCATION]
    seen = {}
    for key, artifact in artifacts_of(invocation["outputs"]).items():
        seen[key], artifact["uri"] = artifact["uri"], os.path.join(folder, key, execution)
        # What a try left that was killed.
        folders.remove(artifact["uri"])
    # Beside this file, TFX keeps what Beam's workers share.
    output_file = os.path.join(folder, ".executions", execution, "output.json")
    folders.remove(os.path.dirname(output_file))
    inner = {
        "inputs": {**invocation["inputs"], "parameterValues": properties["parameters"]},
        "outputs": {**invocation["outputs"], "outputFile": output_file},
    }
    kubeflow_v2_run_executor.main((_arguments(executor, inner), list(beam)))
    with tf.io.gfile.GFile(output_file) as file:
        output = json.load(file)
    folders.remove(os.path.dirname(output_file))
    for key, artifact in artifacts_of(output).items():
        artifact.setdefault("metadata", {})[LOCATION] = artifact["uri"]
        artifact["uri"] = seen[key]
    answer(invocation, output)


def _arguments(executor: str, invocation: Invocation) -> argparse.Namespace:
    """The arguments of TFX's own container."""
    values: Mapping[str, Any] = invocation["inputs"]["parameterValues"]
    types = {name: {"parameterType": _TYPES[type(value)]} for name, value in values.items()}
    return argparse.Namespace(
        executor_class_path=executor,
        json_serialized_invocation_args=json.dumps(invocation),
        json_serialized_inputs_spec_args=json.dumps({"parameters": types}),
    )


if __name__ == "__main__":
    run_step(main)
