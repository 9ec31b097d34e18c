"""``vivit doctor``: what a run would need of this machine, of its workdir and of Beam's workers, before it starts."""

from __future__ import annotations

import argparse

from pipeline.commands.arguments import LOADING, Echo, add_beam_argument

HELP = "check workdir and Beam's workers before a run"
_SIGNS = {True: "ok     ", False: "MISSING", None: "-      "}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("--workdir", help="folder or bucket of the run; the workers must see it, too")
    add_beam_argument(parser)
    parser.add_argument(
        "--job",
        action=argparse.BooleanOptionalAction,
        help="run a job of one element, which looks at a worker (default: not on Dataflow, where it costs minutes)",
    )


def main(arguments: argparse.Namespace, echo: Echo) -> int:
    """Checks all; the status is 1 if something is missing."""
    echo(LOADING)
    from pipeline.doctor.checks import check

    missing = 0
    for found in check(arguments.beam, arguments.workdir, job=arguments.job):
        echo(f"{_SIGNS[found.ok]}  {found.what}: {found.words}")
        missing += found.ok is False
    echo(f"{missing} missing." if missing else "Nothing is missing.")
    return 1 if missing else 0
