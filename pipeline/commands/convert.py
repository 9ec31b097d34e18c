"""``vivit convert``: a published checkpoint as our weights and a SavedModel."""

from __future__ import annotations

import argparse
import dataclasses
import os
import shlex

from pipeline.commands.arguments import Echo, add_recipe_arguments
from pipeline.console import typed_command

HELP = "turn a checkpoint into our weights and a SavedModel"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("source", help="scenic TrainState, .npz or safetensors, our own model")
    parser.add_argument("--output", required=True, help="folder to write")
    parser.add_argument("--classes", help="text file of class names, in the order of the logits")
    add_recipe_arguments(parser, default="kinetics400_b_fe")


def main(arguments: argparse.Namespace, echo: Echo) -> None:
    """Converts the checkpoint."""
    echo("Loading TensorFlow …")
    from components.media.config import DecodeConfig, part
    from components.storage.files import local_copy
    from models.serving.convert import convert, read_class_names
    from pipeline.plan.weights import locate_weights, with_network
    from pipeline.recipe import heads_of, load_recipe

    recipe = load_recipe(arguments.recipe, arguments.overrides)
    if recipe.model.network == "weights":
        recipe = with_network(recipe.starting_from(arguments.source), os.curdir).starting_from(None)
    heads = heads_of(recipe)
    with local_copy(locate_weights(arguments.source).path) as checkpoint:
        report = convert(
            checkpoint,
            arguments.output,
            config=recipe.model,
            clip=recipe.clip,
            views=recipe.views,
            ingest=dataclasses.asdict(part(DecodeConfig, recipe.ingest)),
            num_classes=dict(zip(heads, recipe.data.num_classes, strict=False)),
            classes=read_class_names(arguments.classes, heads) if arguments.classes else None,
            name=arguments.source,
        )
    echo(str(report))
    echo(f"Try it:\n  {typed_command()} predict --model {shlex.quote(arguments.output)} VIDEO")
