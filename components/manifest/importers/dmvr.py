"""DMVR's and MediaSequence's TFRecords: a JSON file with the reference's own keys says where they are.

``{"base_dir": ".", "tables": {"train": "train.tfrecord@1024", "validation": "val.tfrecord@128"},
"heads": {"label": "classes.txt"}, "label_offset": 0}``: paths are relative to the JSON file; a head's file has
one class a line, in the order in which the records number them, and the second head's numbers follow the first's.

Only the context of each record is read. A record is the path of a clip, see `components.storage.record_files`.
"""

from __future__ import annotations

import collections
import dataclasses
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated

import tensorflow as tf
from google.protobuf.message import DecodeError
from pydantic import BeforeValidator, Strict, TypeAdapter, ValidationError

from components.manifest.importers.annotations import Annotation, Annotations, normal_path, read_json
from components.manifest.reader import absolute_path
from components.manifest.table import ManifestError, read_text, split_named
from components.storage import files
from components.storage.record_files import RecordError, read_heads, read_record
from schemas import sequence_examples as dmvr

_THREADS = 16
# A context with all of DMVR's features has some hundred bytes.
_HEAD_BYTES = 4096
# Tag of the context in the wire format of a SequenceExample: field 1, which comes first, of a length that follows.
_CONTEXT_TAG = b"\n"


# One name, or a list of them.
_Names = Annotated[tuple[str, ...], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)]


@dataclasses.dataclass(frozen=True)
class RecordSet:
    """The JSON file of a set of records.

    Attributes:
      base_dir: Folder of the tables.
      tables: By split, one or several of ``name``, ``name@N`` and ``name@N.ext``.
      heads: By head, a text file with a class a line.
      label_offset: Subtracted from every class index.
    """

    __pydantic_config__ = {"extra": "forbid"}

    base_dir: str = "."
    tables: Mapping[str, _Names] = dataclasses.field(default_factory=dict)
    heads: Mapping[str, str] = dataclasses.field(default_factory=dict)
    label_offset: Annotated[int, Strict()] = 0

    def __post_init__(self):
        for field in ("tables", "heads"):
            if not getattr(self, field):
                raise ValueError(f"{field} is missing or empty")
        for split in self.tables:
            if not split_named(split):
                raise ValueError(f"tables.{split}: there is no such split; wanted train, validation or test")


def read_dmvr(paths: Sequence[str]) -> Annotations:
    """Reads the contexts of all records; a group is a video, an id its name and the clip's start in microseconds."""
    source = paths[0]
    if len(paths) > 1:
        raise ManifestError(source, ["a set of records has one JSON file; give it alone"])
    record_set = _record_set(source)
    folder = os.path.dirname(source)
    base = normal_path(absolute_path(folder, record_set.base_dir))
    files.check_scheme(base)
    shards = _files(source, record_set, base)
    classes = {head: _class_names(absolute_path(folder, name)) for head, name in record_set.heads.items()}
    problems: list[str] = []

    def scan(file: str) -> list[Annotation]:
        return _clips(file, os.path.relpath(file, base), shards[file], classes, record_set.label_offset, problems)

    with ThreadPoolExecutor(_THREADS) as pool:
        clips = [clip for found in pool.map(scan, shards) for clip in found]
    if problems:
        raise ManifestError(source, sorted(problems))
    counts = collections.Counter(clip.id for clip in clips)
    unique = (dataclasses.replace(c, id=f"{c.id} ({c.names[0]})") if counts[c.id] > 1 else c for c in clips)
    return Annotations(tuple(unique), classes)


def _record_set(source: str) -> RecordSet:
    value = read_json(source)
    if not isinstance(value, dict):
        raise ManifestError(source, ["it is not an object with base_dir, tables, heads and label_offset"])
    try:
        return TypeAdapter(RecordSet).validate_python(value)
    except ValidationError as error:
        # "Value error, " precedes the reasons of RecordSet itself.
        problems = [(".".join(map(str, found["loc"])), found["msg"]) for found in error.errors()]
        reasons = [f"{place}: {reason}" if place else reason for place, reason in problems]
        raise ManifestError(source, [reason.removeprefix("Value error, ") for reason in reasons]) from error


