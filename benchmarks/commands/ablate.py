"""``vivit ablate``: what each part of a training recipe is worth."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os

from pipeline.commands.arguments import DATA, LOADING, Echo, add_recipe_arguments, make_demo_videos

HELP = "what each part of a training recipe is worth: a table"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("--data", help=f"{DATA} (default: the demo's videos)")
    parser.add_argument("--workdir", default="ablation", help="folder of the runs and the table (default: ablation)")
    add_recipe_arguments(parser, default="demo_two_heads")


def main(arguments: argparse.Namespace, echo: Echo) -> None:
    """Trains a recipe without regularisation and with one more part of it each time; writes a table of accuracies."""
    data = arguments.data or make_demo_videos(arguments.workdir, echo)
    echo(LOADING)
    from benchmarks.ablation import ablate, as_table, variants
    from pipeline.recipe import load_recipe

    recipe = load_recipe(arguments.recipe, arguments.overrides)
    rows = ablate(data, arguments.workdir, variants(recipe), echo)
    table = as_table(rows, str(recipe.views))
    figures = {"recipe": dataclasses.asdict(recipe), "rows": [dataclasses.asdict(row) for row in rows]}
    for name, text in (("ablation.md", table + "\n"), ("ablation.json", json.dumps(figures, indent=1))):
        with open(os.path.join(arguments.workdir, name), "w", encoding="utf-8") as file:
            file.write(text)
    echo("\n" + table)
