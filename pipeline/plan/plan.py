"""The plan of a run: its clips and classes by split, its slices, how the source was read, and what looks odd.

Contract: made of a checked manifest and a recipe before anything is decoded. `vivit run`, `demo`, `prepare` and `check`
show the same.
"""

from __future__ import annotations

import collections
import dataclasses
import math
import os
import textwrap
from collections.abc import Mapping, Sequence

from components.manifest.importers.videos import durations
from components.manifest.reader import Manifest
from components.manifest.table import SPLITS
from pipeline.console import aligned, printable
from pipeline.plan.oddities import oddities
from pipeline.recipe import Recipe

# Of more classes only the largest and the smallest are shown.
_ALL_CLASSES, _LARGEST, _SMALLEST = 10, 4, 4
_WIDEST = 32
# Videos whose headers are read.
_LOOKED_AT = 100
# Of a line, without what stands before it.
_WIDTH = 100
_SHOWN = 3
# Training clips of a class on average from which on a small network was seen to learn from scratch: the demo has as
# many, while 30 of real actions stayed at chance.
_ENOUGH_FROM_SCRATCH = 150


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a run is about to do.

    Attributes:
      splits: Clips by split.
      classes: By head, the clips of each class by split; the largest class first.
      slices: Number of values by slice.
      weights: What the network starts from, and where that is nothing, what it means; empty if nothing is to be said.
      notes: How the source was read, where that is not as usual.
      left_out: What of it is not used.
      odd: What looks odd, each with the setting or column that answers it.
    """

    splits: Mapping[str, int]
    classes: Mapping[str, Mapping[str, Mapping[str, int]]]
    slices: Mapping[str, int]
    weights: str = ""
    notes: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    odd: tuple[str, ...] = ()

    @property
    def remarks(self) -> list[tuple[str, tuple[str, ...]]]:
        """All but the clips, as titles and lines."""
        slices = ", ".join(f"{name} ({count:,} values)" for name, count in self.slices.items())
        return [
            ("slices", (slices,) if slices else ()),
            ("weights", (self.weights,) if self.weights else ()),
            ("read", self.notes),
            ("left out", self.left_out),
            ("odd", self.odd),
        ]


def plan_run(manifest: Manifest, recipe: Recipe, weights: str = "") -> Plan:
    """The plan of a run, for which the headers of some videos are read: it takes a second or two.

    Args:
      manifest: The checked manifest.
      recipe: Every setting.
      weights: What the network starts from, in words; empty for fresh weights.
    """
    given = weights or recipe.model.init_from
    said = f"starts from {given}" if given else _from_scratch(manifest)
    return dataclasses.replace(make_plan(manifest, recipe, _some_durations(manifest)), weights=said)


def _from_scratch(manifest: Manifest) -> str:
    """What to expect of fresh weights; empty where there are clips enough."""
    most = max(len(manifest.classes(head)) for head in manifest.heads)
    of_each = len(manifest.split("train")) / max(1, most)
    if of_each >= _ENOUGH_FROM_SCRATCH:
        return ""
    return (
        f"none: from scratch, {of_each:.0f} clips a class hardly beat chance; start from an image ViT with "
        "--set model.init_from=FILE, see docs/few-clips.md"
    )


def _some_durations(manifest: Manifest) -> dict[str, float]:
    """Seconds of some videos by path, as their headers state it: local ones, evenly spread over the data set."""
    local = sorted({clip.path for clip in manifest.clips if "://" not in clip.path})
    spread = local[:: math.ceil(len(local) / _LOOKED_AT) or 1]
    found = durations([path for path in spread if os.path.isfile(path)])
    return {path: seconds for path, seconds in found.items() if seconds is not None}


def make_plan(manifest: Manifest, recipe: Recipe, seconds: Mapping[str, float]) -> Plan:
    """The plan of a run; `seconds` has the length of videos, by path, of those that are known."""
    notes = list(manifest.notes)
    if moved := len(manifest.moved_to_train):
        notes.append(f"{moved:,} group(s) drawn for eval went to train: their class has no other")
    return Plan(
        splits={split: len(clips) for split in SPLITS if (clips := manifest.split(split))},
        classes={head: _classes(manifest, head) for head in manifest.heads},
        slices={name: len({clip.slices.get(name, "") for clip in manifest.clips} - {""}) for name in manifest.slices},
        notes=tuple(notes),
        left_out=tuple(_left_out(manifest)),
        odd=tuple(oddities(manifest, recipe, seconds)),
    )


def _classes(manifest: Manifest, head: str) -> dict[str, collections.Counter]:
    counts = collections.defaultdict(collections.Counter)
    for clip in manifest.clips:
        counts[clip.labels[head]][clip.split] += 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1].total(), item[0])))


def _left_out(manifest: Manifest) -> list[str]:
    lines = []
    if manifest.ignored:
        lines.append(
            f"{len(manifest.ignored):,} file(s) and folder(s) that are no videos of a class: {_some(manifest.ignored)}"
        )
    if manifest.unused_columns:
        lines.append(f"columns not named in data.heads or data.slices: {', '.join(manifest.unused_columns)}")
    if manifest.unreadable:
        reasons = [f"{name} ({reason})" for name, reason in manifest.unreadable.items()]
        lines.append(f"{len(reasons):,} clip(s) whose file cannot be read go to the quarantine: {_some(reasons)}")
    return lines


def plan_text(plan: Plan) -> str:
    """The plan for a terminal."""
    splits = ", ".join(f"{count:,} {split}" for split, count in plan.splits.items())
    lines = ["Plan", *_beside("clips", [f"{sum(plan.splits.values()):,} ({splits})"])]
    for head, classes in plan.classes.items():
        lines += _beside("classes", class_table(head, classes, list(plan.splits)))
    for title, texts in plan.remarks:
        lines += _beside(title, _wrapped(texts))
    return "\n".join(lines)


def class_table(head: str, classes: Mapping[str, Mapping[str, int]], splits: Sequence[str]) -> list[str]:
    """Lines of a table of clips by class and split; of many classes the largest and the smallest."""
    rows = [(printable(name), *(f"{count.get(split, 0):,}" for split in splits)) for name, count in classes.items()]
    if len(rows) > _ALL_CLASSES:
        rest = len(rows) - _LARGEST - _SMALLEST
        rows = [*rows[:_LARGEST], (f"… {rest:,} more", *[""] * len(splits)), *rows[-_SMALLEST:]]
    table = [(f"{head}: {len(classes):,}", *splits), *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return aligned([(row[0], *map(str.rjust, row[1:], widths[1:])) for row in table], _WIDEST)


def _beside(title: str, lines: Sequence[str]) -> list[str]:
    return [f"  {'' if number else title:<9} {line}" for number, line in enumerate(lines)]


def _wrapped(texts: Sequence[str]) -> list[str]:
    wrap = textwrap.TextWrapper(_WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    return [line for text in texts for line in wrap.wrap(printable(text))]


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return f"{shown}, …" if len(names) > _SHOWN else shown
