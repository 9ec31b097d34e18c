"""Reads a manifest (CSV, JSONL, or a folder per class), checks every row, and gives each clip a split.

Contract: nothing is decoded here, and nothing is guessed silently. Either every row is usable and a `Manifest` is
returned, or a `ManifestError` lists what is wrong, in which row and column, and what to do.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import json
import os
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from components.manifest.columns import PLAIN_COLUMNS, head_of, hint, label_columns, read_columns, with_our_names
from components.manifest.folders import folder_rows
from components.manifest.rows import Row, parse_row
from components.manifest.table import VIDEO_SUFFIXES, ManifestError, file_rows
from components.storage import files
from components.storage.record_files import is_record, split_path

# One group in five is evaluated where the manifest names no splits.
_EVAL_BUCKETS, _BUCKETS = 20, 100
# Heads become names of layers, files and signatures.
_HEAD_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
# Control characters, line ends and lone surrogates: Transform writes one class name per line, in UTF-8.
_UNWRITABLE = {"Cc", "Zl", "Zp", "Cs"}
_STAT_THREADS = 32


@dataclasses.dataclass(frozen=True)
class Clip:
    """One labelled segment of one video; times in seconds, `end` None for the end of the video.

    `size` (bytes) and `mtime` (`files.Stat.version`) of the file are part of the row, so that a changed video changes
    the fingerprint of the manifest and is ingested again. Of a record in a file they are those of the file.
    """

    id: str
    path: str
    group: str
    split: str
    labels: dict[str, str]
    slices: dict[str, str]
    start: float = 0.0
    end: float | None = None
    size: int = 0
    mtime: int = 0

    def to_json(self) -> str:
        """The row as one line of JSON, with keys in a fixed order."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True, ensure_ascii=False)

    @classmethod
    def from_json(cls, line: str) -> Clip:
        """The inverse of `to_json`."""
        return cls(**json.loads(line))


@dataclasses.dataclass(frozen=True)
class Manifest:
    """The checked clips of a data set, in the order of their ids."""

    source: str
    clips: tuple[Clip, ...]
    # Files of a folder that are not videos by their suffix, and groups that no class could spare for evaluation.
    ignored: tuple[str, ...] = ()
    moved_to_train: tuple[str, ...] = ()
    # Why its file cannot be read, by the id of a clip: ingest puts such clips into quarantine.
    unreadable: Mapping[str, str] = dataclasses.field(default_factory=dict)
    # Columns that are not used, and what is not as usual in how the source is read, in words.
    unused_columns: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def heads(self) -> tuple[str, ...]:
        """Names of the label heads."""
        return tuple(self.clips[0].labels)

    @property
    def slices(self) -> tuple[str, ...]:
        """Names of the slice columns."""
        return tuple(sorted({name for clip in self.clips for name in clip.slices}))

    def classes(self, head: str) -> list[str]:
        """Class names of one head, in alphabetical order."""
        return sorted({clip.labels[head] for clip in self.clips})

    def split(self, name: str) -> list[Clip]:
        """Clips of one split."""
        return [clip for clip in self.clips if clip.split == name]


