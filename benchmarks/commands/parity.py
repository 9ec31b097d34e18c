"""``vivit parity``: compares our numbers with those of the reference."""

from __future__ import annotations

import argparse
import collections

from pipeline.commands.arguments import Echo

HELP = "compare ours with numbers made by the reference"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("folder", help="golden folder: <kind>/<case>/")


def main(arguments: argparse.Namespace, echo: Echo) -> int:
    """Compares; 1 if a case fails or is not run."""
    echo("Loading TensorFlow …")
    from benchmarks.parity.networks import KINDS, check_folder
    from benchmarks.parity.preprocessing import check_preprocessing_case
    from benchmarks.parity.training import check_train_case

    kinds = {**KINDS, "preprocessing": check_preprocessing_case, "train": check_train_case}
    counts = collections.Counter()
    for row in check_folder(arguments.folder, kinds):
        counts[row.verdict] += 1
        figures = row.reason if row.error is None else f"{row.error:8.1e} of {row.tolerance:.0e}"
        echo(f"{row.verdict:8s} {row.kind:14s} {row.case:34s} {row.compared:40s} {figures}")
    echo(", ".join(f"{count} {verdict}" for verdict, count in counts.items()))
    return int(set(counts) != {"pass"})
