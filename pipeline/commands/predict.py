"""``vivit predict``: the class of any video."""

from __future__ import annotations

import argparse
import json

from pipeline.commands.arguments import Echo, seconds

HELP = "name the class of any video"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("--model", required=True, help="SavedModel, or folder of numbered versions")
    parser.add_argument("--json", action="store_true", help="one JSON object per video, with all classes and logits")
    parser.add_argument("--start", type=seconds, default=0.0, help="predict from this second of each video on")
    parser.add_argument("--end", type=seconds, help="predict up to this second of each video (default: its end)")
    parser.add_argument("videos", nargs="+", metavar="VIDEO")


def main(arguments: argparse.Namespace, echo: Echo) -> int:
    """Names the class of each video; 1 if one cannot be read or decoded."""
    from pipeline.inference.predict import predict

    status = 0
    for prediction in predict(arguments.model, arguments.videos, start=arguments.start, end=arguments.end):
        status = 1 if prediction.error else status
        echo(json.dumps(prediction.as_json(), ensure_ascii=False) if arguments.json else prediction.in_words())
    return status
