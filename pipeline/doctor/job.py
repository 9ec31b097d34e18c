"""A job of one element, which says what a worker of Beam is, and writes that to where the steps' workers must write."""

from __future__ import annotations

import json
import platform
from importlib import metadata

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from components.storage import files
from components.storage.code_version import code_version


def versions() -> dict[str, str]:
    """What a worker must have as the machine that starts the job has it."""
    return {
        "code": code_version("components.ingest.example_gen"),
        "Python": ".".join(platform.python_version_tuple()[:2]),
        "Beam": metadata.version("apache-beam"),
        "TensorFlow": metadata.version("tensorflow"),
    }


def run_job(arguments: list[str], path: str) -> None:
    """Writes the `versions` of a worker to a file.

    Args:
      arguments: Beam's.
      path: Any URI that the workers see.
    """
    with beam.Pipeline(options=PipelineOptions(arguments)) as pipeline:
        _ = pipeline | beam.Create([path]) | beam.Map(_write_versions)


def _write_versions(path: str) -> None:
    files.write(path, json.dumps(versions()).encode())
