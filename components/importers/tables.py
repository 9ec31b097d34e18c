"""Our own tables (CSV, JSONL) and a folder per class, joined to one manifest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from components.importers.annotations import Annotation, Annotations, require_columns
from components.record_files import is_record
from components.table import PLAIN_COLUMNS, ManifestError, file_rows, folder_rows, seconds, split_named
from schemas import features


def read_tables(paths: Sequence[str]) -> Annotations:
    """Reads tables with a manifest's columns; relative paths are looked up in the folder of videos."""
    return Annotations(tuple(clip for path in paths for clip in _clips(path, file_rows(path))))


def read_folders(paths: Sequence[str]) -> Annotations:
    """Reads folders with a sub-folder per class, optionally below train/, eval/ or test/."""
    clips, notes = [], []
    for root in paths:
        rows, ignored = folder_rows(root.rstrip("/"))
        clips += _clips(root, rows)
        if ignored:
            notes.append(f"{len(ignored)} file(s) of {root} are not videos: {', '.join(ignored)}")
    return Annotations(tuple(clips), notes=tuple(notes))


def _clips(path: str, rows: Sequence[tuple[str, dict[str, str]]]) -> Iterator[Annotation]:
    require_columns(path, rows, ["path"])
    problems: list[str] = []
    for place, row in rows:
        where = f"{path}, {place}"
        start, end = (seconds(row, column, where, problems) for column in ("start", "end"))
        split = row.get("split", "")
        if split and not split_named(split):
            problems.append(f"{where}: split {split!r}; wanted train, eval, test or nothing")
        labels = {_head(column): value for column, value in row.items() if _head(column) and value}
        yield Annotation(
            where=where,
            labels=labels,
            split=split_named(split) or "",
            names=(row["path"],) if start is None and end is None else (),
            source_names=() if start is None and end is None else (row["path"],),
            start=start,
            end=end,
            group=row.get("group", ""),
            id=row.get("id", ""),
            path=row["path"] if is_record(row["path"]) else "",
            slices={name: value for name, value in row.items() if name not in PLAIN_COLUMNS and not _head(name)},
        )
    if problems:
        raise ManifestError(path, problems)


def _head(column: str) -> str:
    if column == "label":
        return features.DEFAULT_HEAD
    return column.removeprefix(features.LABEL_PREFIX) if column.startswith(features.LABEL_PREFIX) else ""