def read_manifest(source: str, *, heads: Sequence[str] = (), slices: Sequence[str] | None = None) -> Manifest:
    """Reads and checks a manifest.

    Args:
      source: A .csv or .jsonl file, or a folder with one sub-folder per class (optionally below train/, eval/ or
        test/), at any URI; see components/storage/files.py.
      heads: The label heads to train, in this order; empty for all of them. Other `label/<head>` columns become slices.
      slices: The columns to slice by; None for every column that has no other meaning.

    Raises:
      ManifestError: If any row cannot be used.
      NoFileSystemError: If nothing here reads its URI.
    """
    source = os.fspath(source).rstrip("/")
    found = _kind_of(source)
    ignored, problems = [], []
    if found == "folder":
        rows, ignored, notes = folder_rows(source)
    elif found:
        rows = file_rows(source)
        columns = read_columns(rows, slices or ())
        if columns.problems:
            raise ManifestError(source, columns.problems)
        problems += [f"{doubt}; or name it in data.slices, to slice by it" for doubt in columns.doubtful]
        rows, notes = with_our_names(rows, columns), columns.notes
    else:
        raise ManifestError(source, ["no such file or folder"])
    if not rows:
        wanted = f"<class>/<video> with one of {', '.join(VIDEO_SUFFIXES)}" if found == "folder" else "one row"
        raise ManifestError(source, [f"it lists no clip; wanted at least {wanted}"])
    chosen = _chosen_columns(source, rows, heads, slices, problems)
    placed = _clips(source if found == "folder" else os.path.dirname(source), rows, chosen, problems)
    _check_ids_and_groups(placed, problems)
    clips, unreadable = _with_file_stats(placed, problems)
    if problems:
        raise ManifestError(source, problems)
    if not all(clip.split for clip in clips):
        share = _BUCKETS // _EVAL_BUCKETS
        notes.append(f"the splits of clips that name none are drawn: one group in {share} is evaluated")
    clips, moved = _with_splits(clips)
    _check_files(clips, problems)
    _check_classes(clips, problems)
    if problems:
        raise ManifestError(source, problems)
    clips.sort(key=lambda clip: clip.id)
    return Manifest(
        source,
        tuple(clips),
        ignored=tuple(ignored),
        moved_to_train=tuple(moved),
        unreadable=unreadable,
        unused_columns=chosen.unused,
        notes=tuple(notes),
    )


def _kind_of(source: str) -> str:
    """Whether a source is a "folder" or a "file"; empty if there is none."""
    try:
        return "folder" if files.is_folder(source) else "file" if files.exists(source) else ""
    except files.NoFileSystemError:
        raise
    except files.FileError as error:
        raise ManifestError(source, [f"cannot read it: {error.reason}"]) from error


class _ChosenColumns(NamedTuple):
    """The columns that are used, by head and by slice, and those that are not."""

    heads: Mapping[str, str]
    slices: Mapping[str, str]
    unused: tuple[str, ...]


def _chosen_columns(source: str, rows, heads, wanted_slices, problems: list[str]) -> _ChosenColumns:
    """Finds the columns of the heads and slices; adds what is wrong with their names to `problems`."""
    columns = list(dict.fromkeys(column for _, row in rows for column in row))
    by_head = label_columns(columns)
    missing = [*([] if "path" in columns else ["path"]), *([] if by_head else ["label"])]
    if missing:
        words = {"path": "'path'", "label": "'label' or 'label/<head>'"}
        has = f"it has {', '.join(columns)}"
        raise ManifestError(source, [f"missing column {words[name]}; {has}{hint(columns, name)}" for name in missing])
    unknown = [head for head in heads if head not in by_head]
    if unknown:
        raise ManifestError(source, [f"no head {head!r}; the manifest has {', '.join(by_head)}" for head in unknown])
    used = {head: by_head[head] for head in heads or by_head}
    for head, column in used.items():
        if not _HEAD_NAME.fullmatch(head):
            problems.append(f"column {column!r}: a head's name has letters, digits, - and _ only")
    slices = {head: column for head, column in by_head.items() if head not in used}
    slices.update({name: name for name in columns if name not in PLAIN_COLUMNS and head_of(name) is None})
    wanted = slices if wanted_slices is None else wanted_slices
    unknown = [name for name in wanted if name not in slices]
    if unknown:
        has = ", ".join(slices) or "none"
        raise ManifestError(source, [f"no column {name!r} to slice by; the manifest has {has}" for name in unknown])
    unused = tuple(column for name, column in slices.items() if name not in wanted)
    return _ChosenColumns(used, {name: slices[name] for name in wanted}, unused)


