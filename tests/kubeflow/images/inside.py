"""Runs inside an image, given to its Python: what is installed, what is missing, and whether our modules import.

Prints JSON; imports nothing of ours but what it checks.
"""

import importlib
import importlib.metadata
import json
import pkgutil
import re
import sys

from packaging.requirements import Requirement

PACKAGES = ("schemas", "models", "components", "pipeline", "kubeflow")
# What TFX and Beam start by name: the entry point of a compiled step, the executors, the worker of a portable runner.
STARTED_BY_NAME = (
    "tfx.orchestration.kubeflow.v2.container.kubeflow_v2_run_executor",
    *(
        f"tfx.components.{name}.executor"
        for name in ("statistics_gen", "example_validator", "transform", "trainer", "evaluator", "pusher")
    ),
    "apache_beam.runners.worker.sdk_worker_main",
    "apache_beam.runners.worker.worker_pool_main",
    "apache_beam.runners.dataflow.dataflow_runner",
    "apache_beam.io.gcp.gcsfilesystem",
    "apache_beam.io.aws.s3filesystem",
    "boto3",
    "kfp",
    "s3fs",
    "adlfs",
)
# Google's client of Vertex AI is left out.
OF_WHO_SUBMITS = {"kubeflow.submit.vertex"}


def canonical(name):
    """A distribution's name as indexes spell it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def wants(distribution):
    """The requirements of a distribution on this machine, without its extras."""
    found = map(Requirement, distribution.requires or ())
    return [each for each in found if each.marker is None or each.marker.evaluate({"extra": ""})]


def unmet(installed):
    """Requirements that nothing installed meets: (who wants it, name, what is wrong)."""
    for distribution in importlib.metadata.distributions():
        for wanted in wants(distribution):
            name = canonical(wanted.name)
            if name not in installed:
                yield canonical(distribution.name), name, "missing"
            elif not wanted.specifier.contains(installed[name], prereleases=True):
                yield canonical(distribution.name), name, f"{installed[name]}, wanted {wanted.specifier}"


def failures():
    """The modules that do not import, with the reason."""
    names = {
        module.name
        for package in PACKAGES
        for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}.")
    }
    for name in (*sorted(names - OF_WHO_SUBMITS), *STARTED_BY_NAME):
        try:
            importlib.import_module(name)
        except Exception as error:  # noqa: BLE001 (any reason is a failure)
            yield name, repr(error)


if __name__ == "__main__":
    present = {canonical(each.name): each.version for each in importlib.metadata.distributions()}
    report = {"installed": present, "unmet": list(unmet(present)), "failures": list(failures())}
    json.dump(report, sys.stdout)
