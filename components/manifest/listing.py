"""The clips of a folder, a manifest, a pattern or a single file, in any layout, with labels or without.

Contract: nothing is decoded or opened, and what cannot be used is returned beside the rest, in words.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from components.manifest.columns import read_columns, with_our_names
from components.manifest.folders import LayoutError, read_layout
from components.manifest.reader import absolute_path, clip_name
from components.manifest.rows import parse_row
from components.manifest.table import VIDEO_SUFFIXES, ManifestError, file_rows, split_named, video_files
from components.storage import files

_TABLE_SUFFIXES = (".csv", ".jsonl")


@dataclasses.dataclass(frozen=True, slots=True)
class ListedClip:
    """One clip.

    Attributes:
      path: Path of its video as it is shown.
      file: Path of its video as it is opened.
      label: Its classes.
      start, end: Seconds; None for all of the video.
      id: Its name in the manifest.
    """

    path: str
    file: str
    label: str = ""
    start: float | None = None
    end: float | None = None
    id: str = ""


class Listing(NamedTuple):
    """The clips of a source, why some of its sub-folders are not listed, by their path, and its rows that are wrong."""

    clips: list[ListedClip]
    skipped: Mapping[str, str]
    problems: list[str]


def list_clips(source: str, slices: Sequence[str] | None = None) -> Listing:
    """The clips of a folder (any layout), a manifest whose columns `slices` are slices, a pattern, or a single file.

    Raises:
      ManifestError: If there is no clip.
      NoFileSystemError: If nothing here reads the URI of the source or of a clip.
    """
    source = source.rstrip("/")
    if not files.is_folder(source):
        return _rows_of(source, slices or ()) if is_table(source) else Listing(_single(source), {}, [])
    paths, _, skipped = video_files(source)
    if not paths:
        raise ManifestError(source, [f"it has no video, by the suffixes {', '.join(VIDEO_SUFFIXES)}"])
    try:
        class_of = read_layout(paths).label_of
    except LayoutError:
        class_of = _first_folder
    clips = [ListedClip(path, os.path.join(source, path), class_of(path), id=path) for path in paths]
    return Listing(clips, skipped, [])


def _single(source: str) -> list[ListedClip]:
    if files.exists(source):
        return [ListedClip(source, source, id=source)]
    if found := files.matching(source):
        return [ListedClip(path, path, id=path) for path in found]
    raise ManifestError(source, ["no such file or folder, nor files of such a pattern"])


def _rows_of(source: str, slices: Sequence[str]) -> Listing:
    clips, problems = [], []
    rows = file_rows(source)
    for where, text in with_our_names(rows, read_columns(rows, slices)):
        row = parse_row(where, text)
        wrong = [*row.bad_times, *([] if row.path else [f"{where}: column 'path' is empty"])]
        if wrong:
            problems += wrong
            continue
        file = absolute_path(os.path.dirname(source), row.path)
        files.check_scheme(file)
        label, name = ", ".join(row.labels.values()), row.id or clip_name(row.path, *row.segment)
        clips.append(ListedClip(row.path, file, label, *row.segment, name))
    if not clips:
        raise ManifestError(source, problems or ["it lists no clip"])
    return Listing(clips, {}, problems)


def _first_folder(path: str) -> str:
    """The first folder that is not a split, where nothing else says what the class is."""
    folders = [part for part in path.split("/")[:-1] if not split_named(part)]
    return folders[0] if folders else ""


def is_table(source: str) -> bool:
    """Whether a source is a manifest, by its name."""
    return source.lower().endswith(_TABLE_SUFFIXES)
