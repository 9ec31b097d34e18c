"""What ingest lost, and why: rows of the clips that could not be decoded, counted by stage and by reason.

A quarantine is a folder with the JSON lines of one `<split>.jsonl` per split and their counts in `summary.json`. Every
clip that goes in comes out once, as an example or as a row; `check_accounted` checks it.
"""

from __future__ import annotations

import collections
import dataclasses
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import tensorflow as tf

from components.manifest.reader import Clip
from components.media.video import VideoError

_SHOWN_ROWS = 20
_SUMMARY = "summary.json"
_NUMBER = re.compile(r"\d+(\.\d+)?")


class TooManyBadVideosError(RuntimeError):
    """More clips than the configuration allows, or all clips of a class, could not be decoded."""


class ClipsUnaccountedError(RuntimeError):
    """A clip went in, but came out neither as an example nor as a row of the quarantine."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of some clips of a split.

    Attributes:
      split: Name of the split.
      examples: Clips that are stored as examples.
      short: Those of them whose video had fewer frames than `ingest.min_frames`.
      rows: One row of the quarantine for each of the other clips, see `quarantine_row`.
    """

    split: str
    examples: int
    short: int
    rows: tuple[dict[str, Any], ...]


def quarantine_row(clip: Clip, error: VideoError) -> dict[str, Any]:
    """The row of a clip that could not be decoded: id, path, stage, reason, and the bytes of its file."""
    return {"id": clip.id, "path": clip.path, "stage": error.stage, "reason": error.reason, "bytes": clip.size}


def reason_group(row: dict[str, Any]) -> str:
    """What rows with the same cause share: the stage, and the reason without its numbers."""
    return f"{row['stage']}: {_NUMBER.sub('N', row['reason'])}"


def write_quarantine(folder: str, splits: Sequence[str], outcomes: Iterable[Outcome]) -> None:
    """Writes the rows and the counts of all outcomes; the same outcomes in any order give the same bytes.

    ``summary.json`` holds "examples", the "short" ones of them and "quarantined" by split, and "reasons": clips by
    `reason_group`, the most frequent first.
    """
    rows, examples, short = {split: [] for split in splits}, dict.fromkeys(splits, 0), dict.fromkeys(splits, 0)
    for outcome in outcomes:
        rows[outcome.split].extend(outcome.rows)
        examples[outcome.split] += outcome.examples
        short[outcome.split] += outcome.short
    for split, lost in rows.items():
        lines = [json.dumps(r, ensure_ascii=False) + "\n" for r in sorted(lost, key=lambda r: r["id"])]
        with tf.io.gfile.GFile(os.path.join(folder, f"{split}.jsonl"), "w") as file:
            file.write("".join(lines))
    reasons = collections.Counter(sorted(reason_group(r) for lost in rows.values() for r in lost))
    summary = {
        "examples": examples,
        "short": short,
        "quarantined": {split: len(lost) for split, lost in rows.items()},
        "reasons": dict(reasons.most_common()),
    }
    with tf.io.gfile.GFile(os.path.join(folder, _SUMMARY), "w") as file:
        file.write(json.dumps(summary, indent=2, ensure_ascii=False))


def read_quarantine(folder: str) -> list[dict[str, Any]]:
    """Rows of all splits."""
    return [json.loads(line) for line in read_lines(os.path.join(folder, "*.jsonl"))]


def read_summary(folder: str) -> dict[str, dict[str, int]]:
    """The counts that `write_quarantine` wrote."""
    with tf.io.gfile.GFile(os.path.join(folder, _SUMMARY)) as file:
        return json.loads(file.read())


def read_lines(pattern: str) -> Iterator[str]:
    """Lines of the text files that match, in the order of their names, without blank ones."""
    for path in sorted(tf.io.gfile.glob(pattern)):
        with tf.io.gfile.GFile(path) as file:
            yield from (line for line in file if line.strip())


def check_accounted(clips: Iterable[Clip], summary: dict[str, dict[str, int]]) -> None:
    """Raises ClipsUnaccountedError unless each split has as many examples and rows as clips."""
    counted = {split: count + summary["quarantined"][split] for split, count in summary["examples"].items()}
    wanted = collections.Counter(clip.split for clip in clips)
    wrong = [split for split in counted.keys() | wanted.keys() if counted.get(split, 0) != wanted[split]]
    if wrong:
        counts = "; ".join(f"{split}: {wanted[split]} in, {counted.get(split, 0)} out" for split in sorted(wrong))
        raise ClipsUnaccountedError(f"clips were lost or doubled on the way ({counts}); run the ingest again")


def check_losses(clips: Sequence[Clip], lost: Sequence[dict[str, Any]], max_bad_fraction: float) -> None:
    """Raises TooManyBadVideosError if more than `max_bad_fraction` of the clips, or a class of a split, is lost."""
    if not lost:
        return
    lost_ids = {row["id"] for row in lost}
    problems = []
    if len(lost) > max_bad_fraction * len(clips):
        problems.append(
            f"{len(lost)} of {len(clips)} clips cannot be decoded ({len(lost) / len(clips):.1%}; "
            f"ingest.max_bad_fraction allows {max_bad_fraction:.1%})"
        )
    left = collections.Counter()
    for clip in clips:
        for head, name in clip.labels.items():
            left[clip.split, head, name] += clip.id not in lost_ids
    classes = [f"no clip is left of {head} {name!r} in {split}" for (split, head, name), n in left.items() if not n]
    if classes:
        problems += [*classes, "mend its videos, or take their rows out of the manifest"]
    if problems:
        rows = [f"  {row['path']}: {row['reason']}" for row in lost[:_SHOWN_ROWS]]
        more = [f"  … and {len(lost) - _SHOWN_ROWS} more"] if len(lost) > _SHOWN_ROWS else []
        raise TooManyBadVideosError("\n".join(["; ".join(problems) + ":", *rows, *more]))
