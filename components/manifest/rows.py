"""One row of a table of labelled videos, with types: what `components.manifest.table` reads as text.

Contract: the only place where the text in a column has a meaning; `components.manifest.columns` knows the names. What a
row lacks or gets wrong is reported with its place; the caller decides whether that matters.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

from components.manifest.columns import PLAIN_COLUMNS, head_of, label_columns
from components.manifest.table import SPLITS, split_named


class Segment(NamedTuple):
    """A part of a video in seconds; None where the row does not state it."""

    start: float | None
    end: float | None

    @property
    def is_whole(self) -> bool:
        """Whether it is the whole video."""
        return self.start is None and self.end is None


@dataclasses.dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
      where: Its place, as an editor counts lines.
      path: The video, as it is written; empty if there is none.
      labels: Class by head; a head without a class is left out.
      segment: Start and end; None for a time that is not given, or not valid.
      split: train, eval or test; empty if none is given, or one that is unknown.
      group, id: As they are written; empty if they are not.
      slices: Values of the other columns; empty ones are left out.
      bad_times: What is wrong with start and end, with the place.
      bad_split: What is wrong with the split, with the place; empty if nothing is.
    """

    where: str
    path: str
    labels: Mapping[str, str]
    segment: Segment
    split: str
    group: str
    id: str
    slices: Mapping[str, str]
    bad_times: tuple[str, ...]
    bad_split: str

    @property
    def problems(self) -> tuple[str, ...]:
        """All that is wrong with it."""
        return (*self.bad_times, *([self.bad_split] if self.bad_split else ()))


def parse_row(where: str, row: Mapping[str, str]) -> Row:
    """Gives the text of a row its meaning.

    Args:
      where: The place of the row, for messages.
      row: Text by column, which have our names.
    """
    bad_times: list[str] = []
    segment = Segment(*(seconds(row, column, where, bad_times) for column in ("start", "end")))
    split = row.get("split", "")
    known = split_named(split)
    return Row(
        where=where,
        path=row.get("path", ""),
        labels={head: row[column] for head, column in label_columns(row).items() if row[column]},
        segment=segment,
        split=known or "",
        group=row.get("group", ""),
        id=row.get("id", ""),
        slices={c: value for c, value in row.items() if value and c not in PLAIN_COLUMNS and head_of(c) is None},
        bad_times=tuple(bad_times),
        bad_split=f"{where}: split {split!r}; wanted {', '.join(SPLITS)} or nothing" if split and not known else "",
    )


def seconds(row: Mapping[str, str], column: str, where: str, problems: list[str]) -> float | None:
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
