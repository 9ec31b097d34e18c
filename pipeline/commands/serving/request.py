"""``vivit request``: asks a model server about videos."""

from __future__ import annotations

import argparse
import json

from pipeline.commands.arguments import Echo, count, seconds
from pipeline.local.interrupt import stoppable

HELP = "ask a model server about videos"
# `schemas.serving` has them, and imports TensorFlow.
_SIGNATURES = ("frames", "frames_one_view", "embedding")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    add_server_arguments(parser)
    parser.add_argument("--at-a-time", type=count, default=4, metavar="N", help="videos at a time (default: 4)")
    parser.add_argument("--json", action="store_true", help="one JSON object per video, with all outputs")
    parser.add_argument("--start", type=seconds, default=0.0, help="ask about each video from this second on")
    parser.add_argument("--end", type=seconds, help="ask about each video up to this second (default: its end)")
    parser.add_argument("videos", nargs="+", metavar="VIDEO")


def add_server_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what `client_of` reads, and --model."""
    text = "grpc://host:8500, http://host:8501 (REST), or kserve+http://host:8000"
    parser.add_argument("--server", required=True, metavar="ADDRESS", help=text)
    text = "the model, or a folder with its assets.extra/vivit.json: how its videos are decoded"
    parser.add_argument("--model", required=True, help=text)
    parser.add_argument("--name", default="vivit", help="the model's name in the server (default: vivit)")
    parser.add_argument("--signature", choices=_SIGNATURES, default="frames", help="what is asked (default: frames)")
    parser.add_argument("--label", default="", help="label of the version, such as stable (default: the newest)")
    text = "seconds that one answer may take (default: 300)"
    parser.add_argument("--deadline", type=seconds, default=300.0, metavar="SECONDS", help=text)
    text = "largest request, MB, where a proxy takes less than the server (default: 2147)"
    parser.add_argument("--max-message-mb", type=float, default=2147.0, metavar="MB", help=text)


def client_of(arguments: argparse.Namespace):
    """The client that the arguments describe."""
    from pipeline.serving.client import Client

    options = {name: getattr(arguments, name) for name in ("name", "signature", "label", "max_message_mb", "deadline")}
    return Client(arguments.server, **options)


def main(arguments: argparse.Namespace, echo: Echo) -> int:
    """Asks about each video; 1 if one is not answered."""
    from pipeline.inference.model import decode_config
    from pipeline.serving.asking import ask

    config, status = decode_config(arguments.model), 0
    part = {"start": arguments.start, "end": arguments.end, "at_a_time": arguments.at_a_time}
    with stoppable(lambda: None), client_of(arguments) as client:
        for answer in ask(client, config, arguments.videos, **part):
            status = 1 if answer.error else status
            echo(json.dumps(answer.as_json(), ensure_ascii=False) if arguments.json else answer.in_words())
    return status
