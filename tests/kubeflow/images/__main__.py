"""Builds and checks an image without a daemon, as root; needs debootstrap, and 10 GB of disk (25 for DEVICE=cuda).

python -m tests.kubeflow.images build FOLDER [--build-arg NAME=VALUE …]   prints the root of the last stage
python -m tests.kubeflow.images check ROOT [--lock tfx121] [--limit 2.6]
python -m tests.kubeflow.images run ROOT [--user UID:GID] [--show FOLDER] -- COMMAND …
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from tests.kubeflow.images.build import MIRROR, build, load_config
from tests.kubeflow.images.check import ROOT, Image, check


def main(argv: list[str]) -> int:
    """Does what the arguments say; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    building = commands.add_parser("build")
    building.add_argument("folder", type=Path)
    building.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE")
    building.add_argument("--mirror", default=MIRROR, help="Debian mirror")
    checking = commands.add_parser("check")
    checking.add_argument("root", type=Path)
    checking.add_argument("--lock", default="tfx121")
    checking.add_argument("--limit", type=float, default=2.6, help="GB")
    running = commands.add_parser("run")
    running.add_argument("root", type=Path)
    running.add_argument("--user", default="", metavar="UID:GID", help="in place of the image's")
    running.add_argument(
        "--show", type=Path, metavar="FOLDER", help="a folder of this machine, seen under its own path"
    )
    running.add_argument("words", nargs="+", metavar="COMMAND")
    arguments = parser.parse_args(argv)
    if arguments.command == "build":
        arguments.folder.mkdir(parents=True, exist_ok=True)
        pairs = dict(pair.split("=", 1) for pair in arguments.build_arg)
        dockerfile = ROOT / "kubeflow" / "Dockerfile"
        print(build(dockerfile, ROOT, arguments.folder.resolve(), pairs, mirror=arguments.mirror))
    elif arguments.command == "check":
        check(arguments.root.resolve(), arguments.lock, limit=arguments.limit)
    else:
        root, shown = arguments.root.resolve(), arguments.show and arguments.show.resolve()
        try:
            Image(root, load_config(root)).run(*arguments.words, user=arguments.user, shown=shown)
        except subprocess.CalledProcessError as error:
            return error.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