def _clips(root: str, rows, columns: _ChosenColumns, problems: list[str]) -> list[tuple[str, Clip]]:
    """Turns rows into clips, each with its place, without splits or file stats; adds what is wrong to `problems`.

    Paths are relative to `root`.
    """
    clips = []
    for where, text in rows:
        row = parse_row(where, text)
        wrong = [*_bad_labels(row, columns.heads), *row.problems, *_bad_segment(row)]
        if not row.path:
            wrong.append(f"{where}: column 'path' is empty")
        if wrong:
            problems += wrong
            continue
        clip = Clip(
            id=row.id or clip_name(row.path, *row.segment),
            path=absolute_path(root, row.path),
            group=row.group or row.path,
            split=row.split,
            labels={head: row.labels[head] for head in columns.heads},
            slices={name: text[column] for name, column in columns.slices.items() if text.get(column)},
            start=row.segment.start or 0.0,
            end=row.segment.end,
        )
        clips.append((where, clip))
    return clips


def _bad_labels(row: Row, columns: Mapping[str, str]) -> Iterator[str]:
    for head, column in columns.items():
        name = row.labels.get(head, "")
        if not name:
            yield f"{row.where}: column {column!r} is empty"
        elif "|" in name:
            yield f"{row.where}: {column!r} names several classes ({name}); one is wanted"
        elif any(unicodedata.category(letter) in _UNWRITABLE for letter in name):
            yield f"{row.where}: {column!r} holds a control character: {name!r}"


def _bad_segment(row: Row) -> Iterator[str]:
    start, end = row.segment
    if end is not None and end <= (start or 0):
        yield f"{row.where}: end {end:g} is not after start {start or 0:g}"
    if is_record(row.path) and not row.segment.is_whole:
        yield f"{row.where}: a record is a whole clip; leave its start and end empty"


def clip_name(path: str, start: float | None, end: float | None) -> str:
    """The id of a clip that has none: its path, and its segment in seconds if it is one."""
    # 15 digits distinguish any two times that a manifest can distinguish.
    return path if start is None and end is None else f"{path}@{start or 0:.15g}-{'' if end is None else f'{end:.15g}'}"


def absolute_path(root: str, path: str) -> str:
    """A path that is relative to `root`, whole; an absolute path or a URI is returned unchanged."""
    if "://" in path or os.path.isabs(path):
        return path
    return os.path.join(root if "://" in root else os.path.abspath(root), path)


def _check_ids_and_groups(placed: list[tuple[str, Clip]], problems: list[str]) -> None:
    first: dict[str, tuple[str, Clip]] = {}
    splits: dict[str, tuple[str, str]] = {}
    for where, clip in placed:
        other, same = first.setdefault(clip.id, (where, clip))
        if other != where:
            contradiction = "" if clip.labels == same.labels else ", with another class"
            problems.append(f"{where}: id {clip.id!r} stands already in {other}{contradiction}")
        other, split = splits.setdefault(clip.group, (where, clip.split))
        if split != clip.split:
            problems.append(
                f"{where}: group {clip.group!r} is in split {clip.split or 'none'!r}, but in {split or 'none'!r} in "
                f"{other}; clips of one source video must stay together"
            )


def _with_file_stats(placed: list[tuple[str, Clip]], problems: list[str]) -> tuple[list[Clip], dict[str, str]]:
    """The clips with size and time of their files, and why a file cannot be read, by the id of the clip."""

    def stat(path: str) -> files.Stat | files.FileError:
        try:
            found = files.stat(path)
        except files.FileError as error:
            return error
        return files.FileError(path, "it is a folder, not a video", lasting=True) if found.is_folder else found

    users = {split_path(clip.path)[0]: where for where, clip in reversed(placed)}
    paths = sorted(users)
    with ThreadPoolExecutor(_STAT_THREADS) as pool:
        stats = dict(zip(paths, pool.map(stat, paths), strict=True))
    unreadable, failures = {}, {path: found for path, found in stats.items() if isinstance(found, files.FileError)}
    for path, error in failures.items():
        if not error.lasting:
            problems.append(f"{users[path]}: cannot read {path}: {error.reason}")
    clips = []
    for _, clip in placed:
        path = split_path(clip.path)[0]
        if path in failures:
            unreadable[clip.id] = f"cannot open it: {failures[path].reason}"
            clips.append(clip)
        else:
            clips.append(dataclasses.replace(clip, size=stats[path].size, mtime=stats[path].version))
    return clips, unreadable


