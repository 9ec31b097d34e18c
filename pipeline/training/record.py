"""How a model was trained, for its card: time, steps, devices, versions. It stays with the weights it is about."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import tensorflow as tf

from components.storage.cores import cores

_FILE = "training.json"
_LIBRARIES = ("tensorflow", "keras", "tfx", "tensorflow-transform", "tensorflow-model-analysis", "apache-beam", "av")
_PROJECT = "vivit-tfx"
_SOURCES = ("schemas", "models", "components", "pipeline")


def kept_record(folder: str, strategy: tf.distribute.Strategy, *, steps: int, trained: bool, seconds: float) -> dict:
    """The record of the weights in a folder of checkpoints: made if this run trained them, else the one they have.

    Args:
      folder: Folder (any URI) of the checkpoints of these weights.
      strategy: The devices.
      steps: Optimiser steps in all.
      trained: Whether this run trained a step.
      seconds: How long the steps of this run took.
    """
    path = os.path.join(folder, _FILE)
    if not trained and has_record(folder):
        with tf.io.gfile.GFile(path) as file:
            return json.loads(file.read())
    record = {"seconds": round(seconds, 1), "steps": steps, "devices": _devices(strategy), "versions": versions()}
    tf.io.gfile.makedirs(folder)
    with tf.io.gfile.GFile(path, "w") as file:
        file.write(json.dumps(record))
    return record


def has_record(folder: str) -> bool:
    """Whether the weights in a folder of checkpoints are finished, and have their record."""
    return tf.io.gfile.exists(os.path.join(folder, _FILE))


def versions() -> dict[str, str]:
    """Versions of Python, of the libraries that decide what is trained, and of this project with a hash of its code."""
    root, digest = Path(__file__).parents[2], hashlib.sha256()
    for path in sorted(path for package in _SOURCES for path in (root / package).rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    project = f"{metadata.version(_PROJECT)}+{digest.hexdigest()[:12]}"
    return {
        _PROJECT: project,
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in _LIBRARIES},
    }


def _devices(strategy: tf.distribute.Strategy) -> list[str]:
    """E.g. "2 x NVIDIA H100", or "1 x CPU (2 cores)"."""
    replicas = strategy.num_replicas_in_sync
    for kind in ("TPU", "GPU"):
        found = tf.config.list_physical_devices(kind)
        if found:
            details: dict[str, Any] = tf.config.experimental.get_device_details(found[0]) if kind == "GPU" else {}
            return [f"{replicas} x {details.get('device_name', kind)}"]
    return [f"{replicas} x CPU ({cores()} cores)"]
