"""A step in the words of KFP's kubernetes platform spec: what the kfp-kubernetes library writes for the same wish.

The fields are those of kubernetes_platform/proto/kubernetes_executor_config.proto of kubeflow/pipelines. Names of
Secrets, ConfigMaps and claims are written twice, as the library does: for backends before and after they became
parameters.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from kubeflow.cluster import quantities
from kubeflow.cluster.config import SCRATCH, SHARED_MEMORY, Source, Step
from pipeline.settings import ConfigError

_VOLUME_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_SCRATCH_VOLUME, _SHARED_MEMORY_VOLUME = "scratch", "shared-memory"


def executor_config(name: str, step: Step) -> dict[str, Any]:
    """The part of the platform spec that is a step's.

    Args:
      name: Of the step.
      step: What it gets.

    Raises:
      ConfigError: If two volumes of the pod would have one name or one folder, or two variables one name.
    """
    _check_pod(name, step)
    config = {
        "nodeSelector": {"labels": labels} if (labels := _node_labels(step)) else {},
        "tolerations": [_toleration(vars(one)) for one in step.tolerations],
        **_sources(step.secrets, "secret"),
        **_sources(step.config_maps, "configMap"),
        "pvcMount": [_named("pvc", claim, mountPath=path) for claim, path in step.volumes.items()],
        "imagePullSecret": [_named("secret", secret) for secret in step.image_pull_secrets],
        "imagePullPolicy": step.image_pull_policy,
        "podMetadata": {key: values for key in ("labels", "annotations") if (values := getattr(step, key))},
        "emptyDirMounts": list(_empty_folders(step)),
        "genericEphemeralVolume": list(_own_volumes(step)),
        # An int64 of protobuf's JSON is a text.
        "activeDeadlineSeconds": str(quantities.seconds(step.timeout)) if step.timeout else None,
    }
    return {key: value for key, value in config.items() if value}


def _check_pod(name: str, step: Step) -> None:
    sources = [*step.secrets.items(), *step.config_maps.items()]
    mounted = [*((source, keys.files) for source, keys in sources if keys.files), *step.volumes.items()]
    mounted += [(_SCRATCH_VOLUME, SCRATCH)] if step.ephemeral_storage else []
    mounted += [(_SHARED_MEMORY_VOLUME, SHARED_MEMORY)] if step.shared_memory else []
    for volume, folder in mounted:
        if not _VOLUME_NAME.fullmatch(volume):
            raise ConfigError(
                f"{name} mounts {volume!r}; KFP names the pod's volume after it, and Kubernetes wants at most 63 "
                f"of a-z, 0-9 and - there: give it another name in the cluster"
            )
        if not folder.startswith("/"):
            raise ConfigError(f"{name} mounts {volume!r} in {folder!r}; the folder must begin with /")
    _check_once(name, "volumes of the name", (volume for volume, _ in mounted))
    _check_once(name, "volumes in the folder", (folder.rstrip("/") for _, folder in mounted))
    variables = [variable for _, keys in sources for variable in keys.environment]
    _check_once(name, "values of the variable", (*step.environment, *variables))


def _check_once(name: str, what: str, values: Iterable[str]) -> None:
    twice = next((value for value, count in Counter(values).items() if count > 1), None)
    if twice is not None:
        raise ConfigError(f"{name} has several {what} {twice!r} in its pod; keep one of them")


def _node_labels(step: Step) -> dict[str, str]:
    if not step.accelerator or not step.accelerator.topology:
        return step.node_selector
    return {
        "cloud.google.com/gke-tpu-accelerator": step.accelerator.tpu,
        "cloud.google.com/gke-tpu-topology": step.accelerator.topology,
        **step.node_selector,
    }


def _toleration(fields: Mapping[str, Any]) -> dict[str, str]:
    named = {"toleration_seconds": "tolerationSeconds"}
    return {named.get(key, key): str(value) for key, value in fields.items() if value is not None}


def _sources(sources: Mapping[str, Source], kind: str) -> dict[str, list[dict[str, Any]]]:
    """Secrets or ConfigMaps as variables and as files."""
    variables = [
        _named(kind, name, keyToEnv=[{f"{kind}Key": key, "envVar": variable} for variable, key in keys.items()])
        for name, source in sources.items()
        if (keys := source.environment)
    ]
    files = [_named(kind, name, mountPath=source.files) for name, source in sources.items() if source.files]
    return {
        f"{kind}AsEnv": [{**one, "optional": False} for one in variables],
        f"{kind}AsVolume": [{**one, "optional": False} for one in files],
    }


def _named(kind: str, name: str, **fields: Any) -> dict[str, Any]:
    """An object of the cluster, by its name."""
    old = "constant" if kind == "pvc" else f"{kind}Name"
    return {old: name, f"{kind}NameParameter": {"runtimeValue": {"constant": name}}, **fields}


def _empty_folders(step: Step) -> Iterable[dict[str, str]]:
    if step.shared_memory:
        folder = {"volumeName": _SHARED_MEMORY_VOLUME, "mountPath": SHARED_MEMORY, "medium": "Memory"}
        yield {**folder, "sizeLimit": quantities.size(step.shared_memory)}
    if step.ephemeral_storage and not step.storage_class:
        yield {
            "volumeName": _SCRATCH_VOLUME,
            "mountPath": SCRATCH,
            "sizeLimit": quantities.size(step.ephemeral_storage),
        }


def _own_volumes(step: Step) -> Iterable[dict[str, Any]]:
    if step.ephemeral_storage and step.storage_class:
        default = step.storage_class == "default"
        yield {
            "volumeName": _SCRATCH_VOLUME,
            "mountPath": SCRATCH,
            "accessModes": ["ReadWriteOnce"],
            "size": quantities.size(step.ephemeral_storage),
            **({"defaultStorageClass": True} if default else {"storageClassName": step.storage_class}),
        }
