"""``vivit duplicates``: which clips are near duplicates, by the embeddings that ``vivit predict --embedding`` wrote."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from pipeline.commands.arguments import Echo

if TYPE_CHECKING:
    from pipeline.inference.duplicates import Duplicates

HELP = "find clips that are near duplicates, by their embeddings"
# See docs/predict.md for how it was measured.
LEAST = 0.9
# Clusters, or pairs, that are shown, and clips of a cluster.
_SHOWN, _MEMBERS = 10, 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("of", metavar="OUT", help="output of `vivit predict --output … --embedding`")
    text = "another one, by the same model: which of its clips are near duplicates of one in OUT"
    parser.add_argument("other", metavar="OTHER", nargs="?", help=text)
    text = f"least similarity of a pair, above 0 and below 1 (default: {LEAST})"
    parser.add_argument("--least", type=_similarity, default=LEAST, help=text)
    parser.add_argument("--output", metavar="FILE", help="JSON Lines to write, a row for each pair, the surest first")


def main(arguments: argparse.Namespace, echo: Echo) -> int:
    """Finds near duplicates; 2 if nothing could be searched."""
    from components.storage import files
    from pipeline.inference.duplicates import find_duplicates
    from pipeline.settings import ConfigError

    try:
        found = find_duplicates(arguments.of, arguments.other, least=arguments.least)
        if arguments.output:
            lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found.rows)
            files.write(arguments.output, lines.encode())
    except (ConfigError, files.FileError) as error:
        echo(f"vivit: {error}")
        return 2
    echo(_in_words(found))
    return 0


def _in_words(found: Duplicates) -> str:
    from pipeline.console import printable

    lines = [f"{found.compared} clips compared: {found.count} pairs of near duplicates"]
    if found.clusters:
        lines[0] += f", which make {len(found.clusters)} clusters of {sum(map(len, found.clusters))} clips"
    if found.left_out:
        lines.append(f"  {found.left_out} clips are not compared: their embedding is zero or not finite")
    if found.count > len(found.rows):
        lines.append(f"  only the surest {len(found.rows)} pairs are written")
    if found.clusters:
        shown = [(f"{len(cluster)} clips", [clip["id"] for clip in cluster]) for cluster in found.clusters]
    else:
        shown = [(f"{row['similarity']:.3f}", [row["clip"], row["of"]]) for row in found.rows]
    for text, ids in shown[:_SHOWN]:
        more = ", …" if len(ids) > _MEMBERS else ""
        lines.append(f"  {text}: {', '.join(map(printable, ids[:_MEMBERS]))}{more}")
    if len(shown) > _SHOWN:
        lines.append(f"  … and {len(shown) - _SHOWN} more")
    return "\n".join(lines)


def _similarity(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a similarity above 0 and below 1")
    return value
