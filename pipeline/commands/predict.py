"""``vivit predict``: the class of any video."""

from __future__ import annotations

import argparse
import json

from pipeline.commands.arguments import Echo

HELP = "name the class of any video"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("--model", required=True, help="SavedModel, or folder of numbered versions")
    parser.add_argument("--json", action="store_true", help="one JSON object per video, with all classes and logits")
    parser.add_argument("videos", nargs="+", metavar="VIDEO")


def main(arguments: argparse.Namespace, echo: Echo) -> int:
    """Names the class of each video; 1 if one cannot be decoded."""
    from pipeline.inference.predict import predict

    status = 0
    for prediction in predict(arguments.model, arguments.videos):
        status = 1 if prediction.error else status
        echo(json.dumps(prediction.as_json(), ensure_ascii=False) if arguments.json else prediction.in_words())
    return status
