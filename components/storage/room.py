"""A full disk: what to say, and how to be able to say it."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import shutil
import tempfile

# TensorFlow and Beam pass the system's words on as text; the last are SQLite's.
_FULL = (*map(os.strerror, (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)), "database or disk is full")


def no_room_message(error: BaseException | None, workdir: str) -> str:
    """Says which disk has no room left and what to do, if that is why an error was raised; empty otherwise.

    Args:
      error: An error of any library.
      workdir: Folder (any URI) that was written to; temporary files may have filled another disk.
    """
    if not _is_full(error):
        return ""
    folders = [folder for folder in (workdir, tempfile.gettempdir()) if os.path.isdir(folder)]
    by_disk = {os.stat(folder).st_dev: folder for folder in reversed(folders)}
    free = [f"{folder} ({shutil.disk_usage(folder).free / 1e6:,.0f} MB free)" for folder in by_disk.values()]
    disks = f"the disk of {' or of '.join(reversed(free))}" if free else workdir
    return f"no room is left on {disks}: make room there, and run the same command again; what is finished is kept"


def _is_full(error: BaseException | None) -> bool:
    while error:
        if any(text in str(error) for text in _FULL):
            return True
        error = error.__cause__ or error.__context__
    return False


class LogStream(io.TextIOBase):
    """A log as a stream of text. What its disk has no room for is dropped: the work that is logged must go on, or end.

    A worker of Beam prints the error of a step before it reports it: if that print failed, the run would wait for ever.
    """

    encoding = "utf-8"

    def __init__(self, descriptor: int):
        """Writes to an open file, which stays open."""
        self._descriptor = descriptor

    def fileno(self) -> int:
        """The open file."""
        return self._descriptor

    def writable(self) -> bool:
        """True."""
        return True

    def write(self, text: str) -> int:
        """Writes what there is room for."""
        with contextlib.suppress(OSError):
            os.write(self._descriptor, text.encode(errors="replace"))
        return len(text)
