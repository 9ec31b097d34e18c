"""Writes what each step gets into a compiled spec, and what only Kubernetes has into the spec's second document."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from kubeflow.cluster import quantities
from kubeflow.cluster.config import SCRATCH, Backend, Cluster, Retries, Step
from kubeflow.cluster.kubernetes import executor_config
from pipeline import settings

# Keys for which a container of Vertex has no place.
_NOT_ON_VERTEX = (
    *("ephemeral_storage", "storage_class", "shared_memory", "image_pull_policy", "image_pull_secrets", "secrets"),
    *("config_maps", "volumes", "node_selector", "tolerations", "labels", "annotations", "timeout"),
)


def apply_cluster(
    spec: dict[str, Any], cluster: Cluster, *, backend: Backend, needs: Mapping[str, Step]
) -> dict[str, Any]:
    """Writes into a spec what its steps get.

    Args:
      spec: Pipeline spec, which is changed: resources, image and variables of the containers, retries of the tasks.
      cluster: What the team's file says.
      backend: Where the pipeline runs.
      needs: What each step needs where the file does not say, as `defaults.needs_of` gives it.

    Returns:
      The platform document, which is the second one of the spec's file; {} where there is nothing to say.

    Raises:
      ConfigError: If the pipeline has no step of a name, or the backend no place for a key.
    """
    containers = _containers(spec)
    _check_names(cluster, sorted(containers))
    if backend == "vertex":
        _check_places(cluster)
    configs = {}
    for name, (label, container) in containers.items():
        step = cluster.step(name, backend, needs[name])
        _check_accelerator(name, step, backend)
        _fill(container, step, backend)
        if step.retries:
            spec["root"]["dag"]["tasks"][name]["retryPolicy"] = _retry_policy(step.retries)
        if backend == "kubernetes" and (config := executor_config(name, step)):
            configs[label] = config
    return {"platforms": {"kubernetes": {"deploymentSpec": {"executors": configs}}}} if configs else {}


def decoders(cluster: Cluster, backend: Backend, needs: Mapping[str, Step]) -> int:
    """How many videos ingest decodes at a time: one a core of its step."""
    step = "VideoExampleGen"
    return max(1, int(quantities.cores(cluster.step(step, backend, needs[step]).cpu)))


def _containers(spec: dict[str, Any]) -> dict[str, tuple[str, dict[str, Any]]]:
    """Executor label and container of each step that has one."""
    executors, found = spec["deploymentSpec"]["executors"], {}
    for name, task in spec["root"]["dag"]["tasks"].items():
        label = spec["components"][task["componentRef"]["name"]].get("executorLabel")
        if "container" in executors.get(label, {}):
            found[name] = label, executors[label]["container"]
    return found


def _check_names(cluster: Cluster, known: list[str]) -> None:
    """Raises ConfigError for a step that the pipeline does not have, in the other backend's part of the file too."""
    for steps in (cluster.steps, cluster.kubernetes.steps, cluster.vertex.steps):
        for name in steps:
            if name not in known:
                raise settings.unknown(name, known, kind="step")


def _check_places(cluster: Cluster) -> None:
    for path, _, step in cluster.sections("vertex"):
        for key in _NOT_ON_VERTEX:
            if key in step.used():
                below = "" if path.startswith("vertex.") else f", or put it under kubernetes.{path}"
                raise settings.ConfigError(f"{path}.{key}: Vertex has no {key}; remove it{below}")


def _check_accelerator(name: str, step: Step, backend: Backend) -> None:
    if not step.accelerator:
        return
    kind, where = step.accelerator.type, f"accelerator.type of {name} is {step.accelerator.type!r}"
    if backend == "kubernetes":
        if "/" not in kind:
            raise settings.ConfigError(f"{where}; Kubernetes wants a resource of its nodes, e.g. nvidia.com/gpu")
        return
    from google.cloud.aiplatform_v1.types import AcceleratorType

    names = [one.name for one in AcceleratorType if one.value]
    if kind not in names:
        near = difflib.get_close_matches(kind, names, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names)}"
        raise settings.ConfigError(f"{where}, which Vertex does not know; {hint}")


def _fill(container: dict[str, Any], step: Step, backend: Backend) -> None:
    """Writes a step into its container."""
    if step.image:
        container["image"] = step.image
    if resources := _resources(step, backend):
        container["resources"] = resources
    # Python and Beam keep temporary files in this folder.
    scratch = {"TMPDIR": SCRATCH} if step.ephemeral_storage else {}
    variables = {one["name"]: one["value"] for one in container.get("env", ())} | scratch | step.environment
    if variables:
        container["env"] = [{"name": name, "value": value} for name, value in variables.items()]


def _resources(step: Step, backend: Backend) -> dict[str, Any]:
    """The resources of a container.

    KFP's later names (resourceCpuLimit, ...) are left out: kfp-pipeline-spec 0.2.2 refuses a spec that has them, and
    every backend reads these where those are missing (getPodResource in backend/src/v2/driver).
    """
    resources: dict[str, Any] = {}
    # Vertex chooses a machine by the limits.
    kinds = ("Limit", "Request") if backend == "kubernetes" else ("Limit",)
    for kind in kinds:
        if step.cpu:
            resources[f"cpu{kind}"] = quantities.cores(step.cpu)
        if step.memory:
            resources[f"memory{kind}"] = quantities.gigabytes(step.memory)
    if step.accelerator:
        # An int64 of protobuf's JSON is a text.
        resources["accelerator"] = {"type": step.accelerator.type, "count": str(step.accelerator.count)}
    return resources


def _retry_policy(retries: Retries) -> dict[str, Any]:
    return {
        "maxRetryCount": retries.count,
        "backoffDuration": f"{quantities.seconds(retries.backoff)}s",
        "backoffFactor": retries.factor,
        "backoffMaxDuration": f"{quantities.seconds(retries.max_backoff)}s",
    }
