"""What an evaluation found: every figure with its interval, and whether the model may go out. Plain data, as JSON.

`components.evaluation.gate` fills it from a table of predictions; the summary, the review page and the list of versions
show it.
"""

from __future__ import annotations

import json
from typing import Literal

import pydantic
from pydantic.dataclasses import dataclass

from components.evaluation.statistics import Interval, Verdict

Metric = Literal["top_1", "top_5", "macro_top_1", "ece", "adaptive_ece", "loss", "centre_top_1"]


@dataclass(frozen=True)
class Figure:
    """One metric: of the candidate on all of its clips, of production, and their difference on the clips of both.

    Attributes:
      metric: Its name.
      candidate: None where it has too few clips.
      production: On the clips that are compared; None without a model in production.
      difference: Candidate less production, on the clips that are compared.
    """

    metric: Metric
    candidate: Interval | None
    production: Interval | None = None
    difference: Interval | None = None


@dataclass(frozen=True)
class Group:
    """Top-1 of one class, or of one value of a slice column.

    Attributes:
      column: The slice column; the name of the head where the group is a class.
      value: The class, or the value of the column.
      clips, sources: Clips in it, and the sources that they come from.
      top_1: As in `Figure`; no interval of too few clips.
      adjusted: p value of McNemar's exact test after Holm's correction over all groups of a head; None if not compared.
      significant: "better" or "worse" where `adjusted` is below 0.05; else empty.
    """

    column: str
    value: str
    clips: int
    sources: int
    top_1: Figure
    adjusted: float | None = None
    significant: Literal["", "better", "worse"] = ""


@dataclass(frozen=True)
class Comparison:
    """Candidate and production on the same clips.

    Attributes:
      clips: Clips whose true class both models know.
      verdict: One of four.
      won, lost: Clips that only the candidate, and that only production has right.
      p_value: Of McNemar's exact test.
      clips_needed: Clips that would show such a difference with 80 % power; None where there is none.
    """

    clips: int
    verdict: Verdict
    won: int
    lost: int
    p_value: float
    clips_needed: int | None


@dataclass(frozen=True)
class Scored:
    """One head, or all heads together.

    Attributes:
      name: The head; "action" or "joint" for all together.
      clips, sources: Clips that were scored, and their sources.
      classes: Number of classes of the candidate.
      commonest, commonest_share: The most frequent true class, and its share of the clips; empty and 0 of all together.
      figures: Metrics over all views, and `centre_top_1`.
      comparison: None where production has no such head or there is none.
      groups: Classes first, then the slice columns.
      passed: Whether no reason is about it.
    """

    name: str
    clips: int
    sources: int
    classes: int
    commonest: str
    commonest_share: float
    figures: tuple[Figure, ...]
    comparison: Comparison | None
    groups: tuple[Group, ...]
    passed: bool

    def figure(self, metric: Metric) -> Figure:
        """The figure of a metric; KeyError if it was not computed (top_5 of five classes or fewer)."""
        for found in self.figures:
            if found.metric == metric:
                return found
        raise KeyError(f"{self.name} has no {metric}")


@dataclass(frozen=True)
class Assessment:
    """The whole of it.

    Attributes:
      blessed: Whether the model may go out.
      sentence: The verdict in one sentence.
      reasons: Why it may not, with figures and what to do; empty if it may.
      notes: What a reviewer should know: classes that came or went, heads without a counterpart, and so on.
      split: The split that was evaluated.
      views: The candidate's views, e.g. (4, 3).
      production: Version of the model in production; empty if there is none.
      scored: Each head, and where there are several all together.
    """

    blessed: bool
    sentence: str
    reasons: tuple[str, ...]
    notes: tuple[str, ...]
    split: str
    views: tuple[int, int]
    production: str
    scored: tuple[Scored, ...]

    def to_json(self) -> str:
        """The inverse of `from_json`."""
        # A loss may be NaN. pydantic would write null, and then refuse it.
        return json.dumps(_ADAPTER.dump_python(self, mode="json"), indent=1)

    @classmethod
    def from_json(cls, text: str | bytes) -> Assessment:
        """Reads what `to_json` wrote."""
        return _ADAPTER.validate_json(text)


_ADAPTER = pydantic.TypeAdapter(Assessment)
