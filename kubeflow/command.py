"""``vivit compile``: its arguments; the work is in kubeflow/compile.py."""

from __future__ import annotations

import argparse

from pipeline.commands.arguments import DATA, Echo, add_beam_argument, add_label_argument, add_recipe_arguments

HELP = "write the pipeline for Kubeflow Pipelines v2"
DEFAULT_WORKDIR = "gs://YOUR-BUCKET/vivit"
DEFAULT_IMAGE = "YOUR-REGISTRY/vivit-tfx:latest"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    add_recipe_arguments(parser, default="demo")
    parser.add_argument("--output", required=True, help="YAML file to write")
    parser.add_argument("--workdir", default=DEFAULT_WORKDIR, help="bucket of everything that the runs keep")
    parser.add_argument("--image", default=DEFAULT_IMAGE, help="image made from kubeflow/Dockerfile")
    parser.add_argument(
        "--data", default="", help=f"{DATA}, or folder that `vivit prepare` has named; a run may be given another"
    )
    parser.add_argument(
        "--accelerator",
        metavar="TYPE:COUNT",
        help="of the Trainer, e.g. nvidia.com/gpu:4; the other steps that run the network have one",
    )
    parser.add_argument("--cluster", metavar="FILE", help="what each step gets, in YAML: see docs/cluster.md")
    parser.add_argument(
        "--backend",
        choices=("kubernetes", "vertex"),
        default="kubernetes",
        help="open-source Kubeflow Pipelines (default) or Vertex AI",
    )
    add_beam_argument(parser)
    add_label_argument(parser)


def main(arguments: argparse.Namespace, echo: Echo) -> None:
    """Compiles the pipeline."""
    echo("Loading TFX and KFP …")
    from kubeflow.compile import compile_recipe

    compile_recipe(
        arguments.recipe,
        arguments.overrides,
        output=arguments.output,
        workdir=arguments.workdir,
        image=arguments.image,
        data=arguments.data,
        accelerator=arguments.accelerator,
        cluster=arguments.cluster,
        backend=arguments.backend,
        beam=arguments.beam,
        label=arguments.label,
        echo=echo,
    )
    for option, value in (("workdir", arguments.workdir), ("image", arguments.image)):
        if "YOUR-" in value:
            echo(f"Set --{option}: {value} is a placeholder.")
    if arguments.data and "://" not in arguments.data and "://" in arguments.workdir:
        echo(f"--data {arguments.data} is a path, which the cluster must see under the same name.")
    if not arguments.data:
        echo("Give each run its parameter data, or compile with --data.")
