"""The ``vivit`` command: finds its commands, reads their arguments, runs one of them.

Its own are in pipeline/commands. Packages above this one add theirs by the entry points ``vivit.commands`` of setup.py;
one whose package is not installed, as benchmarks/ in the image, is left out.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from types import ModuleType

from components.storage.ending import end_process
from components.storage.room import no_room_message
from pipeline.commands import (
    check,
    convert,
    demo,
    doctor,
    manifest,
    models,
    prepare,
    recipes,
    review,
    run,
    train,
)
from pipeline.commands.inference import duplicates, predict, timeline
from pipeline.commands.serving import request, serve_config
from pipeline.console import Console, quiet
from pipeline.local.interrupt import STATUS
from pipeline.local.workdir import places
from pipeline.settings import ConfigError

_DISTRIBUTION, _GROUP = "vivit-tfx", "vivit.commands"
_COMMANDS = {
    "demo": demo,
    "run": run,
    "train": train,
    "prepare": prepare,
    "manifest": manifest,
    "check": check,
    "doctor": doctor,
    "predict": predict,
    "duplicates": duplicates,
    "timeline": timeline,
    "models": models,
    "serve-config": serve_config,
    "request": request,
    "review": review,
    "recipes": recipes,
    "convert": convert,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    arguments = _parser().parse_args(argv)
    try:
        return run_quietly(arguments.main, arguments)
    except BrokenPipeError:
        # The reader closed the pipe: vivit recipes | head.
        return 1
    except KeyboardInterrupt:
        print("vivit: stopped", file=sys.stderr)
        return STATUS


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="vivit", description="Labelled videos in, a proven ViViT out.")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, module in {**_COMMANDS, **dict(_added_commands())}.items():
        command = subparsers.add_parser(name, help=module.HELP, description=module.HELP)
        command.set_defaults(main=module.main)
        module.add_arguments(command)
    return parser


def _added_commands() -> Iterator[tuple[str, ModuleType]]:
    # Only this distribution: a search of all installed ones takes longer than everything else here.
    for entry in sorted(metadata.distribution(_DISTRIBUTION).entry_points, key=lambda entry: entry.name):
        if entry.group == _GROUP and importlib.util.find_spec(entry.module.partition(".")[0]):
            yield entry.name, importlib.import_module(entry.module)


def run_quietly(function: Callable[[argparse.Namespace, Console], int | None], arguments: argparse.Namespace) -> int:
    """Runs a command with a quiet terminal; shows an error as one message, and its traceback goes to the log.

    Logs go to ``<workdir>/logs``, or to the local folder of a run whose workdir is in a bucket.
    """
    workdir = getattr(arguments, "workdir", None)
    with quiet(_log_dir(arguments)) as console:
        try:
            return function(arguments, console) or 0
        except BrokenPipeError:
            raise
        except Exception as error:  # noqa: BLE001 (the last stop: nothing is swallowed, the traceback is logged)
            logging.getLogger().exception("stopped")
            where = f"\nThe whole log: {console.log_file}" if console.log_file else ""
            console(f"\nvivit: {no_room_message(error, workdir or os.curdir) or error}{where}")
            return 1


def _log_dir(arguments: argparse.Namespace) -> str | None:
    workdir = getattr(arguments, "workdir", None)
    if not workdir or ("://" in workdir and "local" not in arguments):
        return None
    try:
        return os.path.join(places(workdir, getattr(arguments, "local", None)).local, "logs")
    except ConfigError:
        # The command says so.
        return None


def command() -> None:
    """Runs the command of this process, and ends it."""
    status = main()
    # One that was stopped would wait for Beam's threads.
    end_process(status, at_once=status == STATUS)


if __name__ == "__main__":
    command()
