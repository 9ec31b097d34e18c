"""The folder that a run of this machine keeps everything in: which names it may have, and whose it is meanwhile."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import sys
import textwrap
import time
from collections.abc import Iterator

from pipeline.settings import ConfigError

_LOCK = "in-use.json"
# Letters of a command that are shown.
_WIDEST = 80
# TFX finds its files by patterns, in which these have a meaning.
_PATTERN_SIGNS = "*?[]"


def local_workdir(workdir: str) -> str:
    """The absolute path of a workdir.

    Raises:
      ConfigError: If it is at a URI, or TFX cannot read files in a folder of this name.
    """
    if "://" in workdir:
        raise ConfigError(
            f"--workdir {workdir} is no folder of this machine: vivit run reads --data from anywhere, and keeps its "
            "models and metadata here; vivit compile makes a pipeline that keeps them in a bucket"
        )
    path = os.path.abspath(workdir)
    signs = [sign for sign in _PATTERN_SIGNS if sign in path]
    if signs:
        raise ConfigError(
            f"--workdir {path}: TFX cannot read files below a name with {' '.join(signs)}; choose another"
        )
    return path


@contextlib.contextmanager
def held(workdir: str) -> Iterator[None]:
    """Makes the folder and keeps other runs out of it; the system ends this, too, where the process is killed.

    Raises:
      ConfigError: If the folder cannot be made, or another process holds it: says which.
    """
    path = os.path.join(workdir, _LOCK)
    try:
        os.makedirs(workdir, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise ConfigError(f"--workdir {workdir}: cannot write there: {error.strerror}") from error
    with open(descriptor, "r+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(
                f"--workdir {workdir} is in use{_in_words(file.read())}; wait until it ends, or choose another workdir"
            ) from None
        holder = {"command": sys.argv, "pid": os.getpid(), "host": socket.gethostname(), "since": time.time()}
        file.truncate(0)
        json.dump(holder, file)
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def _in_words(text: str) -> str:
    """Who holds a workdir; empty where its holder is just starting or ending."""
    try:
        holder = json.loads(text)
        since = time.strftime("%Y-%m-%d %H:%M", time.localtime(holder["since"]))
        program, *arguments = holder["command"]
        command = textwrap.shorten(" ".join([os.path.basename(program), *arguments]), _WIDEST, placeholder=" …")
        return f" by process {holder['pid']} on {holder['host']} since {since} ({command})"
    except (ValueError, LookupError, TypeError):
        return ""
