"""``vivit timeline``: what happens when in long videos."""

from __future__ import annotations

import argparse

from pipeline.commands.arguments import seconds
from pipeline.console import Console
from pipeline.timeline.config import SegmentConfig

HELP = "find what happens when in long videos"
FORMATS = ("json", "html", "vtt", "srt", "csv", "activitynet", "labelstudio", "elan")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("--model", required=True, help="SavedModel, or folder of numbered versions")
    parser.add_argument("--output", required=True, metavar="FOLDER", help="where the files of each video are written")
    parser.add_argument(
        "--format",
        action="append",
        choices=FORMATS,
        dest="formats",
        help="a file of each video to write; may be given several times (default: json and html)",
    )
    parser.add_argument(
        "--window", type=seconds, help="seconds that the model sees at a time (default: as in training)"
    )
    parser.add_argument("--hop", type=seconds, help="seconds from one window to the next (default: half a window)")
    usual = SegmentConfig()
    for name, kind, text in (
        ("on", float, "score that a segment reaches, 0 to 1"),
        ("off", float, "score that it keeps"),
        ("least", seconds, "seconds of the shortest segment"),
    ):
        default = getattr(usual, name)
        parser.add_argument(f"--{name}", type=kind, default=default, help=f"{text} (default: {default:g})")
    text = "standard deviation of the smoothing over time, seconds (default: an eighth of a window)"
    parser.add_argument("--smooth", type=seconds, help=text)
    parser.add_argument(
        "--background", action="append", default=[], metavar="CLASS", help="a class that means that nothing happens"
    )
    parser.add_argument("--truth", metavar="MANIFEST", help="score the segments against those of a manifest")
    parser.add_argument("videos", nargs="+", metavar="VIDEO")


def main(arguments: argparse.Namespace, console: Console) -> int:
    """Writes the files of each video; 1 if a video could not be read to its end, 2 if nothing could begin."""
    console("Loading TensorFlow …")
    from pipeline.timeline.session import TimelineRequest, make_timelines

    try:
        settings = SegmentConfig(
            on=arguments.on,
            off=arguments.off,
            least=arguments.least,
            smooth=arguments.smooth,
            background=tuple(arguments.background),
        )
    except ValueError as error:
        console(f"vivit: {error}")
        return 2
    request = TimelineRequest(
        videos=arguments.videos,
        model=arguments.model,
        output=arguments.output,
        formats=arguments.formats or ("json", "html"),
        window=arguments.window,
        hop=arguments.hop,
        settings=settings,
        truth=arguments.truth,
    )
    return make_timelines(request, console)
