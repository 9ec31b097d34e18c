"""``vivit train``: one machine of those that train what a pipeline waits for."""

from __future__ import annotations

import argparse

from pipeline.commands.arguments import LOADING, Echo
from pipeline.local.interrupt import stoppable

HELP = "train, as one of several machines, what a pipeline with train.elsewhere=true waits for"
# Of sysexits.h: a temporary failure, so that whoever started the command can tell it from a mistake.
AGAIN = 75


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument(
        "--workdir", required=True, help="the pipeline's, in a bucket or a folder that all machines see"
    )


def main(arguments: argparse.Namespace, echo: Echo) -> int:
    """Trains; returns 75 where the same command has to be run again, to go on from what is saved."""
    echo(LOADING)
    with stoppable(
        lambda: echo(f"\nWhat is saved is kept in {arguments.workdir}; the same command goes on from there.")
    ):
        from models.training.loop import InterruptedTrainingError
        from pipeline.training.worker import train_job

        try:
            train_job(arguments.workdir)
        except InterruptedTrainingError as error:
            echo(f"\nvivit: {error}")
            return AGAIN
    echo("Trained; the pipeline goes on from here.")
    return 0
