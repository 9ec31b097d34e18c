"""``vivit review``: the page from which a reviewer decides, of a run that is over."""

from __future__ import annotations

import argparse
import webbrowser

from pipeline.commands.arguments import LOADING, Echo

HELP = "make or open the page of an evaluation, or compare any two versions"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("--workdir", required=True, help="folder of the run")
    parser.add_argument("--version", default="latest", help="version or candidate (default: the newest)")
    parser.add_argument("--against", help="another version or candidate: both are scored now on the clips of the run")
    parser.add_argument("--open", action="store_true", help="open the page in a browser")


def main(arguments: argparse.Namespace, echo: Echo) -> None:
    """Prints the path of the page, after it was made if need be."""
    from components.registry.candidates import page_path
    from components.registry.history import find, history
    from components.registry.records import RegistryError
    from components.storage import files

    entries = history(arguments.workdir)
    entry = find(entries, arguments.version)
    if not entry.candidate:
        raise RegistryError(f"version {arguments.version} has no record: it was not pushed by this pipeline")
    page = page_path(arguments.workdir, entry.candidate.id)
    if arguments.against or not files.exists(page):
        echo(LOADING)
        from pipeline.comparison import compare

        page = compare(arguments.workdir, entry, find(entries, arguments.against) if arguments.against else None)
    echo(page)
    if arguments.open:
        webbrowser.open(page if "://" in page else f"file://{page}")
