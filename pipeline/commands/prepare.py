"""``vivit prepare``: checks a manifest and writes what a compiled pipeline reads."""

from __future__ import annotations

import argparse

from pipeline.commands.arguments import DATA, LOADING, Echo, add_recipe_arguments

HELP = "check a manifest and write what a compiled pipeline reads"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("--data", required=True, help=DATA)
    parser.add_argument("--workdir", required=True, help="folder or bucket of the compiled pipeline")
    add_recipe_arguments(parser, default="small")


def main(arguments: argparse.Namespace, echo: Echo) -> None:
    """Prepares a data set."""
    echo(LOADING)
    from pipeline.data import prepare
    from pipeline.recipe import load_recipe

    recipe = load_recipe(arguments.recipe, arguments.overrides)
    prepared, manifest = prepare(arguments.data, arguments.workdir, recipe)
    echo(f"{len(manifest.clips)} clips, heads {', '.join(prepared.heads)}: {prepared.manifest_dir}")
    echo(f"schema: {prepared.schema_file}")
