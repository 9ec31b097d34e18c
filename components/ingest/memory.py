"""Memory of the processes that clips, which are megabytes, pass through from thread to thread."""

from __future__ import annotations

import contextlib
import ctypes
import os

_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8


def keep_memory_flat() -> None:
    """Makes glibc return blocks of 1 MiB and more when they are freed, and use one heap per core; it costs no speed.

    By default glibc raises that limit to the largest block it has seen freed, and has eight heaps per core. Clips and
    frames, allocated by one thread and freed by another, then leave holes in all of them, and resident memory grows for
    hours. Blocks below 1 MiB still leave some: `give_memory_back` clears them.
    """
    with contextlib.suppress(AttributeError):  # not glibc
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_THRESHOLD, 1 << 20)
        library.mallopt(_M_ARENA_MAX, os.cpu_count() or 1)


def give_memory_back() -> None:
    """Gives the holes in glibc's heaps back to the system: milliseconds, so once in many clips."""
    with contextlib.suppress(AttributeError):  # not glibc
        ctypes.CDLL(None).malloc_trim(0)
