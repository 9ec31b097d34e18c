"""UCF101 and HMDB51: lists of file names per split.

The published protocol evaluates on the test lists, so their split is `eval`. One of the three numbered splits is
imported at a time: a clip that trains in one is tested in another.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence

from components.manifest.importers.annotations import LABEL, Annotation, Annotations
from components.manifest.table import ManifestError, read_text

_UCF_LIST = re.compile(r"(train|test)list(\d+)\.txt", re.IGNORECASE)
_UCF_LINE = re.compile(r"(?P<path>(?P<label>[^/]+)/.*?)(?:\s+(?P<number>\d+))?")
_HMDB_LIST = re.compile(r"(.+)_test_split(\d+)\.txt", re.IGNORECASE)
_HMDB_LINE = re.compile(r"(?P<name>.+?)\s+(?P<use>[012])")
_HMDB_SPLITS = {"1": "train", "2": "eval"}


def read_ucf101(paths: Sequence[str]) -> Annotations:
    """Reads ``trainlist01.txt``, ``testlist01.txt`` and ``classInd.txt``; ``v_<class>_g08`` is a group."""
    by_number: dict[str, str] = {}
    clips: list[Annotation] = []
    lists = [path for path in paths if os.path.basename(path).lower() != "classind.txt"]
    for path in set(paths) - set(lists):
        by_number = dict(line.split(None, 1) for _, line in _lines(path, re.compile(r"\d+\s+\S.*")))
    _one_split(lists, _UCF_LIST, "trainlist01.txt or testlist01.txt")
    for path in lists:
        for where, line in _lines(path, _UCF_LINE):
            name, label, number = _UCF_LINE.fullmatch(line).group("path", "label", "number")
            if by_number and number and by_number.get(number) != label:
                problem = f"{where}: class {number} is {by_number.get(number)!r} in classInd.txt, not {label!r}"
                raise ManifestError(path, [problem])
            split = "train" if os.path.basename(path).lower().startswith("train") else "eval"
            file = os.path.basename(name)
            group = re.sub(r"_c\d+$", "", os.path.splitext(file)[0])
            # The class is in the name of the file, too; its folder is spelled in several ways, or not there.
            clips.append(Annotation(where, {LABEL: label}, split, names=(name, file), group=group))
    classes = tuple(by_number[number] for number in sorted(by_number, key=int))
    return Annotations(tuple(clips), {LABEL: classes} if classes else {})


def read_hmdb51(paths: Sequence[str]) -> Annotations:
    """Reads ``<class>_test_split1.txt``: 1 trains, 2 is evaluated, 0 is in neither and left out.

    A group is the part of a file's name before the class: the film that it is from.
    """
    clips: list[Annotation] = []
    unused = 0
    _one_split(paths, _HMDB_LIST, "brush_hair_test_split1.txt")
    for path in paths:
        label = _HMDB_LIST.fullmatch(os.path.basename(path))[1]
        for where, line in _lines(path, _HMDB_LINE):
            name, use = _HMDB_LINE.fullmatch(line).group("name", "use")
            if use not in _HMDB_SPLITS:
                unused += 1
                continue
            film = name.partition(f"_{label}_")[0]
            clips.append(
                Annotation(where, {LABEL: label}, _HMDB_SPLITS[use], names=(f"{label}/{name}", name), group=film)
            )
    return Annotations(tuple(clips), notes=(f"{unused} clips are in neither half of this split",) if unused else ())


def _one_split(paths: Sequence[str], pattern: re.Pattern, example: str) -> None:
    names = {path: pattern.fullmatch(os.path.basename(path)) for path in paths}
    for path, name in names.items():
        if not name:
            raise ManifestError(path, [f"unknown list; wanted a name such as {example}"])
    numbers = sorted({name[2] for name in names.values()})
    if len(numbers) > 1:
        raise ManifestError(paths[0], [f"lists of the splits {', '.join(numbers)}; give those of one"])


def _lines(path: str, wanted: re.Pattern) -> Iterator[tuple[str, str]]:
    """Lines of a list, each with its place."""
    lines = [(number, line.strip()) for number, line in enumerate(read_text(path).splitlines(), start=1)]
    wrong = [f"row {number}: cannot read {line!r}" for number, line in lines if line and not wanted.fullmatch(line)]
    if wrong:
        raise ManifestError(path, wrong)
    return ((f"{path}, row {number}", line) for number, line in lines if line)
