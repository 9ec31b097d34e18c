"""Our own tables (CSV, JSONL) and a folder per class, joined to one manifest."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence

from components.manifest.columns import read_columns, with_our_names
from components.manifest.folders import folder_rows
from components.manifest.importers.annotations import Annotation, Annotations, normal_path, require_columns
from components.manifest.reader import absolute_path
from components.manifest.rows import parse_row
from components.manifest.table import ManifestError, file_rows


def read_tables(paths: Sequence[str]) -> Annotations:
    """Reads tables with a manifest's columns; a relative path is one from its table, or else a name to look for."""
    clips, notes = [], []
    for path in paths:
        rows = file_rows(path)
        columns = read_columns(rows)
        if columns.problems or columns.doubtful:
            raise ManifestError(path, [*columns.problems, *columns.doubtful])
        clips += _clips(path, with_our_names(rows, columns), os.path.dirname(path) or ".")
        notes += [f"{path}: {note}" for note in columns.notes]
    return Annotations(tuple(clips), notes=tuple(notes))


def read_folders(paths: Sequence[str]) -> Annotations:
    """Reads folders with a sub-folder per class, optionally below train/, eval/ or test/.

    Ids and groups are paths in the folder, behind its name where there are several.
    """
    clips, notes = [], []
    for root in map(normal_path, paths):
        rows, ignored, remarks = folder_rows(root)
        if not rows:
            raise ManifestError(root, ["it has no video below a folder of its class; wanted <class>/<video>"])
        for clip in _clips(root, rows):
            name = os.path.join(root, *clip.names) if len(paths) > 1 else clip.names[0]
            path = absolute_path(root, clip.names[0])
            clips.append(dataclasses.replace(clip, id=name, group=name, path=path))
        notes += [f"{root}: {remark}" for remark in remarks]
        if ignored:
            notes.append(f"{len(ignored)} file(s) and folder(s) of {root} were left alone: {', '.join(ignored)}")
    return Annotations(tuple(clips), notes=tuple(notes))


def _clips(path: str, rows: Sequence[tuple[str, dict[str, str]]], folder: str = "") -> Iterator[Annotation]:
    require_columns(path, rows, ["path"])
    parsed = [parse_row(f"{path}, {place}", row) for place, row in rows]
    problems = [problem for row in parsed for problem in row.problems]
    for row in parsed:
        names = (row.path,)
        yield Annotation(
            where=row.where,
            labels=row.labels,
            split=row.split,
            names=names if row.segment.is_whole else (),
            source_names=() if row.segment.is_whole else names,
            start=row.segment.start,
            end=row.segment.end,
            group=row.group,
            id=row.id,
            folder=folder,
            unusable="" if row.path else "its path is empty",
            slices=row.slices,
        )
    if problems:
        raise ManifestError(path, problems)
