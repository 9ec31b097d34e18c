"""``vivit manifest``: a manifest from a public set's annotations and a folder of videos."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from components.manifest.importers import FORMATS
from pipeline.commands.arguments import Echo

HELP = "make a manifest from the annotations of a public data set"

# Number of names shown of a long list.
_MANY = 12


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("format", choices=FORMATS, help="the data set; folder: a sub-folder per class; table: ours")
    parser.add_argument("annotations", nargs="+", metavar="ANNOTATIONS", help="annotation files of all splits")
    parser.add_argument("--videos", help="folder of the videos, whatever its sub-folders (default: the annotations')")
    parser.add_argument("--output", required=True, help="manifest to write (.csv)")


def main(arguments: argparse.Namespace, echo: Echo) -> None:
    """Imports the data set."""
    echo("Loading TensorFlow …")
    from components.manifest.importers.importing import import_data_set

    imported = import_data_set(
        arguments.format, arguments.annotations, videos=arguments.videos, output=arguments.output
    )
    splits = ", ".join(f"{len(imported.manifest.split(split))} {split}" for split in ("train", "eval", "test"))
    echo(f"{arguments.output}: {len(imported.manifest.clips)} clips ({splits})")
    for head, names in imported.classes.items():
        echo(f"  {head}: {len(names)} classes ({_first(names)}), in {arguments.output}.classes.txt")
    for reason, clips in imported.left_out.items():
        echo(f"  left out, {reason}: {len(clips)} ({_first(clips)}), in {arguments.output}.missing.txt")
    for note in imported.notes:
        echo(f"  {note}")


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:_MANY]) + (", …" if len(names) > _MANY else "")
