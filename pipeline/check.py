"""Checks videos as ingest would: every clip is decoded whole, by the same code, and its file described.

Contract: nothing is raised for a bad video. Each clip is answered by a `Checked`, which says what is wrong with it.
"""

from __future__ import annotations

import collections
import csv
import dataclasses
import io
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import tensorflow as tf
from PIL import Image

from components.decoder import Decoder, local_copy
from components.importers.tables import read_tables
from components.manifest import absolute_path
from components.probe import Probe
from components.table import VIDEO_SUFFIXES, ManifestError, split_named, video_files
from components.video import IngestConfig, VideoError

# Frames as small as they are shown; rate and limits are those of ingest.
_CONFIG = IngestConfig(short_side=96, jpeg_quality=80)
_THUMBNAILS = 8
# On a page, over all classes; some 15 kB each.
_FILMSTRIPS = 120
_THUMBNAIL_SIZE = (192, 96)
_GAP = 2
_TABLE_SUFFIXES = (".csv", ".jsonl")


@dataclasses.dataclass(frozen=True)
class Checkable:
    """One clip to check: `path` as it is shown, `file` as it is opened; times in seconds, None for all of the video."""

    path: str
    file: str
    label: str = ""
    start: float | None = None
    end: float | None = None


@dataclasses.dataclass(frozen=True)
class Checked:
    """What was found.

    Attributes:
      clip: The clip.
      probe: What its file tells of itself.
      duration: Seconds: of what was decoded, or as the file tells where it is bad.
      stage: Where it went wrong (open, decode, segment); empty if it is good.
      reason: What is wrong, in words; empty if it is good.
      filmstrip: JPEG of evenly spaced frames beside each other; empty where none was wanted.
    """

    clip: Checkable
    probe: Probe
    duration: float | None
    stage: str = ""
    reason: str = ""
    filmstrip: bytes = b""

    @property
    def is_bad(self) -> bool:
        """Whether ingest would lose the clip."""
        return bool(self.reason)


def clips_to_check(source: str) -> list[Checkable]:
    """The clips of a folder (any layout; the class is the folder), a manifest, or a single file.

    Raises:
      ManifestError: If there is nothing to check, or a row of the manifest cannot be read.
    """
    source = source.rstrip("/")
    if not tf.io.gfile.isdir(source):
        return _rows_of(source) if source.lower().endswith(_TABLE_SUFFIXES) else _single(source)
    paths = video_files(source).videos
    if not paths:
        raise ManifestError(source, [f"it has no video, by the suffixes {', '.join(VIDEO_SUFFIXES)}"])
    return [Checkable(path, os.path.join(source, path), _class_of(path)) for path in paths]


def filmstrips_per_class(clips: Sequence[Checkable]) -> int:
    """How many clips of each class a page shows: all of a few, one of each class of many."""
    return max(1, _FILMSTRIPS // len({clip.label for clip in clips}))


def _single(source: str) -> list[Checkable]:
    if not tf.io.gfile.exists(source):
        raise ManifestError(source, ["no such file or folder"])
    return [Checkable(source, source)]


def _rows_of(source: str) -> list[Checkable]:
    rows = read_tables([source]).clips
    if not rows:
        raise ManifestError(source, ["it lists no clip"])
    folder = os.path.dirname(source)
    return [
        Checkable(path, absolute_path(folder, path), ", ".join(row.labels.values()), row.start, row.end)
        for row in rows
        for path in (*row.names, *row.source_names)
    ]


def _class_of(path: str) -> str:
    """The first folder that is no split."""
    folders = [part for part in path.split("/")[:-1] if not split_named(part)]
    return folders[0] if folders else ""


def check(clips: Sequence[Checkable], *, workers: int, filmstrips: int) -> Iterator[Checked]:
    """Checks clips, those of one file together, on `workers` threads; answers file by file, in order.

    Args:
      clips: What to check.
      workers: Files that are decoded at a time. Each has a decoder process.
      filmstrips: How many good clips of each class get a filmstrip.
    """
    files = collections.defaultdict(list)
    for clip in clips:
        files[clip.file].append(clip)
    left = collections.Counter(dict.fromkeys((clip.label for clip in clips), filmstrips))
    with Decoder(_CONFIG) as decoder, ThreadPoolExecutor(workers) as pool:
        try:
            for checked in pool.map(lambda file: _check_file(file, files[file], decoder, filmstrips > 0), files):
                for found in checked:
                    shown = left[found.clip.label] > 0 and not found.is_bad
                    left[found.clip.label] -= shown
                    yield found if shown else dataclasses.replace(found, filmstrip=b"")
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _check_file(file: str, clips: Sequence[Checkable], decoder: Decoder, with_filmstrip: bool) -> list[Checked]:
    try:
        with local_copy(file, _CONFIG.max_bytes) as local:
            told, checked = decoder.probe(local), {}
            for index, stored in decoder.store_segments(local, [(clip.start or 0.0, clip.end) for clip in clips]):
                if isinstance(stored, VideoError):
                    checked[index] = Checked(clips[index], told, told.duration, stored.stage, stored.reason)
                else:
                    filmstrip = _filmstrip(stored.frames) if with_filmstrip else b""
                    checked[index] = Checked(clips[index], told, stored.duration, filmstrip=filmstrip)
            return [checked[index] for index in range(len(clips))]
    except VideoError as error:
        return [Checked(clip, Probe(), None, error.stage, error.reason) for clip in clips]


def _filmstrip(frames: Sequence[bytes]) -> bytes:
    """Evenly spaced frames (JPEG) beside each other, as one JPEG; a frame that is shown twice stands once."""
    middles = [(2 * number + 1) * len(frames) // (2 * _THUMBNAILS) for number in range(_THUMBNAILS)]
    thumbnails = [Image.open(io.BytesIO(jpeg)) for jpeg in dict.fromkeys(frames[index] for index in middles)]
    for thumbnail in thumbnails:
        thumbnail.thumbnail(_THUMBNAIL_SIZE)
    height, tile = thumbnails[0].height, thumbnails[0].width + _GAP
    strip = Image.new("RGB", (tile * len(thumbnails) - _GAP, _THUMBNAIL_SIZE[1]), "grey")
    for number, thumbnail in enumerate(thumbnails):
        strip.paste(thumbnail, (number * tile, (strip.height - height) // 2))
    jpeg = io.BytesIO()
    strip.save(jpeg, "JPEG", quality=75)
    return jpeg.getvalue()


COLUMNS = ("path", "label", "start", "end", "codec", "width", "height", "fps", "duration", "rotation", "verdict")


def as_csv(checked: Sequence[Checked]) -> str:
    """One row a clip: `COLUMNS`, and stage and reason of what is wrong."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow([*COLUMNS, "stage", "reason"])
    for found in checked:
        clip, told = found.clip, found.probe
        row = [clip.path, clip.label, clip.start, clip.end, told.codec, told.width, told.height, told.fps]
        verdict = "bad" if found.is_bad else "good"
        table.writerow([*row, found.duration, told.rotation, verdict, found.stage, found.reason])
    return text.getvalue()


def write_text(path: str, text: str) -> None:
    """Writes a file at any URI; a name of a video that is not Unicode keeps its bytes as \\udcff."""
    with tf.io.gfile.GFile(path, "wb") as file:
        file.write(text.encode("utf-8", "backslashreplace"))
