"""Folders that cannot be listed."""

import os


def make_unlistable(folder):
    """Makes folders below one, the last of which nobody lists: root may read any, but not by a path of 4096 bytes."""
    deep = os.open(folder, os.O_RDONLY)
    for _ in range(17):
        os.mkdir("d" * 250, dir_fd=deep)
        deep = os.open("d" * 250, os.O_RDONLY, dir_fd=deep)
