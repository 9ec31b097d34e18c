"""``vivit serve-config``: the files that TensorFlow Serving serves the versions of a run with."""

from __future__ import annotations

import argparse

from pipeline.commands.arguments import Echo, gigabytes

HELP = "write TensorFlow Serving's configuration for the versions of a run"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    # Not `workdir`: to look at a run writes no log into it.
    parser.add_argument("--workdir", dest="run", required=True, metavar="RUN", help="folder of the run")
    parser.add_argument("--output", required=True, metavar="DIR", help="folder for the files")
    parser.add_argument("--name", default="vivit", help="the model's name in the server (default: vivit)")
    text = "where the server finds the versions (default: /models/NAME; a run at gs://: its own folder)"
    parser.add_argument("--base-path", metavar="PATH", help=text)
    text = "keep the label `stable` at this version, while `canary` is the newest (default: both are)"
    parser.add_argument("--stable", default="", metavar="VERSION", help=text)
    text = "memory of the server, GB (default: 8)"
    parser.add_argument("--memory-gb", type=gigabytes, default=8.0, metavar="GB", help=text)
    parser.add_argument("--image", help="image of the server (default: a release of tensorflow/serving)")


def main(arguments: argparse.Namespace, echo: Echo) -> None:
    """Writes the files."""
    from components.storage.folders import artifact_store_problem
    from pipeline.serving.server_config import IMAGE
    from pipeline.serving.writing import write_server_config
    from pipeline.settings import ConfigError

    if problem := artifact_store_problem(arguments.run):
        raise ConfigError(problem)
    written = write_server_config(
        arguments.run,
        arguments.output,
        name=arguments.name,
        base_path=arguments.base_path,
        stable=arguments.stable,
        memory_gb=arguments.memory_gb,
        image=arguments.image or IMAGE,
    )
    echo(str(written))
