"""``vivit recipes``: the recipes, what they cost and what to expect."""

from __future__ import annotations

import argparse

from pipeline.commands.arguments import Echo

HELP = "list the recipes: what they cost and what to expect"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command has no arguments."""


def main(_: argparse.Namespace, echo: Echo) -> None:
    """Lists the recipes."""
    from pipeline.catalogue import catalogue

    for line in catalogue():
        echo(line)
