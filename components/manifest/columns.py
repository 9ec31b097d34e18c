"""The columns of a table of labelled videos: what their names mean, in the spellings that people use.

Contract: the only place where the name of a column has a meaning. A name that has one is understood in any case and in
its usual synonyms; a column that looks as if it had one, but has not, is reported with what to call it. All others are
slices.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from components.manifest.table import split_named
from schemas import features

# What has a meaning, besides label and label/<head>; every other column is a slice.
PLAIN_COLUMNS = ("path", "label", "start", "end", "split", "group", "id")
# Names that hardly mean anything else, in lower case and without the signs between words; times follow `_EDGE`.
_SYNONYMS = {
    "path": "path paths video videos file files filename filenames filepath videopath videofile videofilename clippath "
    "clipfile pathname relpath relativepath fullpath abspath absolutepath videofilepath",
    "label": "label labels class classes classname classnames labelname labelnames classlabel",
    "split": "split splits splitname datasplit datasetsplit",
    "group": "group groups groupid groupname",
    "id": "id clipid",
}
_MEANING = {word: ours for ours, words in _SYNONYMS.items() for word in words.split()}
# Where a clip starts or ends, then the unit: start_time, t_end, clip_stop_sec, startTimeMs.
_EDGE = re.compile(
    r"(?P<before>clip|segment|seg|video|event|action|timestamp|time|t|frame)?"
    r"(?P<edge>start|begin|beg|onset|end|stop|finish)(?:timestamp|time|at|in|t)*(?P<unit>[a-z]*)"
)
_EDGES = {
    **dict.fromkeys(("start", "begin", "beg", "onset"), "start"),
    **dict.fromkeys(("end", "stop", "finish"), "end"),
}
_SECONDS = ("", "s", "sec", "secs", "second", "seconds")
# How to make seconds of what is in another unit.
_UNITS = {
    "frames, which have no time in a video of varying rate": (
        "divide by the frames per second of the video",
        "frame frames frameid frameidx frameindex frameno framenum framenumber fr f idx index",
    ),
    "milliseconds": ("divide by 1,000", "ms msec msecs millis millisecond milliseconds"),
    "microseconds": ("divide by 1,000,000", "us usec usecs micros microsecond microseconds"),
    "nanoseconds": ("divide by 1,000,000,000", "ns nsec nanos nanosecond nanoseconds"),
    "minutes": ("multiply by 60", "m min mins minute minutes"),
    "an unknown unit": (
        "from the start of the video",
        "pos position offset code timecode tc pts tick ticks sample samples",
    ),
}
_UNIT_OF = {word: unit for unit, (_, words) in _UNITS.items() for word in words.split()}
# What may be a time where all its values are numbers, alone or with one of these endings.
_TIME_WORDS = {
    **dict.fromkeys(("from", "in", "t0", "first"), "start"),
    **dict.fromkeys(("to", "out", "t1", "last", "until"), "end"),
}
_ENDING = re.compile(r"(?:point|time|timestamp|s|sec|secs|second|seconds|frame|frames)$")
# The same where there is a start without an end.
_LENGTH = re.compile(r"(?:duration|length|offset).*|.*(?:sec|secs|second|seconds|time|timestamp)")
_PAIR_WORDS = ("segment", "interval", "time", "timestamp", "range", "timerange", "span", "window", "frame")
_NUMBER = r"\d+(?:\.\d*)?(?:e-?\d+)?"
_PAIR = re.compile(rf"[\[(]?\s*{_NUMBER}\s*(?:[-–,;:|\s]|to)\s*{_NUMBER}\s*[\])]?")
_FLAGS = {"0", "1", "true", "false", "yes", "no", "y", "n", "x", "0.0", "1.0"}


class Columns(NamedTuple):
    """What the columns of a table mean.

    Attributes:
      meaning: Our name by the name as it is written, of each column that has a meaning.
      problems: What is wrong with them, and what to do.
      doubtful: What looks like ours and is not, and what to call it.
    """

    meaning: dict[str, str]
    problems: list[str]
    doubtful: list[str]

    @property
    def notes(self) -> list[str]:
        """Which of `meaning` are written in another way than ours, for the reader."""
        others = [f"{written!r} as {ours!r}" for written, ours in self.meaning.items() if written != ours]
        return [f"columns are read in our names: {', '.join(others)}"] if others else []


def head_of(column: str) -> str | None:
    """The head whose classes a column holds; None of any other column."""
    if column == "label":
        return features.DEFAULT_HEAD
    return column.removeprefix(features.LABEL_PREFIX) if column.startswith(features.LABEL_PREFIX) else None


def label_columns(columns: Iterable[str]) -> dict[str, str]:
    """The columns of classes by head, in the order of `columns`."""
    return {head: column for column in columns if (head := head_of(column)) is not None}


def meaning_of(column: str) -> str | None:
    """Our name of a column: ``start`` of ``Start_Time``, ``label/verb`` of ``Class/verb``; None of a slice."""
    prefix, slash, head = column.partition("/")
    if slash:
        if _MEANING.get(_squashed(prefix)) != "label":
            return None
        return "label" if head == features.DEFAULT_HEAD else features.label_key(head)
    word = _squashed(column)
    edge, unit = _edge(word)
    return edge if edge and unit in _SECONDS else _MEANING.get(word)


def read_columns(rows: Sequence[tuple[str, Mapping[str, str]]], slices: Collection[str] = ()) -> Columns:
    """What the columns of rows mean; those in `slices` are slices, unless they are written as ours are."""
    names = list(dict.fromkeys(column for _, row in rows for column in row))
    open_names = [name for name in names if name not in slices or name in PLAIN_COLUMNS or head_of(name) is not None]
    meaning = {column: ours for column in open_names if (ours := meaning_of(column))}
    problems, first = [], {}
    for column, ours in meaning.items():
        other = first.setdefault(ours, column)
        if other != column:
            problems.append(f"columns {other!r} and {column!r} both mean {ours!r}: leave one of them, or rename it")
    missing = [ours for ours in PLAIN_COLUMNS if ours not in first]
    doubtful = []
    for column in open_names:
        if column not in meaning:
            values = {row[column] for _, row in rows if row.get(column)}
            doubt = next(_doubts(column, values, missing), None)
            doubtful += [f"column {column!r} {doubt}"] if doubt else []
    return Columns(meaning, problems, doubtful)


def with_our_names(
    rows: Sequence[tuple[str, dict[str, str]]], columns: Columns
) -> Sequence[tuple[str, dict[str, str]]]:
    """The rows with the columns called as ours are."""
    if not columns.notes:
        return rows
    return [(where, {columns.meaning.get(name, name): text for name, text in row.items()}) for where, row in rows]


def hint(columns: Iterable[str], wanted: str) -> str:
    """Which of the columns may be the one that is missing, for a message; empty if none is nearly called so."""
    near = next((column for column in columns if _is_near(_squashed(column), wanted)), None)
    return f": rename {near!r} to {wanted!r}" if near else ""


def _doubts(column: str, values: Collection[str], missing: Collection[str]) -> Iterator[str]:
    """Why a column may be one of ours that is missing."""
    word, (prefix, slash, head) = _squashed(column), column.partition("/")
    edge, unit = _edge(word)
    are_numbers = bool(values) and all(re.fullmatch(_NUMBER, value) for value in values)
    if slash and _is_near(_squashed(prefix), "label"):
        yield f"looks like 'label/{head}': rename it"
    if edge in missing and unit in _UNIT_OF:
        of = _UNIT_OF[unit]
        yield f"is in {of}: give {edge!r} in seconds ({_UNITS[of][0]})"
    for ours in ("start", "end", "split", "group"):
        if ours in missing and _is_near(word, ours) and (are_numbers or ours in ("split", "group")):
            yield f"looks like {ours!r}: rename it"
    if "split" in missing:
        splits = {split: value for value in sorted(values) if (split := split_named(value))}
        if "train" in splits and len(splits) > 1:
            yield f"holds {' and '.join(map(repr, splits.values()))}: rename it to 'split'"
        is_flag = bool(values) and {value.lower() for value in values} <= _FLAGS
        if is_flag and split_named(word.removeprefix("is").removesuffix("set")):
            yield "says yes or no to a split: give one column 'split' with train, eval or test"
    looks_like = _TIME_WORDS.get(word) or _TIME_WORDS.get(_ENDING.sub("", word))
    if are_numbers and looks_like in missing:
        yield f"looks like a time: give {looks_like!r} in seconds"
    if are_numbers and _LENGTH.fullmatch(word) and "end" in missing and "start" not in missing:
        yield "stands beside 'start' without an 'end': give 'end' in seconds from the start of the video"
    if (
        word.removesuffix("s") in _PAIR_WORDS
        and {"start", "end"} <= set(missing)
        and values
        and all(map(_PAIR.fullmatch, values))
    ):
        yield "holds two times: give them as two columns 'start' and 'end', in seconds"


def _squashed(column: str) -> str:
    """A name in lower case, letters and digits alone."""
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", column).casefold())


def _edge(word: str) -> tuple[str, str]:
    """Whether a column is the start or the end of a clip, and in which unit; empty if it is neither."""
    found = _EDGE.fullmatch(word)
    if not found:
        return "", ""
    return _EDGES[found["edge"]], "frame" if found["before"] == "frame" else found["unit"]


def _is_near(word: str, wanted: str) -> bool:
    """Whether a word is a name of ours, or one of its synonyms, with one mistake in typing."""
    words = [other for other, ours in _MEANING.items() if ours == wanted] or [wanted, f"{wanted}time"]
    return any(is_one_mistake(word, other) for other in words if len(other) > 2)


def is_one_mistake(word: str, other: str) -> bool:
    """Whether one letter is missing, added, changed or in its neighbour's place. Of short words none is changed."""
    if word == other or abs(len(word) - len(other)) > 1:
        return False
    shorter, longer = sorted((word, other), key=len)
    if len(shorter) < len(longer):
        return any(longer[:place] + longer[place + 1 :] == shorter for place in range(len(longer)))
    different = [place for place, (one, two) in enumerate(zip(word, other, strict=True)) if one != two]
    if len(different) == 1:
        return len(word) > 3
    first, *rest = different
    return rest == [first + 1] and word[first] == other[first + 1] and word[first + 1] == other[first]