def _with_splits(clips: list[Clip]) -> tuple[list[Clip], list[str]]:
    """Gives clips without a split one by the hash of their group; a class is never evaluated without being trained."""

    def bucket(group: str) -> int:
        return int.from_bytes(hashlib.sha256(group.encode()).digest()[:8], "big") % _BUCKETS

    hashed = {clip.group: "eval" if bucket(clip.group) < _EVAL_BUCKETS else "train" for clip in clips if not clip.split}
    trained = {item for c in clips if (c.split or hashed[c.group]) == "train" for item in c.labels.items()}
    moved = []
    for clip in clips:
        if hashed.get(clip.group) == "eval" and not trained.issuperset(clip.labels.items()):
            hashed[clip.group] = "train"
            moved.append(clip.group)
            trained.update(item for c in clips if c.group == clip.group for item in c.labels.items())
    return [dataclasses.replace(clip, split=clip.split or hashed[clip.group]) for clip in clips], moved


def _check_files(clips: list[Clip], problems: list[str]) -> None:
    """A file under two names, such as a link, has two groups: nothing of it may still be trained and evaluated.

    Segments apart from each other may: some publishers cut clips of several splits from one source. Nor may a segment
    have two classes, unless each has an id of its own: some publishers annotate what happens at the same time.
    """

    def end(clip: Clip) -> float:
        return float("inf") if clip.end is None else clip.end

    same: dict[tuple[str, int | None], list[Clip]] = collections.defaultdict(list)
    for clip in clips:
        file, offset = split_path(clip.path)
        same[file if "://" in file else os.path.realpath(file), offset].append(clip)
    for of_file in same.values():
        last: dict[str, Clip] = {}
        equal: dict[tuple[float, float | None], Clip] = {}
        for clip in sorted(of_file, key=lambda clip: (clip.start, clip.id)):
            for split, other in last.items():
                if split != clip.split and end(other) > clip.start:
                    names = f"{clip.path} in split {clip.split!r} and {other.path} in split {split!r}"
                    problems.append(
                        f"{names} are one file, and the clips overlap; clips of one source video must stay together: "
                        "give them one group"
                    )
            last[clip.split] = max(last.get(clip.split, clip), clip, key=end)
            other = equal.setdefault((clip.start, clip.end), clip)
            if other.labels != clip.labels and (_is_named_by_path(clip) or _is_named_by_path(other)):
                classes = f"{_classes_of(other)} in {other.id!r}, {_classes_of(clip)} in {clip.id!r}"
                problems.append(f"one file and segment has two classes: {classes}; leave one")


def _is_named_by_path(clip: Clip) -> bool:
    """Whether the id of a clip is that of `clip_name`."""
    return clip.path.endswith((clip.id, clip.id.rpartition("@")[0] or clip.id))


def _classes_of(clip: Clip) -> str:
    return " and ".join(map(repr, clip.labels.values()))


def _check_classes(clips: list[Clip], problems: list[str]) -> None:
    """Each class is trained, and there are two of each head at least, which no reader takes for one."""
    count = collections.Counter(clip.split for clip in clips)
    for split in ("train", "eval"):
        if not count[split]:
            tested = f", but {count['test']:,} in 'test'" if count["test"] else ""
            problems.append(f"no clip in split {split!r}{tested}: add clips, or name the splits in a column 'split'")
    if problems:
        return
    for head in clips[0].labels:
        trained = {clip.labels[head] for clip in clips if clip.split == "train"}
        if len(trained) == 1:
            problems.append(f"head {head!r} has one class only, {next(iter(trained))!r}; at least two are wanted")
        names = {clip.labels[head] for clip in clips}
        alike = collections.defaultdict(list)
        for name in sorted(names):
            alike[unicodedata.normalize("NFC", name)].append(name)
        for name, forms in alike.items():
            if len(forms) > 1:
                written = " and ".join(map(ascii, forms))
                problems.append(f"class {name!r} of head {head!r} is written in two Unicode forms, {written}: use one")
        for name in sorted(names - trained):
            where = next(clip.id for clip in clips if clip.labels[head] == name)
            problems.append(f"class {name!r} of head {head!r} is evaluated but never trained, e.g. in {where!r}")
