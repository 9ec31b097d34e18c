"""A folder of videos as rows of a table: which of its sub-folders is the class, and which the split.

Contract: ``<class>/<video>``, below split folders or above them, and below one folder around it all. A layout that
could mean something else is refused, with what was found and what is wanted.
"""

from __future__ import annotations

import collections
import functools
import re
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from components.manifest.table import ManifestError, as_text, split_named, video_files

_WANTED = (
    "wanted <class>/<video>, or train/<class>/<video> and val/<class>/<video>; else a manifest with the columns path, "
    "label and split"
)
# Words that may stand beside a split in the name of its folder, though no other folder has them.
_SPLIT_WORDS = {"set", "data", "split", "video", "videos", "clip", "clips", "frames", "small", "full"}
_FOLD = re.compile(r"(?:k?fold|split)s?[\W_]*\d+", re.IGNORECASE)
# Are classes where the videos lie in them, and parts of the data where there are folders in them.
_PART = re.compile(r"(?:part|chunk|shard|batch|subset|set)s?[\W_]*\d+", re.IGNORECASE)
# trainset, testlist, valvideos.
_SUFFIXED = re.compile(r"(.+?)(?:sets?|list|data|split|videos?|clips?|files?)")
_SHOWN_NAMES = 3


class LayoutError(ValueError):
    """The folders can be read in several ways."""


class Layout(NamedTuple):
    """Which folder of a path, counted from 0, is its class, and which its split (None: there are no split folders)."""

    label: int
    split: int | None = None

    def label_of(self, path: str) -> str:
        """The class of a video; empty if it lies in no folder of a class."""
        parents = path.split("/")[:-1]
        return parents[self.label] if len(parents) > self.label else ""

    def split_of(self, path: str) -> str:
        """The split of a video; empty where no folder says it."""
        if self.split is None:
            return ""
        named = _split_folder(path.split("/")[self.split])
        return named.split if named else ""

    def __str__(self) -> str:
        levels = ["*"] * (max(self.label, self.split or 0) + 1)
        levels[self.label] = "<class>"
        if self.split is not None:
            levels[self.split] = "<split>"
        return "/".join([*levels, "<video>"])


def folder_rows(root: str) -> tuple[list[tuple[str, dict[str, str]]], list[str], list[str]]:
    """Rows of a folder's videos, what was ignored (other files, and links to what is listed), and notes on its layout.

    Raises:
      ManifestError: If a folder cannot be listed, its layout can be read in several ways, or a name of a video cannot
        be written to a manifest.
    """
    videos, ignored, skipped = video_files(root)
    if skipped:
        raise ManifestError(root, [f"cannot list {folder}/: {reason}" for folder, reason in skipped.items()])
    # Names have no encoding on disk; those of manifests and records have.
    unwritable = [f"{path!r}: its name is not UTF-8; rename it" for path in videos if path != as_text(path)]
    if unwritable:
        raise ManifestError(root, unwritable)
    try:
        layout = read_layout(videos)
    except LayoutError as error:
        raise ManifestError(root, [str(error)]) from error
    rows = []
    for path in videos:
        label = layout.label_of(path)
        if label:
            split = {} if layout.split is None else {"split": layout.split_of(path)}
            rows.append((path, {"path": path, "label": label, **split}))
        else:
            ignored.append(path)
    return rows, sorted(ignored), _notes(_parents(videos), layout) if rows else []


def read_layout(videos: Sequence[str]) -> Layout:
    """Finds the levels of classes and splits in paths of videos.

    Raises:
      LayoutError: If they can be read in several ways.
    """
    paths = _parents(videos)
    level = _first_that_differs(paths, 0)
    if _are_splits(_names(paths, level)):
        layout = Layout(_first_that_differs(paths, level + 1), level)
    elif all(len(path) > level + 1 for path in paths) and _are_splits(_names(paths, level + 1)):
        layout = Layout(level, level + 1)
    else:
        layout = Layout(level)
    doubt = next(_doubts(paths, layout), None)
    if doubt:
        raise LayoutError(f"{doubt}; found {_drawn(paths)}; {_WANTED}")
    return layout


def _notes(paths: Sequence[Sequence[str]], layout: Layout) -> list[str]:
    """What is not as usual about a layout, for the reader."""
    notes = [] if layout in (Layout(0), Layout(1, 0)) else [f"folders are read as {layout}"]
    first, *rest = _folders_in(paths, layout.label).values()
    if rest and len(first) > 1 and rest.count(first) == len(rest) and layout.split != layout.label + 1:
        notes.append(f"the same folders stand in each class and say nothing: {_listed(sorted(first))}")
    return notes


