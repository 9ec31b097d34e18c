"""``vivit compile``: its arguments; the work is in kubeflow/compile.py."""

from __future__ import annotations

import argparse
import shlex

from pipeline.commands.arguments import Echo, add_beam_argument, add_label_argument, add_recipe_arguments

HELP = "write the pipeline for Kubeflow Pipelines v2"
DEFAULT_WORKDIR = "gs://YOUR-BUCKET/vivit"
DEFAULT_IMAGE = "YOUR-REGISTRY/vivit-tfx:latest"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    add_recipe_arguments(parser, default="demo")
    parser.add_argument("--output", required=True, help="YAML file to write")
    parser.add_argument("--workdir", default=DEFAULT_WORKDIR, help="bucket of everything that the runs keep")
    parser.add_argument("--image", default=DEFAULT_IMAGE, help="image made from kubeflow/Dockerfile")
    data = parser.add_mutually_exclusive_group()
    data.add_argument("--data", help="manifest or folder of classes to check and prepare in the workdir now")
    data.add_argument("--manifest", help="folder of a data set that `vivit prepare` has prepared in the workdir")
    parser.add_argument(
        "--accelerator", metavar="TYPE:COUNT", help="of the Trainer, e.g. nvidia.com/gpu:1; the Scorer has one"
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
        manifest=arguments.manifest,
        accelerator=arguments.accelerator,
        beam=arguments.beam,
        label=arguments.label,
        echo=echo,
    )
    for option, value in (("workdir", arguments.workdir), ("image", arguments.image)):
        if "YOUR-" in value:
            echo(f"Set --{option}: {value} is a placeholder.")
    if not (arguments.data or arguments.manifest):
        echo(f"Set --manifest to the folder that this command prepares and names:\n  {_prepare_command(arguments)}")


def _prepare_command(arguments: argparse.Namespace) -> str:
    """The command that prepares the data of this pipeline: the same recipe and the same slice columns."""
    from pipeline.recipe import load_recipe

    overrides = list(arguments.overrides)
    if load_recipe(arguments.recipe, overrides).data.slices is None:
        overrides.append("data.slices=[]")
    settings = [word for override in overrides for word in ("--set", override)]
    command = ["vivit", "prepare", "--recipe", arguments.recipe, *settings, "--workdir", arguments.workdir]
    return shlex.join(command) + " --data MANIFEST"
