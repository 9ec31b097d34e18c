"""Reads tables of labelled videos (CSV, JSONL) as rows of text, and lists the videos of folders.

Contract: a row comes with its place, as an editor counts lines; a file that is no table is refused with every mistake.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath
from typing import NamedTuple

from components.storage import files

SPLITS = ("train", "eval", "test")
_SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("eval", "evaluation", "val", "valid", "validate", "validation", "dev"), "eval"),
    **dict.fromkeys(("test", "testing"), "test"),
}
VIDEO_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".3gp", ".3g2", ".mkv", ".webm", ".avi", ".divx", ".wmv", ".asf", ".flv", ".f4v", ".gif"),
    *(".mjpeg", ".mpg", ".mpeg", ".m2v", ".mod", ".vob", ".ts", ".mts", ".m2t", ".m2ts", ".ogv", ".h264", ".h265"),
    *(".hevc", ".dv", ".mxf", ".y4m"),
)
# Folders of Windows, macOS, Linux and of Synology's and QNAP's disks, beside all with a leading dot.
_LEFT_BEHIND = {
    *("$recycle.bin", "recycler", "recycled", "system volume information", "found.000", "$extend", "windowsapps"),
    *("__macosx", "network trash folder", "temporary items", "lost+found", "thumbnails", "thumbs"),
    *("@eadir", "@tmp", "@sharebin", "@recycle", "#recycle", "#snapshot", "@recently-snapshot", "@appstore"),
}

_SHOWN_PROBLEMS = 20
_LISTING_THREADS = 64


class ManifestError(ValueError):
    """A table or an annotation file cannot be used; the message lists every problem, with its row."""

    def __init__(self, source: str, problems: Sequence[str]):
        shown = [f"  - {problem}" for problem in problems[:_SHOWN_PROBLEMS]]
        if len(problems) > _SHOWN_PROBLEMS:
            shown.append(f"  … and {len(problems) - _SHOWN_PROBLEMS} more")
        super().__init__("\n".join([f"{source}: {len(problems)} problem(s)", *shown]))
        self.problems = tuple(problems)


def split_named(name: str) -> str | None:
    """The split that a word stands for, in any case, such as ``Validation``; None where it is none."""
    return _SPLIT_NAMES.get(name.lower())


def read_text(source: str) -> str:
    """The text of a UTF-8 file at any URI.

    Raises:
      ManifestError: If there is no such file, or it is not UTF-8.
      NoFileSystemError: If nothing here reads its URI.
    """
    try:
        # Excel puts a byte order mark first.
        return files.read(source).decode("utf-8-sig")
    except files.NoFileSystemError:
        raise
    except files.FileError as error:
        raise ManifestError(source, [f"cannot read it: {error.reason}"]) from error
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
            row = json.loads(line, object_pairs_hook=_object)
        except json.JSONDecodeError as error:
            problems.append(f"{where} is not JSON: {error}")
            continue
        except _DoubledKeyError as error:
            problems.append(f"{where}: column {error.args[0]!r} stands twice")
            continue
        if not isinstance(row, dict):
            problems.append(f"{where} is not a JSON object: {line.strip()[:60]}")
            continue
        problems.extend(f"{where}: column {c!r} holds an object" for c, value in row.items() if isinstance(value, dict))
        yield where, {c: "|".join(map(str, v)) if isinstance(v, list) else v for c, v in row.items()}


class _DoubledKeyError(ValueError):
    """A key stands twice in one JSON object, of which only the last value would be read."""


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        raise _DoubledKeyError(next(key for key in keys if keys.count(key) > 1))
    return values


_READERS = {".csv": _csv_rows, ".jsonl": _jsonl_rows}


class Listing(NamedTuple):
    """What is below a folder, as sorted paths relative to it.

    Attributes:
      videos: Files that are videos by their name. Folders with such a name and no video in them, too: a reader who
        looks for x.mp4 learns what it is.
      others: Files that are none, and links to folders that are listed anyway; `as_text`.
      skipped: Folders that cannot be listed, with the reason; `as_text`.
    """

    videos: list[str]
    others: list[str]
    skipped: dict[str, str]


def video_files(root: str) -> Listing:
    """Lists the videos below a folder at any URI; a folder that cannot be read is skipped alone.

    Each real folder is listed once, however many links lead to it. At a URI whatever is named like a video is taken
    for a file: to check each would take hours.

    Raises:
      ManifestError: If there is no such folder, or it cannot be listed itself.
      NoFileSystemError: If nothing here reads its URI.
    """
    if not (files.is_folder if "://" in root else os.path.isdir)(root):
        raise ManifestError(root, ["no such folder"])
    found, folders, links, skipped = (_listed_remote if "://" in root else _listed)(root)
    if "." in skipped:
        raise ManifestError(root, [f"cannot list it: {skipped['.']}"])
    videos = list(filter(_is_video, found))
    called_videos = list(filter(_is_video, folders))
    if called_videos:
        holding = {str(folder) for path in videos for folder in PurePosixPath(path).parents}
        videos += (folder for folder in called_videos if folder not in holding)
    others = (as_text(path) for path in (*(path for path in found if not _is_video(path)), *links))
    return Listing(sorted(videos), sorted(others), {as_text(folder): skipped[folder] for folder in sorted(skipped)})


def as_text(path: str) -> str:
    """A path as it can be shown and written: of a name that is not UTF-8, its bytes become ``\\udcff``."""
    return path.encode("utf-8", "backslashreplace").decode()


def _is_video(path: str) -> bool:
    return path.lower().endswith(VIDEO_SUFFIXES) and not _is_left_behind(path)


def _is_left_behind(path: str) -> bool:
    """Whether a path is, or is in, what systems leave behind: a hidden name, such as ._clip.mp4, or a waste bin."""
    return "/." in f"/{path}" or not _LEFT_BEHIND.isdisjoint(path.lower().split("/"))


def _listed(root: str) -> tuple[list[str], list[str], list[str], dict[str, str]]:
    """Files, folders and further links to these below a local folder, relative to it, and what cannot be listed."""
    all_files, all_folders, links, skipped, first_paths = [], [], [], {}, {}

    def below(path: str) -> str:
        return path[len(root) :].lstrip("/")

    def skip(error: OSError) -> None:
        if not _is_left_behind(below(error.filename)):
            skipped[below(error.filename) or "."] = error.strerror

    # Links come last: what they lead to may be below the root under its own name.
    tops = [root]
    for top in tops:
        for folder, names, file_names in os.walk(top, onerror=skip):
            path = below(folder)
            first = first_paths.setdefault(os.path.realpath(folder), path)
            if first != path:
                links.append(path)
                names.clear()
                continue
            names.sort()
            inner = [os.path.join(folder, name) for name in names]
            tops += filter(os.path.islink, inner)
            all_folders += map(below, inner)
            all_files += (os.path.join(path, name) for name in file_names)
    return all_files, all_folders, links, skipped


def _listed_remote(root: str) -> tuple[list[str], list[str], list[str], dict[str, str]]:
    """As `_listed`, for a URI: level by level, as each request is a round trip."""
    all_files, all_folders, skipped = [], [], {}

    def paths_in(folder: str) -> list[str]:
        try:
            names = files.names_in(os.path.join(root, folder))
        except files.FileError as error:
            if not _is_left_behind(folder):
                skipped[folder or "."] = error.reason
            return []
        # Some object stores list a folder in itself.
        return [os.path.join(folder, name) for name in names if name.strip("/")]

    def is_folder(path: str) -> bool:
        return files.is_folder(os.path.join(root, path))

    with ThreadPoolExecutor(_LISTING_THREADS) as pool:
        level = [""]
        while level:
            paths = [path for found in pool.map(paths_in, level) for path in found]
            # Some object stores mark folders by a slash; of the rest, a name may be that of a folder.
            marked = [path for path in paths if path.endswith("/")]
            unmarked = [path for path in paths if not path.endswith("/") and not _is_video(path)]
            found = [path for path, is_one in zip(unmarked, pool.map(is_folder, unmarked), strict=True) if is_one]
            all_files += set(paths) - set(marked) - set(found)
            level = [path.rstrip("/") for path in (*marked, *found)]
            all_folders += level
    return all_files, all_folders, [], skipped
