"""Reads tables of labelled videos: CSV, JSONL, or a folder per class, as rows of text.

Contract: a row comes with its place, as an editor counts lines; a file that is no table is refused with every mistake.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator, Sequence

import tensorflow as tf

# What has a meaning in a manifest, besides label/<head>; every other column is a slice.
PLAIN_COLUMNS = ("path", "label", "start", "end", "split", "group", "id")
SPLITS = ("train", "eval", "test")
SPLIT_ALIASES = {"val": "eval", "valid": "eval", "validate": "eval", "validation": "eval"}
VIDEO_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".3gp", ".3g2", ".mkv", ".webm", ".avi", ".divx", ".wmv", ".asf", ".flv", ".f4v", ".gif"),
    *(".mjpeg", ".mpg", ".mpeg", ".m2v", ".mod", ".vob", ".ts", ".mts", ".m2t", ".m2ts", ".ogv", ".h264", ".h265"),
    *(".hevc", ".dv", ".mxf", ".y4m"),
)

_SHOWN_PROBLEMS = 20


class ManifestError(ValueError):
    """A table or an annotation file cannot be used; the message lists every problem, with its row."""

    def __init__(self, source: str, problems: Sequence[str]):
        shown = [f"  - {problem}" for problem in problems[:_SHOWN_PROBLEMS]]
        if len(problems) > _SHOWN_PROBLEMS:
            shown.append(f"  … and {len(problems) - _SHOWN_PROBLEMS} more")
        super().__init__("\n".join([f"{source}: {len(problems)} problem(s)", *shown]))
        self.problems = tuple(problems)


def read_text(source: str) -> str:
    """The text of a UTF-8 file at any URI.

    Raises:
      ManifestError: If there is no such file, or it is not UTF-8.
    """
    try:
        with tf.io.gfile.GFile(source, "rb") as file:
            # Excel puts a byte order mark first.
            return file.read().decode("utf-8-sig")
    except tf.errors.OpError as error:
        raise ManifestError(source, [f"cannot read it: {error.message}"]) from error
    except UnicodeDecodeError as error:
        raise ManifestError(source, [f"it is not UTF-8 text ({error}); save it as UTF-8"]) from error


def file_rows(source: str) -> list[tuple[str, dict[str, str]]]:
    """Rows of a CSV or JSONL file as (where, {column: text}); rows without any value are skipped."""
    suffix = os.path.splitext(source)[1].lower()
    if suffix not in _READERS:
        raise ManifestError(source, [f"unknown kind of file {suffix!r}; wanted {', '.join(_READERS)} or a folder"])
    text = read_text(source)
    problems: list[str] = []
    rows = [
        (where, {column: "" if value is None else str(value).strip() for column, value in row.items()})
        for where, row in _READERS[suffix](text, problems)
    ]
    if problems:
        raise ManifestError(source, problems)
    return [(where, row) for where, row in rows if any(row.values())]


def _csv_rows(text: str, problems: list[str]) -> Iterator[tuple[str, dict]]:
    # Strict: a quote that is never closed would swallow the rows below it.
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [column.strip() for column in next(reader, [])]
        twice = dict.fromkeys(column for column in header if column and header.count(column) > 1)
        problems.extend(f"column {column!r} stands twice in the header" for column in twice)
        for values in reader:
            where = f"row {reader.line_num}"
            if any(values) and len(values) != len(header):
                problems.append(f"{where} has {len(values)} values; the header has {len(header)} columns")
            # Spreadsheets leave empty columns without a name behind.
            named = {column: value for column, value in zip(header, values, strict=False) if column or value.strip()}
            if "" in named:
                problems.append(f"{where}: {named['']!r} stands in a column without a name")
            yield where, named
    except csv.Error as error:
        problems.append(f"row {reader.line_num} is not CSV: {error}")


def _jsonl_rows(text: str, problems: list[str]) -> Iterator[tuple[str, dict]]:
    for number, line in enumerate(text.split("\n"), start=1):
        where = f"line {number}"
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            problems.append(f"{where} is not JSON: {error}")
            continue
        if not isinstance(row, dict):
            problems.append(f"{where} is not a JSON object: {line.strip()[:60]}")
            continue
        problems.extend(f"{where}: column {c!r} holds an object" for c, value in row.items() if isinstance(value, dict))
        yield where, {c: "|".join(map(str, v)) if isinstance(v, list) else v for c, v in row.items()}


_READERS = {".csv": _csv_rows, ".jsonl": _jsonl_rows}


def folder_rows(root: str) -> tuple[list[tuple[str, dict[str, str]]], list[str]]:
    """Rows of ``root/[split/]<class>/**/<video>``, and the files that are not videos."""
    rows = []
    tops = sorted(name.rstrip("/") for name in tf.io.gfile.listdir(root))
    folders = [name for name in tops if not name.startswith(".") and tf.io.gfile.isdir(os.path.join(root, name))]
    splits = [name for name in folders if SPLIT_ALIASES.get(name, name) in SPLITS]
    has_splits = bool(folders) and splits == folders
    if "train" in splits and len(splits) > 1 and not has_splits:
        others = ", ".join(name for name in folders if name not in splits)
        raise ManifestError(root, [f"the folders {', '.join(splits)} are splits, but {others} beside them no split"])
    videos, ignored = video_files(root)
    for path in videos:
        *parents, _ = path.split("/")
        if len(parents) <= has_splits:
            ignored.append(path)
            continue
        split = {"split": parents[0]} if has_splits else {}
        rows.append((path, {"path": path, "label": parents[has_splits], **split}))
    return rows, sorted(ignored)


def video_files(root: str) -> tuple[list[str], list[str]]:
    """Paths of the videos below a folder, relative to it and sorted, and of the files that are none by their name."""
    videos, others = [], []
    for folder, _, files in tf.io.gfile.walk(root):
        below = [part for part in os.path.relpath(folder, root).split(os.sep) if part != "."]
        for name in files:
            parts = [*below, name]
            # Names with a leading dot are what systems leave behind, such as the ._clip.mp4 of macOS.
            is_video = name.lower().endswith(VIDEO_SUFFIXES) and not any(part.startswith(".") for part in parts)
            (videos if is_video else others).append("/".join(parts))
    return sorted(videos), sorted(others)


def seconds(row: dict[str, str], column: str, where: str, problems: list[str]) -> float | None:
    """The time in a column, or None where it is empty; adds to `problems` what is no time."""
    text = row.get(column)
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 <= value < float("inf"):
        problems.append(f"{where}: {column} {text!r} is not a time in seconds")
        return None
    return value
