"""What each step requests from the cluster: cores, memory, and the Trainer's accelerator."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2
from tfx.components import FileBasedExampleGen
from tfx.dsl.components.base.base_component import BaseComponent

from pipeline.settings import ConfigError

ResourceSpec = pipeline_spec_pb2.PipelineDeploymentConfig.PipelineContainerSpec.ResourceSpec

# (cores, GiB). Steps that are not named only move metadata.
RESOURCES = {
    "VideoExampleGen": (8, 16),
    "StatisticsGen": (4, 16),
    "Transform": (8, 32),
    "Trainer": (16, 64),
    "ClipHasher": (8, 16),
    "Scorer": (16, 64),
    "Evaluator": (8, 32),
    "ModelGate": (2, 16),
    "ModelCanary": (4, 16),
    "Review": (4, 16),
    "Pusher": (1, 4),
}


def set_resources(components: Iterable, accelerator: str | None) -> None:
    """Gives each step its resources.

    Args:
      components: The nodes of the pipeline.
      accelerator: ``TYPE:COUNT`` of the Trainer, e.g. ``nvidia.com/gpu:1``; one of them scores. None for a CPU.

    Raises:
      ConfigError: If the accelerator is not of that form.
    """
    for component in components:
        if component.id not in RESOURCES or not isinstance(component, BaseComponent):
            continue
        cores, memory = RESOURCES[component.id]
        spec = ResourceSpec(cpu_limit=cores, memory_limit=memory)
        if component.id in ("Trainer", "Scorer") and accelerator:
            device_type, _, count = accelerator.rpartition(":")
            if not device_type or not count.isdigit() or int(count) < 1:
                raise ConfigError(f"--accelerator {accelerator}: wanted TYPE:COUNT, e.g. nvidia.com/gpu:1")
            spec.accelerator.type = device_type
            spec.accelerator.count = int(count) if component.id == "Trainer" else 1
        component.with_platform_config(spec)


def add_example_gen_resources(spec: dict[str, Any], components: Iterable) -> None:
    """Adds to a compiled spec what TFX's step builder leaves out: the resources of a file-based ExampleGen."""
    for component in components:
        if isinstance(component, FileBasedExampleGen):
            container = spec["deploymentSpec"]["executors"][f"{component.id}_executor"]["container"]
            container["resources"] = json_format.MessageToDict(component.platform_config)
