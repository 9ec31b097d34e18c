"""Finds the videos of a data set below a folder, whatever the folders between."""

from __future__ import annotations

import collections
import os

import tensorflow as tf

from components.table import VIDEO_SUFFIXES, video_files


class VideoFolder:
    """The videos below a folder, found by name.

    Publishers, downloaders and converters differ in folders and suffixes, not in the names of the files.
    """

    def __init__(self, root: str):
        self.root = root
        self._paths, _ = video_files(root)
        self._exact = set(self._paths)
        self._by_stem = collections.defaultdict(list)
        for path in self._paths:
            self._by_stem[_without_suffix(path).rpartition("/")[2]].append(path)

    def __len__(self) -> int:
        return len(self._paths)

    def find(self, name: str) -> list[str]:
        """Paths below the root that are called `name`: a whole path, or its last parts with or without the suffix.

        A URI or an absolute path is found if it is there.
        """
        if "://" in name or os.path.isabs(name):
            return [name] if tf.io.gfile.exists(name) else []
        if name in self._exact:
            return [name]
        wanted = "/" + _without_suffix(name)
        candidates = self._by_stem.get(wanted.rpartition("/")[2], ())
        return [path for path in candidates if ("/" + _without_suffix(path)).endswith(wanted)]


def _without_suffix(path: str) -> str:
    stem, suffix = os.path.splitext(path)
    return stem if suffix.lower() in VIDEO_SUFFIXES else path
