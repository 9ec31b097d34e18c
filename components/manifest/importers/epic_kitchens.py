"""EPIC-KITCHENS-100: ``EPIC_100_train.csv``, ``EPIC_100_validation.csv`` and the class files of verbs and nouns.

Segments of long videos with two heads, `verb` and `noun`. Videos are ``<video_id>.MP4`` below any folders, as in
``P01/videos/P01_01.MP4``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from components.manifest.importers.annotations import Annotation, Annotations, require_columns, split_of_file
from components.manifest.table import ManifestError, file_rows

HEADS = ("verb", "noun")

_TIME = re.compile(r"(\d+):(\d{1,2}):(\d{1,2}(?:\.\d+)?)")
_CLASS_COLUMNS = {"id", "key"}


def read_epic_kitchens(paths: Sequence[str]) -> Annotations:
    """Reads annotations; their ids are the narration ids, a group is a video.

    Classes are named by the class files (``EPIC_100_verb_classes.csv``, ``EPIC_100_noun_classes.csv``); without them
    by the words of the narration, which are many more, and a note says so.
    """
    tables = {path: file_rows(path) for path in paths}
    class_files = [path for path, rows in tables.items() if rows and rows[0][1].keys() >= _CLASS_COLUMNS]
    names = {_head_of(path): _class_names(path, tables[path]) for path in class_files}
    clips = [clip for path in paths if path not in class_files for clip in _clips(path, tables[path], names)]
    wordy = [head for head in HEADS if head not in names]
    note = f"classes of {' and '.join(wordy)} are the words of the narrations: give EPIC_100_<head>_classes.csv, too"
    return Annotations(
        tuple(clips), {head: tuple(by_id.values()) for head, by_id in names.items()}, (note,) if wordy else ()
    )


def _head_of(path: str) -> str:
    heads = [head for head in HEADS if head in path.rpartition("/")[2].lower()]
    if len(heads) != 1:
        raise ManifestError(path, ["it lists classes; wanted verb or noun in its name"])
    return heads[0]


def _class_names(path: str, rows) -> dict[str, str]:
    names = {row["id"]: row["key"] for _, row in rows}
    if len(set(names.values())) < len(rows):
        raise ManifestError(path, ["a class stands twice in it"])
    return names


def _clips(path: str, rows, names: Mapping[str, Mapping[str, str]]) -> Iterator[Annotation]:
    require_columns(path, rows, ["narration_id", "video_id", "start_timestamp", "stop_timestamp"])
    labelled = "verb_class" in rows[0][1] or "verb" in rows[0][1] if rows else False
    columns = {head: f"{head}_class" if head in names else head for head in HEADS}
    if labelled:
        require_columns(path, rows, list(columns.values()))
    split = split_of_file(path)
    problems: list[str] = []
    for place, row in rows:
        where = f"{path}, {place}"
        labels = {}
        for head, column in columns.items() if labelled else ():
            value = row[column]
            if head in names and value not in names[head]:
                problems.append(f"{where}: {column} {value!r} is no id of the class file")
            labels[head] = names[head].get(value, "") if head in names else value
        start, end = (_seconds(row, column, where, problems) for column in ("start_timestamp", "stop_timestamp"))
        yield Annotation(
            where=where,
            labels=labels,
            split=split,
            source_names=(row["video_id"],),
            start=start,
            end=end,
            group=row["video_id"],
            id=row["narration_id"],
        )
    if problems:
        raise ManifestError(path, problems)


def _seconds(row: Mapping[str, str], column: str, where: str, problems: list[str]) -> float | None:
    time = _TIME.fullmatch(row[column])
    if not time:
        problems.append(f"{where}: {column} {row[column]!r} is not a time HH:MM:SS.ss")
        return None
    hours, minutes, rest = map(float, time.groups())
    # Sums of hundredths leave 0.30000000000000004 behind.
    return round(hours * 3600 + minutes * 60 + rest, 6)
