"""The file in which a team keeps what each step gets from its cluster; docs/cluster.md describes every key.

Contract: a `Cluster` read here has known keys and possible values only, or a `ConfigError` names the file and the key.
Whether the pipeline has a step of that name, and the backend a place for a key, is checked in apply.py.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import yaml

from kubeflow.cluster import quantities
from pipeline import settings

Backend = Literal["kubernetes", "vertex"]
TPU = "google.com/tpu"
ONE_MACHINE = (
    "a step of Kubeflow Pipelines, on Vertex too, is one container on one machine: give it more accelerators of one "
    "machine (accelerator.count) or a TPU slice of one host, or train on several machines beside it (train.elsewhere, "
    "vivit train)"
)
# Where a step's own files lie, and its shared memory.
SCRATCH, SHARED_MEMORY = "/scratch", "/dev/shm"


@dataclasses.dataclass(frozen=True)
class Accelerator:
    """What a step computes on, besides CPUs.

    Attributes:
      type: Resource of a Kubernetes node, e.g. nvidia.com/gpu or google.com/tpu; Vertex's name, e.g. NVIDIA_L4.
      count: How many; of a TPU the chips of one host.
      tpu: GKE's name of the TPU, e.g. tpu-v5-lite-podslice.
      topology: Of the TPU slice, e.g. 2x4.
    """

    type: str
    count: int = 1
    tpu: str | None = None
    topology: str | None = None

    def __post_init__(self):
        if self.count < 1:
            raise ValueError(f"count is {self.count}; it must be 1 or more")
        if self.type != TPU:
            if self.tpu or self.topology:
                raise ValueError(f"tpu and topology are of type {TPU}, not of {self.type}; use node_selector")
            return
        if not self.tpu or not re.fullmatch(r"\d+(x\d+){1,2}", self.topology or ""):
            raise ValueError(f"{TPU} wants tpu and topology, e.g. tpu: tpu-v5-lite-podslice and topology: 2x4")
        if (chips := math.prod(int(side) for side in self.topology.split("x"))) != self.count:
            raise ValueError(f"topology {self.topology} has {chips} chips, but count is {self.count}; {ONE_MACHINE}")


@dataclasses.dataclass(frozen=True)
class Toleration:
    """A taint of nodes that a step may run on nevertheless, as in a pod's spec.

    Attributes:
      key: Of the taint; None for all, with operator "Exists".
      operator: "Equal", which is the default, or "Exists".
      value: Of the taint, with "Equal".
      effect: Of the taint; None for all.
      toleration_seconds: How long, of effect "NoExecute"; None for ever.
    """

    key: str | None = None
    operator: Literal["Equal", "Exists"] | None = None
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    toleration_seconds: int | None = None

    def __post_init__(self):
        if self.operator == "Exists" and self.value:
            raise ValueError("value goes with operator Equal, not with Exists")
        if not self.key and self.operator != "Exists":
            raise ValueError("key is missing; without one, operator must be Exists")
        if self.toleration_seconds is not None and self.effect != "NoExecute":
            raise ValueError("toleration_seconds goes with effect NoExecute only")


@dataclasses.dataclass(frozen=True)
class Source:
    """What a step sees of a Secret or a ConfigMap: single keys, or all of it as files.

    Attributes:
      environment: Keys by the variables that hold them.
      files: Folder with a file per key.
    """

    environment: dict[str, str] = dataclasses.field(default_factory=dict)
    files: str | None = None

    def __post_init__(self):
        if not self.environment and not self.files:
            raise ValueError("nothing of it is used; set environment, {VARIABLE: key}, or files, a folder")


@dataclasses.dataclass(frozen=True)
class Retries:
    """How often a failed step is started again.

    Attributes:
      count: At most so many times.
      backoff: Before the first time: seconds or e.g. 2m.
      factor: Of the backoff from one time to the next.
      max_backoff: Longest backoff: KFP takes at most 1h.
    """

    count: int
    backoff: float | str = "1m"
    factor: float = 2.0
    max_backoff: float | str = "1h"

    def __post_init__(self):
        if self.count < 1:
            raise ValueError(f"count is {self.count}; it must be 1 or more")
        if self.factor < 1:
            raise ValueError(f"factor is {self.factor}; it must be 1 or more")
        _check(quantities.seconds, backoff=self.backoff, max_backoff=self.max_backoff)
        if quantities.seconds(self.max_backoff) > 3600:
            raise ValueError(f"max_backoff is {self.max_backoff!r}; KFP takes at most 1h")


@dataclasses.dataclass(frozen=True)
class Step:
    """What a step gets; what is not set is left to the defaults, and then to the backend.

    Attributes:
      cpu: Cores, requested and not exceeded: a number or e.g. 500m.
      memory: Requested and not exceeded: GiB or e.g. 64Gi.
      ephemeral_storage: Room for temporary files: GiB or e.g. 200Gi.
      storage_class: Of a volume of its own for `ephemeral_storage`, "default" for the cluster's; None: node's disk.
      shared_memory: Of /dev/shm: GiB or e.g. 8Gi.
      accelerator: GPUs or TPU chips.
      workers: Machines; more than one is refused.
      image: Instead of the pipeline's.
      image_pull_policy: When the image is pulled.
      image_pull_secrets: Secrets of the registry.
      environment: Variables.
      secrets: Secrets by name.
      config_maps: ConfigMaps by name.
      volumes: Folders by the PersistentVolumeClaims that are mounted there.
      node_selector: Labels of the nodes that it may run on.
      tolerations: Taints that it tolerates.
      labels: Of the pod.
      annotations: Of the pod.
      retries: Of a failed step.
      timeout: After which it has failed: seconds or e.g. 12h.
    """

    cpu: float | str | None = None
    memory: float | str | None = None
    ephemeral_storage: float | str | None = None
    storage_class: str | None = None
    shared_memory: float | str | None = None
    accelerator: Accelerator | None = None
    workers: int | None = None
    image: str | None = None
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    image_pull_secrets: tuple[str, ...] = ()
    environment: dict[str, str] = dataclasses.field(default_factory=dict)
    secrets: dict[str, Source] = dataclasses.field(default_factory=dict)
    config_maps: dict[str, Source] = dataclasses.field(default_factory=dict)
    volumes: dict[str, str] = dataclasses.field(default_factory=dict)
    node_selector: dict[str, str] = dataclasses.field(default_factory=dict)
    tolerations: tuple[Toleration, ...] = ()
    labels: dict[str, str] = dataclasses.field(default_factory=dict)
    annotations: dict[str, str] = dataclasses.field(default_factory=dict)
    retries: Retries | None = None
    timeout: float | str | None = None

    def __post_init__(self):
        _check(quantities.cores, cpu=self.cpu)
        _check(
            quantities.size,
            memory=self.memory,
            ephemeral_storage=self.ephemeral_storage,
            shared_memory=self.shared_memory,
        )
        _check(quantities.seconds, timeout=self.timeout)
        if self.workers not in (None, 1):
            raise ValueError(f"workers is {self.workers}, but {ONE_MACHINE}")

    def over(self, below: Step) -> Step:
        """This step, with what it does not set taken from another; maps are joined key by key."""
        values = {}
        for name in self.keys():
            mine, theirs = getattr(self, name), getattr(below, name)
            values[name] = {**theirs, **mine} if isinstance(mine, Mapping) else mine or theirs
        return Step(**values)

    def used(self) -> list[str]:
        """Keys that are set."""
        return [name for name in self.keys() if getattr(self, name)]

    @classmethod
    def keys(cls) -> list[str]:
        """Every key of a step."""
        return [field.name for field in dataclasses.fields(cls)]


@dataclasses.dataclass(frozen=True)
class Steps:
    """Steps of one backend.

    Attributes:
      defaults: Of every step.
      steps: By the name of the step.
    """

    defaults: Step = dataclasses.field(default_factory=Step)
    steps: dict[str, Step] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Cluster:
    """What the steps of a pipeline get.

    Attributes:
      service_account: Of the runs: one for all steps.
      defaults: Of every step.
      steps: By the name of the step.
      kubernetes: On open-source Kubeflow Pipelines only.
      vertex: On Vertex AI only.
    """

    service_account: str | None = None
    defaults: Step = dataclasses.field(default_factory=Step)
    steps: dict[str, Step] = dataclasses.field(default_factory=dict)
    kubernetes: Steps = dataclasses.field(default_factory=Steps)
    vertex: Steps = dataclasses.field(default_factory=Steps)

    def sections(self, backend: Backend) -> Iterator[tuple[str, str | None, Step]]:
        """What is stated for a backend: the path of its keys, the step, None for all, and its keys; the last holds."""
        own: Steps = getattr(self, backend)
        yield "defaults", None, self.defaults
        yield f"{backend}.defaults", None, own.defaults
        yield from ((f"steps.{name}", name, step) for name, step in self.steps.items())
        yield from ((f"{backend}.steps.{name}", name, step) for name, step in own.steps.items())

    def step(self, name: str, backend: Backend, below: Step) -> Step:
        """What a step gets.

        Args:
          name: Of the step.
          backend: Where it runs.
          below: What it needs, where the file does not say.
        """
        step = below
        for _, of, stated in self.sections(backend):
            if of in (None, name):
                step = stated.over(step)
        return step


def read_cluster(path: str | None) -> Cluster:
    """Reads a file; None is an empty one.

    Raises:
      ConfigError: If the file is no YAML, a key is unknown or there twice, or a value does not fit.
    """
    if path is None:
        return Cluster()
    with open(path, encoding="utf-8") as file:
        try:
            values = _stated(yaml.load(file, _Loader) or {})
            if not isinstance(values, Mapping):
                known = ", ".join(field.name for field in dataclasses.fields(Cluster))
                raise ValueError(f"the file must hold keys and their values; there are {known}")
            return settings.build(Cluster, values)
        except (yaml.YAMLError, ValueError) as error:
            raise settings.ConfigError(f"{path}: {error}") from error


class _Loader(yaml.SafeLoader):
    """Plain values of YAML; a key that is there twice is an error, where YAML's own rule is that the last one holds."""

    def construct_mapping(self, node, deep=False):
        keys = []
        for key, _ in node.value:
            if key.value in keys:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} is there twice", key.start_mark)
            keys.append(key.value)
        return super().construct_mapping(node, deep)


def _stated(value: Any) -> Any:
    """The same values without the keys that have none."""
    if isinstance(value, Mapping):
        return {key: _stated(item) for key, item in value.items() if item is not None}
    return [_stated(item) for item in value] if isinstance(value, list) else value


def _check(read: Any, **values: float | str | None) -> None:
    for name, value in values.items():
        if value is not None:
            try:
                read(value)
            except ValueError as error:
                raise ValueError(f"{name} {error}") from error
