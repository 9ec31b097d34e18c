"""The output files of a check: checked before hours are spent, and written at the end."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from components.manifest.listing import ListedClip
from components.storage import files


class OutputError(ValueError):
    """A requested file cannot be written, or would replace an input."""


def prepare_outputs(paths: Iterable[str], source: str, clips: Sequence[ListedClip]) -> None:
    """Checks that files can be written, before hours are spent: makes their folders, and leaves their content.

    Raises:
      OutputError: If one cannot be written, or is what is checked, or another of `paths`.
    """
    taken = {_real(source), *(_absolute(clip.file) for clip in clips)}
    for path in paths:
        if taken & {_real(path), _absolute(path)}:
            raise OutputError(f"{path} is what is checked, or is written already: name another file to write")
        taken.add(_real(path))
        try:
            files.check_writable(path)
        except files.FileError as error:
            raise OutputError(f"cannot write {path}: {error.reason}") from error


def _absolute(path: str) -> str:
    return path if "://" in path else os.path.abspath(path)


def _real(path: str) -> str:
    return path if "://" in path else os.path.realpath(path)


def write_text(path: str, text: str) -> None:
    """Writes a file at any URI; a name of a video that is not Unicode keeps its bytes as \\udcff.

    Raises:
      OutputError: If it cannot be written.
    """
    try:
        files.write(path, text.encode("utf-8", "backslashreplace"))
    except files.FileError as error:
        raise OutputError(f"cannot write {path}: {error.reason}") from error