def _files(source: str, record_set: RecordSet, base: str) -> dict[str, str]:
    """The split of each file."""
    shards, tables, problems = {}, {}, []
    for split, names in record_set.tables.items():
        expanded = [path for name in names for path in dmvr.expand_table(name, base)]
        again = next((path for path in expanded if path in shards), None)
        if not expanded:
            problems.append(f"tables.{split} names no file")
        elif again:
            problems.append(f"tables.{split}: {again} is in tables.{tables[again]}, too; leave one of the two out")
        shards.update(dict.fromkeys(expanded, split_named(split)))
        tables.update(dict.fromkeys(expanded, split))
    if problems:
        raise ManifestError(source, problems)
    return shards


def _class_names(path: str) -> tuple[str, ...]:
    names = tuple(line.strip() for line in read_text(path).splitlines())
    twice = [name for name, count in collections.Counter(names).items() if count > 1]
    problems = [f"row {place} is empty; a class's row is its number" for place, name in enumerate(names, 1) if not name]
    problems += [f"class {name!r} stands twice" for name in twice if name]
    if problems or not names:
        raise ManifestError(path, problems or ["it names no class"])
    return names


def _clips(
    file: str, name: str, split: str, classes: Mapping[str, Sequence[str]], label_offset: int, problems: list[str]
) -> list[Annotation]:
    """The clips of one file. If it is damaged, a last clip stands for what can no longer be read."""

    def clip_at(offset: int) -> Annotation:
        record, path = f"{name}#{offset}", f"{file}#{offset}"
        return Annotation(path, {}, split, names=(record,), group=record, id=record, path=path)

    clips = []
    try:
        for offset, head in read_heads(file, _HEAD_BYTES):
            clips.append(_described(clip_at(offset), head, classes, label_offset, problems))
    except RecordError as error:
        if error.offset:
            clips.append(dataclasses.replace(clip_at(error.offset), unusable="its file is damaged from there on"))
        else:
            problems.append(f"{file}: {error}")
    return clips


def _described(
    clip: Annotation, head: bytes, classes: Mapping[str, Sequence[str]], label_offset: int, problems: list[str]
) -> Annotation:
    """A clip with what its record, which begins with `head`, says about it."""
    try:
        context = _context(clip.path, head).feature
    except (DecodeError, RecordError):
        return dataclasses.replace(clip, unusable="it is no tf.train.SequenceExample, or a damaged one")
    indices = [index - label_offset for index in context[dmvr.LABEL_INDICES].int64_list.value]
    last = sum(map(len, classes.values())) - 1
    for index in indices:
        if not 0 <= index <= last:
            message = f"class index {index + label_offset}, less label_offset {label_offset}, is not in 0 to {last}"
            problems.append(f"{clip.path}: {message}: check the label_offset and the class files")
    labels = _labels(indices, classes)
    if indices and not labels:
        clip = dataclasses.replace(clip, unusable="not one class for each head")
    video = b"".join(context[dmvr.FILENAME].bytes_list.value[:1]).decode(errors="backslashreplace")
    start = sum(context[dmvr.START].int64_list.value[:1])
    described = {"id": f"{video}@{start}", "group": video} if video else {}
    return dataclasses.replace(clip, labels=labels, **described)


def _context(path: str, head: bytes) -> tf.train.Features:
    """The context of the record that begins with `head`.

    Raises:
      DecodeError: If it is no SequenceExample.
      RecordError: If it is damaged.
    """
    if head[:1] == _CONTEXT_TAG:
        # Its length, seven bits a byte; the last byte is below 128.
        length = 0
        for place, byte in enumerate(head[1:6]):
            length |= (byte & 0x7F) << 7 * place
            if byte < 0x80:
                context = head[place + 2 :][:length]
                if len(context) == length:
                    return tf.train.Features.FromString(context)
                break
    return tf.train.SequenceExample.FromString(read_record(path)).context


def _labels(indices: Sequence[int], classes: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Class by head; nothing where a head has not exactly one."""
    labels, first = {}, 0
    for head, names in classes.items():
        own = [names[index - first] for index in indices if 0 <= index - first < len(names)]
        if len(own) != 1:
            return {}
        labels[head], first = own[0], first + len(names)
    return labels
