"""Arguments that several commands have."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable

Echo = Callable[[str], None]

DATA = "manifest (CSV or JSONL) or folder with a sub-folder per class"
LOADING = "Loading TensorFlow and TFX …"


def add_recipe_arguments(parser: argparse.ArgumentParser, default: str | None, chosen: str = "") -> None:
    """Adds --recipe and --set; without a default, `chosen` says how the command chooses."""
    text = f"name of a recipe, see `vivit recipes` (default: {default or chosen})"
    parser.add_argument("--recipe", default=default, help=text)
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides", help="change one setting"
    )


def add_beam_argument(parser: argparse.ArgumentParser) -> None:
    """Adds --beam."""
    text = "an option of Beam for the steps, e.g. runner=FlinkRunner; see docs/scale.md (default: this machine)"
    parser.add_argument("--beam", action="append", default=[], metavar="KEY=VALUE", help=text)


def add_label_argument(parser: argparse.ArgumentParser) -> None:
    """Adds --label."""
    parser.add_argument("--label", default="", help="what you call the run: the review page and `vivit models` show it")


def count(text: str) -> int:
    """Type of an argument that is a count, 1 or more."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return int(text)


def seconds(text: str) -> float:
    """Type of an argument that is a time in seconds."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time in seconds")
    return value


def gigabytes(text: str) -> float:
    """Type of an argument that is an amount of memory in GB."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not an amount in GB")
    return value


def make_demo_videos(workdir: str, echo: Echo) -> str:
    """Makes the demo's videos below the workdir; returns the path of their manifest."""
    from pipeline.demo_data import write_demo_data
    from pipeline.local.workdir import held, local_workdir

    with held(local_workdir(workdir)):
        echo("Making the demo's videos …")
        return str(write_demo_data(os.path.join(workdir, "videos")))
