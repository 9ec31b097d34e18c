"""What `vivit check` checks: the clips of a folder, a manifest or a single file, in any layout."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence

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


def clips_to_check(source: str) -> tuple[list[Checkable], dict[str, str]]:
    """The clips of a folder (any layout; the class is the folder), a manifest, or a single file.

    Also returns why sub-folders are not listed, by their path.

    Skips rows of a manifest that cannot be read: `data_set` reports them.

    Raises:
      ManifestError: If there is nothing to check.
      NoFileSystemError: If nothing here reads the URI of the source or of a clip.
    """
    source = source.rstrip("/")
    if not files.is_folder(source):
        return _rows_of(source) if source.lower().endswith(_TABLE_SUFFIXES) else _single(source), {}
    paths, _, skipped = video_files(source)
    if not paths:
        raise ManifestError(source, [f"it has no video, by the suffixes {', '.join(VIDEO_SUFFIXES)}"])
    return [Checkable(path, os.path.join(source, path), _class_of(path), id=path) for path in paths], skipped


def _single(source: str) -> list[Checkable]:
    if not files.exists(source):
        raise ManifestError(source, ["no such file or folder"])
    return [Checkable(source, source)]


def _rows_of(source: str) -> list[Checkable]:
    clips, problems = [], []
    for where, text in file_rows(source):
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


def _class_of(path: str) -> str:
    """The first folder that is not a split."""
    folders = [part for part in path.split("/")[:-1] if not split_named(part)]
    return folders[0] if folders else ""


def data_set(
    source: str, *, heads: Sequence[str], slices: Sequence[str] | None
) -> tuple[Manifest | None, tuple[str, ...]]:
    """The data set as `vivit run` reads it, with the heads and slices of its recipe, or why the run would refuse it.

    For a folder or a video that is not a data set, returns None and no problem.
    """
    try:
        return read_manifest(source, heads=heads, slices=slices), ()
    except ManifestError as error:
        return None, error.problems if source.lower().endswith(_TABLE_SUFFIXES) else ()
