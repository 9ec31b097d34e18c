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
    from pipeline.plan.plan import plan_run, plan_text
    from pipeline.plan.weights import with_network
    from pipeline.recipe import load_recipe

    recipe = with_network(load_recipe(arguments.recipe, arguments.overrides), arguments.workdir)
    prepared, manifest = prepare(arguments.data, arguments.workdir, recipe)
    echo(plan_text(plan_run(manifest, recipe, prepared.first_weights.words)))
    echo(f"manifest: {prepared.manifest_dir}")
    echo(f"schema: {prepared.schema_file}")
