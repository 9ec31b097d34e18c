"""What TFX makes of the pipeline for Kubeflow, and the spec of ours that is made of it.

TFX writes every setting into the spec as a constant, and gives some steps hooks and drivers that only Google's Kubeflow
runs. Ours has a first task, Prepare, that makes the settings of all others when the pipeline runs, of the run's
parameters and of the data; and containers only, as the open backend knows nothing else but importers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tfx.orchestration.kubeflow.v2.kubeflow_v2_dag_runner import KubeflowV2DagRunner, KubeflowV2DagRunnerConfig
from tfx.orchestration.pipeline import Pipeline

from kubeflow.parameters import PARAMETERS, definitions
from kubeflow.steps.invocation import PROPERTIES

PREPARE = "Prepare"
# What they see may differ though nothing that they are given does: the data behind a URI, what is in production.
_NEVER_CACHED = (PREPARE, "Production")
_TFX_FLAGS = ("--executor_class_path", "--json_serialized_invocation_args", "--json_serialized_inputs_spec_args")

Spec = dict[str, Any]


def tfx_spec(pipeline: Pipeline, image: str) -> Spec:
    """TFX's spec of a pipeline.

    Args:
      pipeline: The pipeline.
      image: Container image of all steps.
    """
    config = KubeflowV2DagRunnerConfig(default_image=image, use_pipeline_spec_2_1=True)
    return KubeflowV2DagRunner(config=config).run(pipeline, write_out=False)["pipelineSpec"]


def execution_properties(spec: Spec) -> dict[str, dict[str, Any]]:
    """The execution properties of each task, from TFX's spec, with the types that its executor wants."""
    found = {}
    for name, task in spec["root"]["dag"]["tasks"].items():
        kinds = spec["components"][task["componentRef"]["name"]].get("inputDefinitions", {}).get("parameters", {})
        values = task.get("inputs", {}).get("parameters", {})
        found[name] = {
            key: _typed(value["runtimeValue"]["constant"], kinds[key]["parameterType"]) for key, value in values.items()
        }
    return found


def our_spec(spec: Spec, *, name: str, image: str, root: str, recipe: str, values: Mapping[str, Any]) -> Spec:
    """Our spec of TFX's.

    Args:
      spec: TFX's spec, which is changed.
      name: Name of the pipeline.
      image: Container image.
      root: Where Kubeflow keeps its records of artifacts, any URI that it can write; empty for the cluster's default.
      recipe: Name of the recipe.
      values: Default values of the run's parameters.
    """
    tasks, components = spec["root"]["dag"]["tasks"], spec["components"]
    executors = spec["deploymentSpec"]["executors"]
    for task_name, task in tasks.items():
        component = components[task["componentRef"]["name"]]
        component.setdefault("inputDefinitions", {})["parameters"] = {PROPERTIES: {"parameterType": "STRING"}}
        source = {"producerTask": PREPARE, "outputParameterKey": task_name}
        task.setdefault("inputs", {})["parameters"] = {PROPERTIES: {"taskOutputParameter": source}}
        task["dependentTasks"] = sorted({PREPARE, *task.get("dependentTasks", ())})
        _run_our_container(executors[component["executorLabel"]]["container"], task_name)
    components[PREPARE] = {
        "executorLabel": f"{PREPARE}_executor",
        "inputDefinitions": {"parameters": {key: {"parameterType": each.kind} for key, each in PARAMETERS.items()}},
        "outputDefinitions": {"parameters": {task_name: {"parameterType": "STRING"} for task_name in tasks}},
    }
    tasks[PREPARE] = {
        "taskInfo": {"name": PREPARE},
        "componentRef": {"name": PREPARE},
        "inputs": {"parameters": {key: {"componentInputParameter": key} for key in PARAMETERS}},
    }
    executors[f"{PREPARE}_executor"] = {
        "container": {
            "image": image,
            "command": ["python", "-m", "kubeflow.steps.prepare"],
            "args": ["--recipe", recipe, "--invocation", "{{$}}"],
        }
    }
    for task_name, task in tasks.items():
        task["cachingOptions"] = {"enableCache": task_name not in _NEVER_CACHED}
    spec["root"]["inputDefinitions"] = {"parameters": definitions(values)}
    spec["pipelineInfo"]["name"] = name
    if root:
        spec["defaultPipelineRoot"] = root
    return spec


def _typed(value: Any, kind: str) -> Any:
    return int(value) if kind == "NUMBER_INTEGER" else value


def _run_our_container(container: dict[str, Any], task: str) -> None:
    """Our command in place of TFX's; of TFX's arguments, the executor and what is Beam's stays."""
    flags = dict(zip(container["args"][:6:2], container["args"][1:6:2], strict=True))
    beam = container["args"][6:]
    if tuple(flags) != _TFX_FLAGS:
        raise NotImplementedError(f"TFX's container of {task} has arguments that are not known here: {list(flags)}")
    # A hook of Google's Kubeflow, which looks for new spans of data. Ours has one manifest, named by its content.
    container.pop("lifecycle", None)
    container["command"] = ["python", "-m", "kubeflow.steps.execute"]
    executor = flags["--executor_class_path"]
    container["args"] = ["--task", task, "--executor", executor, "--invocation", "{{$}}", *beam]