class _SplitFolder(NamedTuple):
    """A folder that names a split: the split, and the other words of its name."""

    split: str
    others: tuple[str, ...]


@functools.cache
def _split_folder(name: str) -> _SplitFolder | None:
    """What a name such as ``train_256``, ``TestSet`` or ``kinetics400-val`` says; None if it names no split."""
    words = [word.lower() for word in re.findall(r"[^\W\d_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name))]
    words = [found[1] if (found := _SUFFIXED.fullmatch(word)) and split_named(found[1]) else word for word in words]
    splits = [split for word in words if (split := split_named(word))]
    return _SplitFolder(splits[0], tuple(w for w in words if not split_named(w))) if len(splits) == 1 else None


def _parents(videos: Sequence[str]) -> list[list[str]]:
    """The folders of each video that lies in one."""
    return [path.split("/")[:-1] for path in videos if "/" in path]


def _names(paths: Sequence[Sequence[str]], level: int) -> list[str]:
    return sorted({path[level] for path in paths if len(path) > level})


def _folders_in(paths: Sequence[Sequence[str]], level: int) -> dict[str, set[str]]:
    """What folders there are in each folder of a level."""
    inside = collections.defaultdict(set)
    for path in paths:
        if len(path) > level:
            inside[path[level]].update(path[level + 1 : level + 2])
    return dict(sorted(inside.items()))


def _first_that_differs(paths: Sequence[Sequence[str]], level: int) -> int:
    """The level, or the first one below it that is not one folder around all, which says nothing."""
    names = _names(paths, level)
    if len(names) == 1 and not _split_folder(names[0]) and all(len(path) > level + 1 for path in paths):
        return _first_that_differs(paths, level + 1)
    return level


def _are_splits(names: Collection[str]) -> bool:
    """Whether all folders of a level are splits, whose names differ in nothing else."""
    found = [_split_folder(name) for name in names]
    return bool(found) and all(found) and len({folder.others for folder in found}) == 1


def _doubts(paths: Sequence[Sequence[str]], layout: Layout) -> Iterator[str]:
    """Why the layout may be another one."""
    classes = _folders_in(paths, layout.label)
    if layout.split is not None and not classes:
        yield "there are no folders of classes in those of the splits"
    splits = {name: found for name in classes if (found := _split_folder(name))}
    of_kind = collections.defaultdict(set)
    for found in splits.values():
        of_kind[found.others].add(found.split)
    for name, found in splits.items():
        is_one_of_several = "train" in of_kind[found.others] and len(of_kind[found.others]) > 1
        is_decorated = split_named(name) is None and _SPLIT_WORDS.issuperset(found.others)
        if is_one_of_several or is_decorated or classes[name] & set(classes):
            others = [other for other in classes if other not in splits]
            what = f"stand beside classes ({_listed(others)})" if others else "name more than a split"
            yield f"splits ({_listed(splits)}) {what}"
    for level in range(layout.label, max(map(len, paths), default=0)):
        names = _names(paths, level)
        folds = [name for name in names if _FOLD.fullmatch(name)]
        if folds and (len(folds) > 1 or len(folds) == len(names)):
            yield f"folders of folds or splits ({_listed(folds)}) are neither classes nor train, eval and test"
        inner = [name for name in names if split_named(name)]
        if inner and level > layout.label and level != layout.split:
            yield f"splits ({_listed(inner)}) are those of some videos only, or stand too deep"
    if classes and all(map(_PART.fullmatch, classes)) and all(classes.values()):
        yield f"parts of the data ({_listed(classes)}) are no classes, and there are folders in each"


def _listed(names: Collection[str]) -> str:
    shown = [f"{name}/" for name in list(names)[:_SHOWN_NAMES]]
    return ", ".join([*shown, "…"] if len(names) > _SHOWN_NAMES else shown)


def _drawn(paths: Sequence[Sequence[str]]) -> str:
    """The folders of each level, as one path."""
    levels = []
    for level in range(max(map(len, paths))):
        names = _names(paths, level)
        shown = [*names[:_SHOWN_NAMES], *(["…"] if len(names) > _SHOWN_NAMES else [])]
        levels.append(shown[0] if len(names) == 1 else f"{{{','.join(shown)}}}")
    return "/".join([*levels, "<video>"])
