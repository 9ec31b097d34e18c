"""``vivit check``: which videos are bad, and why, as ingest would find them."""

from __future__ import annotations

import argparse
import os

from pipeline.commands.arguments import add_recipe_arguments, count
from pipeline.console import Console

HELP = "find the videos that are bad, and why, as ingest would"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("path", metavar="PATH", help="folder, manifest (CSV or JSONL) or video")
    parser.add_argument("--csv", metavar="FILE", help="write a row per clip")
    parser.add_argument("--html", metavar="FILE", help="write a page with filmstrips of each class")
    parser.add_argument("--workers", type=count, default=os.cpu_count(), help="videos at a time (default: all cores)")
    add_recipe_arguments(parser, default="small")


def main(arguments: argparse.Namespace, console: Console) -> int:
    """Checks videos; shows its results even where it is stopped.

    Returns 0 if all is good; 1 if a video is bad, a folder cannot be listed, or `vivit run` would refuse the manifest;
    2 if the check cannot come to its end, or a file cannot be written; 130 if it is stopped.
    """
    console("Loading TensorFlow …")
    from pipeline.check.session import CheckRequest, run_check
    from pipeline.recipe import load_recipe
    from pipeline.settings import ConfigError

    try:
        recipe = load_recipe(arguments.recipe, arguments.overrides)
    except ConfigError as error:
        console(f"vivit: {error}")
        return 2
    request = CheckRequest(
        path=arguments.path,
        recipe_name=arguments.recipe,
        recipe=recipe,
        csv=arguments.csv,
        html=arguments.html,
        workers=arguments.workers,
    )
    return run_check(request, console)
