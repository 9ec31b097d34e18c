"""Something-Something v2, both releases: ``something-something-v2-train.json`` or ``labels/train.json``, and so on.

A list of ``{id, label, template, placeholders}``; the class is the template without its brackets. The test list holds
ids alone; ``test-answers.csv`` (``id;class``) has their classes. Videos are ``<id>.webm`` below any folders.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from components.manifest.importers.annotations import LABEL, Annotation, Annotations, read_json, split_of_file
from components.manifest.table import ManifestError, read_text


def read_something_something(paths: Sequence[str]) -> Annotations:
    """Reads annotations; where the labels file is among them, each class is checked against it."""
    clips: list[Annotation] = []
    classes: tuple[str, ...] = ()
    for path in paths:
        if path.lower().endswith(".csv"):
            clips += _answers(path)
            continue
        value = read_json(path)
        if isinstance(value, dict):
            try:
                classes = tuple(sorted(value, key=lambda name: int(value[name])))
            except (TypeError, ValueError) as error:
                raise ManifestError(path, [f"it does not map classes to numbers: {error}"]) from error
        else:
            clips += _clips(path, value)
    return Annotations(tuple(clips), {LABEL: classes} if classes else {})


def _clips(path: str, items: object) -> Iterator[Annotation]:
    if not isinstance(items, list):
        raise ManifestError(path, ["it is neither a list of clips nor an object of classes"])
    split = split_of_file(path)
    for number, item in enumerate(items, start=1):
        where = f"{path}, item {number}"
        if not isinstance(item, dict) or "id" not in item:
            raise ManifestError(path, [f"item {number} has no 'id'"])
        template = item.get("template") or ""
        if split != "test" and not template:
            raise ManifestError(path, [f"item {number}: 'template' is missing"])
        yield _clip(where, str(item["id"]), str(template).replace("[", "").replace("]", ""), split)


def _answers(path: str) -> Iterator[Annotation]:
    if "answers" not in os.path.basename(path).lower():
        raise ManifestError(path, ["wanted the JSON files of version 2; its only CSV is test-answers.csv"])
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        name, semicolon, label = line.partition(";")
        if not line.strip() or (number == 1 and semicolon and not name.strip().isdigit()):
            # A header, or what an editor leaves at the end.
            continue
        if not semicolon:
            raise ManifestError(path, [f"row {number}: wanted <id>;<class>, not {line!r}"])
        yield _clip(f"{path}, row {number}", name.strip(), label.strip(), "test")


def _clip(where: str, name: str, label: str, split: str) -> Annotation:
    return Annotation(where, {LABEL: label} if label else {}, split, names=(name,), id=name)
