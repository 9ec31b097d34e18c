"""The ``vivit`` command.

Heavy imports wait until a command runs, so that ``vivit --help`` answers at once. Packages above this one add commands
through the entry point group ``vivit.commands``: each names a module with `HELP`, `add_arguments` and `main`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from importlib import metadata

from pipeline.console import quiet

COMMANDS_GROUP = "vivit.commands"

_LOADING = "Loading TensorFlow and TFX …"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    arguments = _parser().parse_args(argv)
    try:
        return arguments.main(arguments)
    except KeyboardInterrupt:
        print("vivit: stopped", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="vivit", description="Labelled videos in, a proven ViViT out.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="make real video, run the whole pipeline on it")
    demo.add_argument("--workdir", default="demo", help="folder of the data and the run (default: demo)")
    demo.set_defaults(main=_demo)

    run = commands.add_parser("run", help="run the pipeline on your videos, on this machine")
    run.add_argument("--data", required=True, help="manifest (CSV or JSONL) or folder with a sub-folder per class")
    run.add_argument("--workdir", required=True, help="folder of everything that the run keeps")
    add_recipe_arguments(run, default="small")
    run.set_defaults(main=_run)

    prepare = commands.add_parser("prepare", help="check a manifest and write what a compiled pipeline reads")
    prepare.add_argument("--data", required=True, help="manifest (CSV or JSONL) or folder with a sub-folder per class")
    prepare.add_argument("--workdir", required=True, help="folder or bucket of the compiled pipeline")
    add_recipe_arguments(prepare, default="small")
    prepare.set_defaults(main=_prepare)

    predict = commands.add_parser("predict", help="name the class of any video")
    predict.add_argument("--model", required=True, help="SavedModel, or folder of numbered versions")
    predict.add_argument("--json", action="store_true", help="one JSON object per video, with all classes")
    predict.add_argument("videos", nargs="+", metavar="VIDEO")
    predict.set_defaults(main=_predict)

    recipes = commands.add_parser("recipes", help="list the recipes")
    recipes.set_defaults(main=_recipes)

    for entry in sorted(metadata.entry_points(group=COMMANDS_GROUP), key=lambda entry: entry.name):
        module = entry.load()
        added = commands.add_parser(entry.name, help=module.HELP)
        module.add_arguments(added)
        added.set_defaults(main=module.main)
    return parser


def add_recipe_arguments(parser: argparse.ArgumentParser, default: str) -> None:
    """Adds --recipe and --set."""
    parser.add_argument("--recipe", default=default, help=f"name of a recipe, see `vivit recipes` (default: {default})")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides", help="change one setting"
    )


def _demo(arguments: argparse.Namespace) -> int:
    with quiet(os.path.join(arguments.workdir, "logs")) as console:

        def work() -> None:
            from pipeline.demo_data import write_demo_data

            console.say("Making the demo's videos …")
            manifest = write_demo_data(os.path.join(arguments.workdir, "videos"))
            console.say(_LOADING)
            from pipeline.run import run

            run(str(manifest), arguments.workdir, recipe="demo", say=console.say)

        return guarded(console, work)


def _run(arguments: argparse.Namespace) -> int:
    with quiet(os.path.join(arguments.workdir, "logs")) as console:

        def work() -> None:
            console.say(_LOADING)
            from pipeline.run import run

            run(
                arguments.data,
                arguments.workdir,
                recipe=arguments.recipe,
                overrides=arguments.overrides,
                say=console.say,
            )

        return guarded(console, work)


def _prepare(arguments: argparse.Namespace) -> int:
    with quiet(None) as console:

        def work() -> None:
            console.say(_LOADING)
            from pipeline import config, data

            recipe = config.load_recipe(arguments.recipe, arguments.overrides)
            prepared, manifest = data.prepare(arguments.data, arguments.workdir, recipe)
            console.say(f"{len(manifest.clips)} clips, heads {', '.join(prepared.heads)}: {prepared.manifest_dir}")
            console.say(f"schema: {prepared.schema_file}")

        return guarded(console, work)


def _predict(arguments: argparse.Namespace) -> int:
    with quiet(None) as console:
        failed = []

        def work() -> None:
            from pipeline.predict import predict

            for prediction in predict(arguments.model, arguments.videos):
                if prediction.error:
                    failed.append(prediction.video)
                if arguments.json:
                    console.say(json.dumps(prediction.as_json(), ensure_ascii=False))
                else:
                    console.say(prediction.in_words())

        return guarded(console, work) or int(bool(failed))


def _recipes(_: argparse.Namespace) -> int:
    with quiet(None) as console:

        def work() -> None:
            from pipeline.catalogue import catalogue

            for line in catalogue():
                console.say(line)

        return guarded(console, work)


def guarded(console, work) -> int:
    """Runs `work`; an error that the user can mend is told in words, any other with its traceback in the log."""
    try:
        work()
    except Exception as error:  # noqa: BLE001 (the last stop: nothing is swallowed, the traceback is in the log)
        import logging

        logging.getLogger().exception("stopped")
        where = f"\nThe whole log: {console.log_file}" if console.log_file else ""
        console.say(f"\nvivit: {type(error).__name__}: {error}{where}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
