"""Memory of the processes that clips, which are megabytes, pass through from thread to thread."""

from __future__ import annotations

import contextlib
import ctypes
import os

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8


def keep_memory_flat() -> None:
    """Makes glibc return blocks of 1 MiB and more when they are freed, and use one heap per core.

    By default glibc raises that limit to the largest block it has seen freed, and has eight heaps per core. Clips and
    frames, allocated by one thread and freed by another, then leave holes in all of them, and resident memory grows for
    hours. Blocks below 1 MiB still leave some: `give_memory_back` clears them.
    """
    with contextlib.suppress(AttributeError):  # not glibc
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_THRESHOLD, 1 << 20)
        library.mallopt(_M_ARENA_MAX, os.cpu_count() or 1)


def reuse_memory() -> None:
    """Makes glibc keep blocks of up to 1 GiB when they are freed, for a process that computes on the CPU.

    Activations are tens of megabytes and come anew in each step. Where glibc returns them, the system clears every page
    of them in each step: a third of the time of training ViT-S on two cores. Resident memory stays at its highest.
    """
    with contextlib.suppress(AttributeError):  # not glibc
        library = ctypes.CDLL(None)
        # Releases before 2.35 take no more than 32 MiB.
        _ = library.mallopt(_M_MMAP_THRESHOLD, 1 << 30) or library.mallopt(_M_MMAP_THRESHOLD, 1 << 25)
        library.mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)
        library.mallopt(_M_ARENA_MAX, os.cpu_count() or 1)


def give_memory_back() -> None:
    """Gives the holes in glibc's heaps back to the system: milliseconds, so once in many clips."""
    with contextlib.suppress(AttributeError):  # not glibc
        ctypes.CDLL(None).malloc_trim(0)
