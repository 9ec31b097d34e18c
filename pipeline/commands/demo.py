"""``vivit demo``: `vivit run` on videos that it makes."""

from __future__ import annotations

import argparse

from pipeline.commands import run
from pipeline.commands.arguments import (
    Echo,
    add_beam_argument,
    add_label_argument,
    add_recipe_arguments,
    make_demo_videos,
)

HELP = "make real videos, run the whole pipeline on them"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("--workdir", default="demo", help="folder of the videos and the run (default: demo)")
    add_beam_argument(parser)
    add_label_argument(parser)
    add_recipe_arguments(parser, default="demo")


def main(arguments: argparse.Namespace, echo: Echo) -> None:
    """Makes the demo's videos and runs the pipeline on them."""
    arguments.data, arguments.local = make_demo_videos(arguments.workdir, echo), None
    run.main(arguments, echo)
