"""What `vivit check` checks: the clips of a folder, a manifest or a single file, in any layout."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence

from components.manifest.columns import read_columns, with_our_names
from components.manifest.folders import LayoutError, read_layout
from components.manifest.reader import Manifest, absolute_path, clip_name, read_manifest
from components.manifest.rows import parse_row
from components.manifest.table import VIDEO_SUFFIXES, ManifestError, file_rows, split_named, video_files
from components.storage import files

_TABLE_SUFFIXES = (".csv", ".jsonl")


@dataclasses.dataclass(frozen=True, slots=True)
class Checkable:
    """One clip to check.

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


def clips_to_check(source: str, slices: Sequence[str] | None = None) -> tuple[list[Checkable], dict[str, str]]:
    """The clips of a folder (any layout), a manifest whose columns `slices` are slices, or a single file.

    Also returns why sub-folders are not listed, by their path.

    Skips rows of a manifest that cannot be read: `data_set` reports them.

    Raises:
      ManifestError: If there is nothing to check.
      NoFileSystemError: If nothing here reads the URI of the source or of a clip.
    """
    source = source.rstrip("/")
    if not files.is_folder(source):
        return _rows_of(source, slices or ()) if is_table(source) else _single(source), {}
    paths, _, skipped = video_files(source)
    if not paths:
        raise ManifestError(source, [f"it has no video, by the suffixes {', '.join(VIDEO_SUFFIXES)}"])
    try:
        class_of = read_layout(paths).label_of
    except LayoutError:
        class_of = _first_folder
    return [Checkable(path, os.path.join(source, path), class_of(path), id=path) for path in paths], skipped


def _single(source: str) -> list[Checkable]:
    if not files.exists(source):
        raise ManifestError(source, ["no such file or folder"])
    return [Checkable(source, source)]


def _rows_of(source: str, slices: Sequence[str]) -> list[Checkable]:
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
        clips.append(Checkable(row.path, file, label, *row.segment, name))
    if not clips:
        raise ManifestError(source, problems or ["it lists no clip"])
    return clips


def _first_folder(path: str) -> str:
    """The first folder that is not a split, where nothing else says what the class is."""
    folders = [part for part in path.split("/")[:-1] if not split_named(part)]
    return folders[0] if folders else ""


def data_set(
    source: str, clips: Sequence[Checkable], *, heads: Sequence[str], slices: Sequence[str] | None
) -> tuple[Manifest | None, tuple[str, ...]]:
    """The data set as `vivit run` reads it, with the heads and slices of its recipe, or why the run would refuse it.

    For a video, and for a folder without folders of classes, returns None and no problem.
    """
    if not is_table(source) and not any(clip.label for clip in clips):
        return None, ()
    try:
        return read_manifest(source, heads=heads, slices=slices), ()
    except ManifestError as error:
        return None, error.problems


def is_table(source: str) -> bool:
    """Whether a source is a manifest, by its name."""
    return source.lower().endswith(_TABLE_SUFFIXES)
