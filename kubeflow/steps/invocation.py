"""What Kubeflow says to a container, and what the container answers.

Contract: the artifacts that Kubeflow sees are empty. Each one names in its metadata where its content is, in the
workdir: Kubeflow copies the artifacts of a step to the step's own disk, which would be the whole data set, from and to
a pipeline root that TensorFlow may not be able to read.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from components.storage import files
from components.storage.ending import end_process
from models.training import termination
from pipeline.console import LOGGER

# In the metadata of an artifact: where its content is.
LOCATION = "location"
# The one input parameter of a step of TFX: JSON of ``root``, below which its artifacts are, and of ``parameters``, its
# execution properties.
PROPERTIES = "properties"

Invocation = dict[str, Any]


def artifacts_of(side: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The artifacts of ``inputs`` or ``outputs`` by key; there is one of each."""
    return {key: value["artifacts"][0] for key, value in side.get("artifacts", {}).items() if value.get("artifacts")}


def execution_id(invocation: Invocation) -> str:
    """A name that differs between executions, and is the same when one is tried again."""
    uris = sorted(artifact["uri"] for artifact in artifacts_of(invocation["outputs"]).values())
    return hashlib.sha256("\n".join(uris).encode()).hexdigest()[:16]


def answer(invocation: Invocation, output: Mapping[str, Any]) -> None:
    """Writes the output of a container to where Kubeflow wants it: a local file, or a bucket."""
    files.write(invocation["outputs"]["outputFile"], json.dumps(output).encode())


def run_step(main: Callable[[Sequence[str]], None]) -> None:
    """Runs the main function of a container; the last line of its log says in words why it failed, if it did.

    A training that receives SIGTERM, by which a node that is taken away ends its containers, saves its step and fails.
    """
    # What our steps report, whatever TFX's release does with its own log.
    ours, handler = logging.getLogger(LOGGER), logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    ours.addHandler(handler)
    ours.setLevel(logging.INFO)
    ours.propagate = False
    try:
        with termination.listening():
            main(sys.argv[1:])
    except Exception as error:  # noqa: BLE001 (the last stop: the traceback is logged)
        logging.getLogger().exception("failed")
        print(f"vivit: {error}", file=sys.stderr)
        end_process(1)
    end_process(0)
