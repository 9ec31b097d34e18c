"""``vivit predict``: the classes of any videos: a few, in words; or a bucket of them, into a table."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipeline.commands.arguments import Echo, add_beam_argument, count, seconds
from pipeline.local.interrupt import stoppable

if TYPE_CHECKING:
    from components.manifest.listing import ListedClip

HELP = "name the class of any video"
# Lines of what is wrong that are shown of each kind.
_SHOWN = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("--model", required=True, help="SavedModel, or folder of numbered versions")
    parser.add_argument(
        "--output", help="folder, or bucket, for Parquet and JSON Lines; where it was killed, it goes on"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object per video, with all classes and logits")
    parser.add_argument("--start", type=seconds, help="predict from this second of each VIDEO on")
    parser.add_argument("--end", type=seconds, help="predict up to this second of each VIDEO (default: its end)")
    parser.add_argument("--one-view", action="store_true", help="see the centre view alone: faster, and less accurate")
    parser.add_argument("--embedding", action="store_true", help="give the features before the head, too")
    parser.add_argument("--decoders", type=count, help="videos decoded at a time (default: one per core)")
    add_beam_argument(parser)
    videos = parser.add_mutually_exclusive_group(required=True)
    videos.add_argument("--data", help="manifest (CSV or JSONL), folder or pattern of videos")
    videos.add_argument("videos", nargs="*", default=[], metavar="VIDEO")


def main(arguments: argparse.Namespace, echo: Echo) -> int:
    """Predicts videos.

    Returns 0 if all are predicted; 1 if some are lost, each with a line; 2 if nothing can be predicted, as there is no
    model, no data or no room for the output.
    """
    from components.manifest.table import ManifestError
    from components.storage.files import FileError
    from pipeline.inference.model import ModelError
    from pipeline.settings import ConfigError

    try:
        clips, problems = _clips(arguments)
        for problem in problems[:_SHOWN]:
            echo(problem)
        if len(problems) > _SHOWN:
            echo(f"… and {len(problems) - _SHOWN} more rows that cannot be used")
        lost = _into_table(clips, arguments, echo) if arguments.output else _in_words(clips, arguments, echo)
    except (FileNotFoundError, ModelError, ManifestError, ConfigError, FileError) as error:
        echo(f"vivit: {error}")
        return 2
    return int(bool(lost or problems))


def _clips(arguments: argparse.Namespace) -> tuple[list[ListedClip], Sequence[str]]:
    """The clips of the command line, and what of it cannot be used."""
    from components.manifest.listing import ListedClip, list_clips
    from pipeline.settings import ConfigError

    if arguments.videos:
        return [ListedClip(path, path, "", arguments.start, arguments.end, path) for path in arguments.videos], ()
    if (arguments.start, arguments.end) != (None, None):
        raise ConfigError("--start and --end are for videos of the command line; a manifest has columns of these names")
    listing = list_clips(arguments.data)
    return listing.clips, [*listing.problems, *(f"cannot list {path}: {why}" for path, why in listing.skipped.items())]


def _in_words(clips: Sequence[ListedClip], arguments: argparse.Namespace, echo: Echo) -> int:
    """Predicts clips one group after the other; returns how many are lost."""
    from pipeline.inference.predictor import Predictor

    lost = 0
    options = {name: getattr(arguments, name) for name in ("decoders", "one_view", "embedding")}
    videos = len({clip.file for clip in clips})
    with stoppable(lambda: None), Predictor.load(arguments.model, videos=videos, **options) as predictor:
        for one in (one for group in predictor.predict(predictor.groups(clips)) for one in group):
            lost += one.error is not None
            classes = predictor.classes
            echo(json.dumps(one.as_json(classes), ensure_ascii=False) if arguments.json else one.in_words(classes))
    return lost


def _into_table(clips: Sequence[ListedClip], arguments: argparse.Namespace, echo: Echo) -> int:
    """Predicts clips as a Beam job; returns how many are lost."""
    from pipeline.beam import check_reachable, step_args
    from pipeline.inference.job import JobConfig, run_job

    output = arguments.output
    check_reachable(arguments.beam, [output, arguments.model, *(clip.file for clip in clips)])
    options = {name: getattr(arguments, name) for name in ("model", "output", "decoders", "one_view", "embedding")}
    echo(f"Predicting {len(clips)} clips …")
    with stoppable(lambda: echo(f"\nWhat is predicted is kept in {output}; the same command goes on from there.")):
        summary = run_job(clips, JobConfig(**options), step_args(arguments.beam))
    echo(_in_lines(summary, output))
    return summary["lost"]


def _in_lines(summary: dict[str, Any], output: str) -> str:
    before = "" if not summary["before"] else f", {summary['before']} of them before"
    if summary["before"] == summary["predicted"]:
        before = before and ", all of them before"
    lines = [f"{summary['predicted']} clips predicted{before}, {summary['lost']} lost; see {output}"]
    lines += [f"  {number} x {reason}" for reason, number in summary["reasons"].items()]
    if summary["lost"]:
        lines.append(f"  To try these again: --data {os.path.join(output, 'quarantine.jsonl')} --output another folder")
    return "\n".join(lines)
