"""What every importer returns: clips named by their annotations, not yet found on disk.

Contract: a reader decodes nothing and looks for no video. It takes annotation files and returns `Annotations` or raises
`ManifestError` with every mistake, its file, row and column.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Mapping, Sequence

from components.manifest.table import ManifestError, read_text, split_named
from schemas import features

LABEL = features.DEFAULT_HEAD

# Of trainingSet and trainlist, too.
_WORD = re.compile(r"[A-Z]?[a-z]+?(?=set|list|[^a-z]|$)|[A-Z]+")


@dataclasses.dataclass(frozen=True)
class Annotation:
    """One clip as its publisher describes it.

    Attributes:
      where: File and row, for messages.
      labels: Class by head; empty where the publisher keeps it secret, as in test lists.
      split: train, eval or test; empty to have it drawn by the group.
      names: Names of the clip's own file, best first: a path or its last parts, with or without the suffix.
      source_names: Names of the longer video that the clip is cut from.
      start, end: The clip in its source, seconds.
      group: The source that clips are cut from; empty for the file itself.
      id: A unique name; empty for the path of the file, and the segment.
      slices: Further columns.
      path: The clip itself, where no video has to be found: a record of DMVR, or a video of a folder of classes.
      folder: Of a table's clip the table's folder, from which its names are paths.
      unusable: Why it cannot be a clip, in words; empty if it can.
    """

    where: str
    labels: Mapping[str, str]
    split: str = ""
    names: tuple[str, ...] = ()
    source_names: tuple[str, ...] = ()
    start: float | None = None
    end: float | None = None
    group: str = ""
    id: str = ""
    slices: Mapping[str, str] = dataclasses.field(default_factory=dict)
    path: str = ""
    folder: str = ""
    unusable: str = ""


@dataclasses.dataclass(frozen=True)
class Annotations:
    """The clips of a data set, and by head its classes in the order of the publisher's ids, where that is known."""

    clips: tuple[Annotation, ...]
    classes: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()


def split_of_file(path: str) -> str:
    """The split that a file is for by a word of its name, such as ``EPIC_100_validation.csv`` or ``trainingSet.csv``.

    Raises:
      ManifestError: If its name says none, or several.
    """
    words = _WORD.findall(os.path.splitext(os.path.basename(path))[0])
    found = [word for word in words if split_named(word)]
    if len(set(map(split_named, found))) != 1:
        found_words = f"its name says {' and '.join(found)}" if found else "its name says no split"
        raise ManifestError(path, [f"{found_words}; wanted one of train, val and test in it"])
    return split_named(found[0])


def normal_path(path: str) -> str:
    """A path or a URI without ``.`` and ``..`` in it."""
    scheme, mark, rest = path.rpartition("://")
    return scheme + mark + os.path.normpath(rest)


def read_json(path: str) -> object:
    """The value of a JSON file.

    Raises:
      ManifestError: If it is not JSON.
    """
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise ManifestError(path, [f"it is not JSON: {error}"]) from error


def require_columns(path: str, rows: Sequence[tuple[str, dict[str, str]]], wanted: Sequence[str]) -> None:
    """Raises ManifestError if a column is missing."""
    columns = list(dict.fromkeys(column for _, row in rows for column in row))
    missing = [column for column in wanted if column not in columns]
    if missing:
        raise ManifestError(
            path, [f"missing column {column!r}; it has {', '.join(columns) or 'no row'}" for column in missing]
        )
