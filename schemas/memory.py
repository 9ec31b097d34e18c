"""Memory of the processes that clips, which are megabytes, pass through from thread to thread."""

from __future__ import annotations

import contextlib
import ctypes

_M_MMAP_THRESHOLD = -3


def keep_memory_flat() -> None:
    """Has glibc give blocks of 1 MiB and more back to the system when they are freed; it costs no speed.

    By default glibc raises that limit to the largest block it has seen freed. Clips, allocated by one thread and freed
    by another, then leave holes in the heaps of all threads, and resident memory grows for hours.
    """
    with contextlib.suppress(AttributeError):  # not glibc
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 1 << 20)
