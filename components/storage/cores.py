"""How many processors there are to compute with."""

import os


def cores() -> int:
    """Processors that this process may run on, by its affinity where the system knows one, as Linux does."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
