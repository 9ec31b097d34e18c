"""Finds the videos of a data set below a folder, whatever the folders between, and tells how long they are."""

from __future__ import annotations

import collections
import os
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor

import tensorflow as tf

from components.decoder import Decoder, local_copy
from components.table import VIDEO_SUFFIXES, video_files
from components.video import IngestConfig, VideoError

# A header is read in milliseconds.
_PROBING = IngestConfig(max_seconds=60)


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


def durations(paths: Collection[str]) -> dict[str, float | None]:
    """Seconds of each video at any URI, as its header tells; None where it tells nothing or cannot be read.

    Each is opened behind the wall of the decoder, as it may hang or kill what opens it.
    """

    def duration(path: str) -> float | None:
        try:
            with local_copy(path, _PROBING.max_bytes) as file:
                return decoder.probe(file).duration
        except VideoError:
            return None

    with Decoder(_PROBING) as decoder, ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(paths, pool.map(duration, paths), strict=True))
