"""The list of versions and candidates: a table on the terminal, or JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from components.evaluation.assessment import Assessment, Scored
from components.evaluation.statistics import Interval
from components.registry.history import Entry
from components.registry.records import Candidate
from pipeline.console import aligned, printable

# Characters of a column.
_WIDEST, _REASON = 24, 80
_DASH = "–"


def table(entries: Sequence[Entry]) -> str:
    """One line per entry, under a header."""
    rows = [("id", "when (UTC)", "state", "top-1 [95 %]", "verdict", "recipe", "label", "why")]
    for entry in entries:
        # A name may have any length, and a reason any number of lines.
        why = one_line(entry.detail, _REASON)
        rows.append((entry.id, time_in_words(entry.when), entry.state, *_evaluation(entry.candidate), why))
    return "\n".join(aligned(rows, _REASON))


def _evaluation(candidate: Candidate | None) -> Iterator[str]:
    if not candidate:
        yield from [_DASH] * 4
        return
    scored = leading(candidate.assessment)
    yield ", ".join(f"{one_line(one.name, _WIDEST)} {interval_in_words(_top_1(one))}" for one in scored)
    yield ", ".join(_verdict(one) or _DASH for one in scored)
    yield one_line(candidate.training.recipe, _WIDEST)
    yield one_line(candidate.label, _WIDEST) or _DASH


def as_json(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Plain values of the same."""
    return [_entry_as_json(entry) for entry in entries]


def _entry_as_json(entry: Entry) -> dict[str, Any]:
    values = {"id": entry.id, "when": entry.when, "state": entry.state, "why": entry.detail, "model": entry.model_uri}
    candidate = entry.candidate
    if candidate:
        top_1 = {one.name: _top_1(one) for one in leading(candidate.assessment)}
        values.update(
            candidate=candidate.id,
            recipe=candidate.training.recipe,
            label=candidate.label,
            top_1={name: at and {"value": at.value, "low": at.low, "high": at.high} for name, at in top_1.items()},
            verdict={one.name: _verdict(one) for one in leading(candidate.assessment)},
        )
    return values


def leading(assessment: Assessment) -> Sequence[Scored]:
    """What stands for a whole evaluation: all heads together where they are scored so, else each head."""
    together = [scored for scored in assessment.scored if not scored.commonest]
    return together or assessment.scored


def interval_in_words(interval: Interval | None, *, signed: bool = False) -> str:
    """E.g. "0.83 [0.71, 0.91]"."""
    if interval is None:
        return "too few clips"
    form = "{:+.3f}" if signed else "{:.3f}"
    value, low, high = map(form.format, (interval.value, interval.low, interval.high))
    return f"{value} [{low}, {high}]"


def time_in_words(when: str) -> str:
    """E.g. "2026-11-25 21:35", from ISO 8601."""
    return when[:16].replace("T", " ")


def one_line(text: str, most: int = 1000) -> str:
    """Text as one printable line of at most so many characters."""
    text = printable(" ".join(text.split()))
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _top_1(scored: Scored) -> Interval | None:
    return scored.figure("top_1").candidate


def _verdict(scored: Scored) -> str | None:
    return scored.comparison.verdict if scored.comparison else None
