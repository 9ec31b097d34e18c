"""Finds the videos of a data set below a folder, whatever the folders between, and reads how long they are."""

from __future__ import annotations

import collections
import functools
import os
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor

from components.manifest.importers.annotations import normal_path
from components.manifest.reader import absolute_path
from components.manifest.table import VIDEO_SUFFIXES, video_files
from components.media.config import DecodeConfig
from components.media.decoder import Decoder, local_copy
from components.media.video import VideoError
from components.storage import files
from components.storage.record_files import is_record, split_path

# A header is read in milliseconds.
_PROBING = DecodeConfig(max_seconds=60)


class VideoFolder:
    """The videos below a folder, found by name.

    Publishers, downloaders and converters differ in folders and suffixes, not in the names of the files.

    Attributes:
      root: The folder. It is listed when a video is looked for in it.
      skipped: Folders in it that could not be listed, with the reason.
    """

    def __init__(self, root: str, *, by_name: bool = True):
        """Without `by_name` a video is found by its whole path alone."""
        self.root, self._by_name = root, by_name
        self._whole_root = normal_path(absolute_path(root, "")) + "/"
        self.skipped: dict[str, str] = {}
        self._exists = functools.cache(files.exists)
        self._by_end: dict[int, dict[str, list[str]]] = {}

    def __len__(self) -> int:
        return len(self._paths)

    @functools.cached_property
    def _paths(self) -> dict[str, None]:
        videos, _, self.skipped = video_files(self.root)
        return dict.fromkeys(videos)

    def find(self, name: str, folder: str = "") -> list[str]:
        """Paths below the root that are called `name`: a whole path, or its last parts with or without the suffix.

        A URI, an absolute path and a record are found if they exist, and so is a path from `folder`, which is tried
        first.
        """
        if "://" in name or os.path.isabs(name):
            return self._there(name)
        beside = self._there(absolute_path(folder, name)) if folder else []
        if beside or is_record(name):
            return beside or self._there(absolute_path(self.root, name))
        if not self._by_name:
            return []
        name = os.path.normpath(name)
        if name in self._paths:
            return [name]
        return self._ending(name.count("/") + 1).get(_without_suffix(name), [])

    def _there(self, path: str) -> list[str]:
        below = self.below(path)
        return [below] if below in self._paths or self._exists(split_path(normal_path(path))[0]) else []

    def below(self, path: str) -> str:
        """A whole path as one from the root, if it is below it."""
        return normal_path(path).removeprefix(self._whole_root)

    def _ending(self, parts: int) -> dict[str, list[str]]:
        """Videos by the last parts of their paths, without suffix."""
        if parts not in self._by_end:
            self._by_end[parts] = collections.defaultdict(list)
            for path in self._paths:
                self._by_end[parts]["/".join(_without_suffix(path).split("/")[-parts:])].append(path)
        return self._by_end[parts]


def _without_suffix(path: str) -> str:
    stem, suffix = os.path.splitext(path)
    return stem if suffix.lower() in VIDEO_SUFFIXES else path


def durations(paths: Collection[str]) -> dict[str, float | None]:
    """Seconds of each video at any URI, as its header states; None where it states none or cannot be read.

    Each is opened in the decoder's child process, as it may hang or kill what opens it.
    """

    def duration(path: str) -> float | None:
        try:
            with local_copy(path, _PROBING.max_bytes) as file:
                return decoder.probe(file).duration
        except VideoError:
            return None

    with Decoder(_PROBING) as decoder, ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(paths, pool.map(duration, paths), strict=True))
