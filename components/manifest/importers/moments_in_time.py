"""Moments in Time: ``trainingSet.csv``, ``validationSet.csv`` and ``moments_categories.txt``.

CSV without a header: ``<class>/<file>.mp4,<class>,<votes for>,<votes against>``. Videos lie below training/ and
validation/. Categories: ``<class>,<id>`` a line.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterator, Sequence

from components.manifest.importers.annotations import LABEL, Annotation, Annotations, split_of_file
from components.manifest.table import ManifestError, read_text

_FOLDERS = {"train": "training", "eval": "validation", "test": "testing"}
# yt-<YouTube id>_<second>.mp4; the pieces of one source have one name before the last underscore.
_PIECE = re.compile(r"_\d+$")


def read_moments_in_time(paths: Sequence[str]) -> Annotations:
    """Reads annotations; pieces of one source video are a group. Each class must be in the categories, if given."""
    clips: list[Annotation] = []
    classes: dict[str, tuple[str, ...]] = {}
    for path in paths:
        if "categories" in os.path.basename(path).lower():
            classes[LABEL] = _classes(path)
        else:
            clips += _clips(path)
    return Annotations(tuple(clips), classes)


def _classes(path: str) -> tuple[str, ...]:
    rows = [line.rpartition(",") for line in read_text(path).splitlines() if line.strip()]
    wrong = [f"row {place}: wanted <class>,<id>" for place, row in enumerate(rows, 1) if not row[2].strip().isdigit()]
    if wrong:
        raise ManifestError(path, wrong)
    return tuple(name.strip() for name, _, _ in sorted(rows, key=lambda row: int(row[2])))


def _clips(path: str) -> Iterator[Annotation]:
    split = split_of_file(path)
    for number, row in enumerate(csv.reader(read_text(path).splitlines()), start=1):
        if not row:
            continue
        if len(row) < 2 or not all(row[:2]):
            raise ManifestError(path, [f"row {number}: wanted <class>/<file>,<class>,…, not {','.join(row)!r}"])
        name, label = (value.strip() for value in row[:2])
        stem = os.path.splitext(os.path.basename(name))[0]
        yield Annotation(
            where=f"{path}, row {number}",
            labels={LABEL: label},
            split=split,
            names=(f"{_FOLDERS[split]}/{name}", name),
            group=_PIECE.sub("", stem),
        )
