"""``vivit run``: the pipeline on the user's videos, on this machine."""

from __future__ import annotations

import argparse

from pipeline.commands.arguments import DATA, LOADING, Echo, add_beam_argument, add_label_argument, add_recipe_arguments
from pipeline.local.interrupt import stoppable

HELP = "run the pipeline on your videos, on this machine"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("--data", required=True, help=DATA)
    parser.add_argument("--workdir", required=True, help="folder, or bucket, of everything that the run keeps")
    parser.add_argument(
        "--local", metavar="FOLDER", help="metadata and logs of a workdir in a bucket (default: vivit-runs/BUCKET/PATH)"
    )
    add_beam_argument(parser)
    add_label_argument(parser)
    add_recipe_arguments(parser, default=None, chosen="finetune or probe with --set model.init_from=…, else small")


def main(arguments: argparse.Namespace, echo: Echo) -> None:
    """Runs the pipeline."""
    echo(LOADING)
    kept = f"\nWhat is finished is kept in {arguments.workdir}; the same command goes on from there."
    with stoppable(lambda: echo(kept)):
        from pipeline.run import run

        run(
            arguments.data,
            arguments.workdir,
            recipe=arguments.recipe,
            overrides=arguments.overrides,
            beam=arguments.beam,
            label=arguments.label,
            local=arguments.local,
            echo=echo,
        )
