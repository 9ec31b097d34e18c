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
from typing import NamedTuple

from pipeline.settings import ConfigError

_LOCK, _METADATA = "in-use.json", "metadata.db"
# Letters of a command that are shown.
_WIDEST = 80
# TFX finds its files by patterns, in which these have a meaning.
_PATTERN_SIGNS = "*?[]"


class Places(NamedTuple):
    """Where a run keeps what it makes.

    Attributes:
      workdir: Its artifacts, checkpoints and pushed models: an absolute path, or a URI.
      local: Its lock, its logs and TFX's metadata while it runs: a folder of this machine.
    """

    workdir: str
    local: str

    @property
    def metadata(self) -> str:
        """The database of TFX's metadata."""
        return os.path.join(self.local, _METADATA)

    def fetch_metadata(self) -> None:
        """Gets the metadata of a workdir in a bucket as the last step left them, on whatever machine that ran."""
        if self.local == self.workdir:
            return
        from components.storage import files

        there = os.path.join(self.workdir, _METADATA)
        if files.exists(there):
            files.download(there, self.metadata)

    def keep_metadata(self) -> None:
        """Puts the metadata into a workdir in a bucket, from where another machine goes on."""
        if self.local == self.workdir:
            return
        from components.storage import files

        with open(self.metadata, "rb") as file:
            files.write(os.path.join(self.workdir, _METADATA), file.read())


def places(workdir: str, local: str | None = None) -> Places:
    """Where a run of this machine with a workdir keeps what it makes.

    Args:
      workdir: Folder of this machine, where everything is then; or any URI.
      local: Folder of this machine for a workdir at a URI; by default ``vivit-runs/BUCKET/PATH``.

    Raises:
      ConfigError: If TFX cannot read files in a folder of this name, or `local` has no meaning.
    """
    if "://" not in workdir:
        if local:
            raise ConfigError(f"--local is for a workdir in a bucket; --workdir {workdir} is on this machine itself")
        folder = local_workdir(workdir)
        return Places(folder, folder)
    workdir = workdir.rstrip("/")
    return Places(workdir, local_workdir(local or os.path.join("vivit-runs", workdir.partition("://")[2])))


def local_workdir(workdir: str) -> str:
    """The absolute path of a workdir that must be on this machine.

    Raises:
      ConfigError: If it is at a URI, or TFX cannot read files in a folder of this name.
    """
    if "://" in workdir:
        raise ConfigError(f"--workdir {workdir} is no folder of this machine, and this command needs one")
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
