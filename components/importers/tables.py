"""Our own tables (CSV, JSONL) and a folder per class, joined to one manifest."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence

from components.importers.annotations import Annotation, Annotations, normal_path, require_columns
from components.manifest import absolute_path
from components.table import PLAIN_COLUMNS, ManifestError, file_rows, folder_rows, seconds, split_named
from schemas import features


def read_tables(paths: Sequence[str]) -> Annotations:
    """Reads tables with a manifest's columns; a relative path is one from its table, or else a name to look for."""
    folders = {path: os.path.dirname(path) or "." for path in paths}
    return Annotations(tuple(clip for path in paths for clip in _clips(path, file_rows(path), folders[path])))


def read_folders(paths: Sequence[str]) -> Annotations:
    """Reads folders with a sub-folder per class, optionally below train/, eval/ or test/.

    Ids and groups are paths in the folder, behind its name where there are several.
    """
    clips, notes = [], []
    for root in map(normal_path, paths):
        rows, ignored = folder_rows(root)
        if not rows:
            raise ManifestError(root, ["it has no video below a folder of its class; wanted <class>/<video>"])
        for clip in _clips(root, rows):
            name = os.path.join(root, *clip.names) if len(paths) > 1 else clip.names[0]
            path = absolute_path(root, clip.names[0])
            clips.append(dataclasses.replace(clip, id=name, group=name, path=path))
        if ignored:
            notes.append(f"{len(ignored)} file(s) and folder(s) of {root} were left alone: {', '.join(ignored)}")
    return Annotations(tuple(clips), notes=tuple(notes))


def _clips(path: str, rows: Sequence[tuple[str, dict[str, str]]], folder: str = "") -> Iterator[Annotation]:
    require_columns(path, rows, ["path"])
    problems: list[str] = []
    for place, row in rows:
        where = f"{path}, {place}"
        start, end = (seconds(row, column, where, problems) for column in ("start", "end"))
        split, video = row.get("split", ""), row.get("path", "")
        if split and not split_named(split):
            problems.append(f"{where}: split {split!r}; wanted train, eval, test or nothing")
        labels = {_head(column): value for column, value in row.items() if _head(column) and value}
        yield Annotation(
            where=where,
            labels=labels,
            split=split_named(split) or "",
            names=(video,) if start is None and end is None else (),
            source_names=() if start is None and end is None else (video,),
            start=start,
            end=end,
            group=row.get("group", ""),
            id=row.get("id", ""),
            folder=folder,
            unusable="" if video else "its path is empty",
            slices={name: value for name, value in row.items() if name not in PLAIN_COLUMNS and not _head(name)},
        )
    if problems:
        raise ManifestError(path, problems)


def _head(column: str) -> str:
    if column == "label":
        return features.DEFAULT_HEAD
    return column.removeprefix(features.LABEL_PREFIX) if column.startswith(features.LABEL_PREFIX) else ""
