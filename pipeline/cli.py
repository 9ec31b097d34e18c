"""The ``vivit`` command: its arguments. What the commands do is in pipeline/commands.py.

Packages above this one add commands through the entry point group ``vivit.commands``: each names a module with `HELP`,
`add_arguments` and `main`.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from importlib import metadata

from components.importers import FORMATS
from pipeline import commands
from pipeline.console import quiet

COMMANDS_GROUP = "vivit.commands"

_DATA = "manifest (CSV or JSONL) or folder with a sub-folder per class"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    arguments = _parser().parse_args(argv)
    try:
        return arguments.main(arguments)
    except BrokenPipeError:
        # Whoever read the output has read enough: vivit recipes | head.
        return 1
    except KeyboardInterrupt:
        print("vivit: stopped", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="vivit", description="Labelled videos in, a proven ViViT out.")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, text: str, function: Callable, to=subparsers) -> argparse.ArgumentParser:
        command = to.add_parser(name, help=text, description=text)
        command.set_defaults(main=lambda arguments: run_quietly(function, arguments))
        return command

    demo = add("demo", "make real videos, run the whole pipeline on them", commands.demo)
    demo.add_argument("--workdir", default="demo", help="folder of the videos and the run (default: demo)")
    add_beam_argument(demo)
    add_recipe_arguments(demo, default="demo")

    run = add("run", "run the pipeline on your videos, on this machine", commands.run)
    run.add_argument("--data", required=True, help=_DATA)
    run.add_argument("--workdir", required=True, help="folder of everything that the run keeps")
    add_beam_argument(run)
    add_recipe_arguments(run, default="small")

    prepare = add("prepare", "check a manifest and write what a compiled pipeline reads", commands.prepare)
    prepare.add_argument("--data", required=True, help=_DATA)
    prepare.add_argument("--workdir", required=True, help="folder or bucket of the compiled pipeline")
    add_recipe_arguments(prepare, default="small")

    manifest = add("manifest", "make a manifest from the annotations of a public data set", commands.manifest)
    manifest.add_argument("format", choices=FORMATS, help="the data set; folder: a sub-folder per class; table: ours")
    manifest.add_argument("annotations", nargs="+", metavar="ANNOTATIONS", help="annotation files of all splits")
    manifest.add_argument("--videos", help="folder of the videos, whatever its sub-folders (default: the annotations')")
    manifest.add_argument("--output", required=True, help="manifest to write (.csv)")

    check = add("check", "tell which videos are bad, and why, as ingest would find them", commands.check)
    check.add_argument("path", metavar="PATH", help="folder, manifest (CSV or JSONL) or video")
    check.add_argument("--csv", metavar="FILE", help="write a row per clip")
    check.add_argument("--html", metavar="FILE", help="write a page with filmstrips of each class")
    check.add_argument("--workers", type=_count, default=os.cpu_count(), help="videos at a time (default: all cores)")
    add_recipe_arguments(check, default="small")

    ablate = add("ablate", "what each part of a training recipe is worth: a table", commands.ablate)
    ablate.add_argument("--data", help=f"{_DATA} (default: the demo's videos)")
    ablate.add_argument("--workdir", default="ablation", help="folder of the runs and the table (default: ablation)")
    add_recipe_arguments(ablate, default="demo_two_heads")

    predict = add("predict", "name the class of any video", commands.predict)
    predict.add_argument("--model", required=True, help="SavedModel, or folder of numbered versions")
    predict.add_argument("--json", action="store_true", help="one JSON object per video, with all classes and logits")
    predict.add_argument("videos", nargs="+", metavar="VIDEO")

    add("recipes", "list the recipes: what they cost and what to expect", commands.recipes)

    convert = add("convert", "turn a checkpoint into our weights and a SavedModel", commands.convert)
    convert.add_argument("source", help="scenic TrainState, image ViT .npz, or Hugging Face safetensors")
    convert.add_argument("--output", required=True, help="folder to write")
    convert.add_argument("--classes", help="text file of class names, in the order of the logits")
    add_recipe_arguments(convert, default="kinetics400_b_fe")

    parity = add("parity", "hold ours against numbers made by the reference", commands.parity)
    parity.add_argument("folder", help="golden folder: <kind>/<case>/")

    bench = subparsers.add_parser("bench", help="measure speed and memory").add_subparsers(
        required=True, metavar="WHAT"
    )
    model = add("model", "a network against stock Keras layers", commands.bench_model, to=bench)
    model.add_argument("--mode", choices=("forward", "train"), default="train")
    data = add("input", "the training input against bare JPEG decoding", commands.bench_input, to=bench)
    train = add("train", "the training loop against its compiled step alone", commands.bench_train, to=bench)
    ingest = add(
        "ingest", "videos to examples, against the bare loop that decodes and encodes", commands.bench_ingest, to=bench
    )
    ingest.add_argument("--clips", type=_count, default=300, help="clips of 10 s 340x256 of a turn (default: 300)")
    ingest.add_argument("--workers", type=_count, default=2, help="parallel decoders (default: 2)")
    segments = add("segments", "segments of a long video, against one decode of it", commands.bench_segments, to=bench)
    segments.add_argument("--minutes", type=_count, default=30, help="length of the video (default: 30)")
    segments.add_argument("--segments", type=_count, default=200, help="how many (default: 200)")
    for command in (model, data, train):
        command.add_argument("--batch", type=int, default=4, help="clips per step (default: 4)")
    for command in (model, data, train, ingest, segments):
        command.add_argument("--json", action="store_true")
        add_recipe_arguments(command, default="small" if command in (model, train) else "kinetics400_b_fe")

    for entry in sorted(metadata.entry_points(group=COMMANDS_GROUP), key=lambda entry: entry.name):
        module = entry.load()
        module.add_arguments(add(entry.name, module.HELP, module.main))
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return int(text)


def add_recipe_arguments(parser: argparse.ArgumentParser, default: str) -> None:
    """Adds --recipe and --set."""
    parser.add_argument("--recipe", default=default, help=f"name of a recipe, see `vivit recipes` (default: {default})")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides", help="change one setting"
    )


def add_beam_argument(parser: argparse.ArgumentParser) -> None:
    """Adds --beam."""
    text = "an option of Beam for the steps, e.g. runner=FlinkRunner; see docs/scale.md (default: this machine)"
    parser.add_argument("--beam", action="append", default=[], metavar="KEY=VALUE", help=text)


def run_quietly(function: Callable[[argparse.Namespace, commands.Say], int | None], arguments) -> int:
    """Runs a command with a quiet terminal; an error is told in words, its traceback goes to the log.

    Logs go to ``<workdir>/logs`` where the command has a local workdir that it may write.
    """
    workdir = getattr(arguments, "workdir", None)
    log_dir = os.path.join(workdir, "logs") if workdir and "://" not in workdir else None
    with quiet(log_dir) as say:
        try:
            return function(arguments, say) or 0
        except BrokenPipeError:
            raise
        except Exception as error:  # noqa: BLE001 (the last stop: nothing is swallowed, the traceback is logged)
            logging.getLogger().exception("stopped")
            where = f"\nThe whole log: {say.log_file}" if say.log_file else ""
            say(f"\nvivit: {error}{where}")
            return 1


def command() -> None:
    """Runs the command of this process, and ends it."""
    status = main()
    if "tensorflow_io" in sys.modules:
        # Once its S3 file system was used, it aborts a process that ends as usual, with status 134.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


if __name__ == "__main__":
    command()
