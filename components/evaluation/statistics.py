"""How sure a figure is: intervals, tests and verdicts on clips of which some come from one source.

Contract: pure functions of arrays with one entry per clip. Clips of one group (source video) are not independent, so
every interval lets whole groups vary, by the cluster-robust variance CR2 (Bell & McCaffrey 2002), which is right for
groups of unequal size too. An interval of a share is never of zero width, and one group alone says next to nothing. How
often each covers the truth is measured in the tests.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

CONFIDENCE = 0.95

Verdict = Literal["better", "no measurable change", "worse within noise", "worse"]


@dataclass(frozen=True)
class Interval:
    """A figure and the ends of its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class _Grouped:
    """Values of N clips by their G groups: the mean, its squared standard error, and what that rests on.

    Attributes:
      mean: Over all clips.
      sizes: Clips of each group, int [G].
      residuals: Sum of (value - mean) over the clips of each group, float64 [G].
      squares: Their squares, each divided by the share of clips in the other groups (CR2); [G]. None for one group.
    """

    mean: float
    sizes: np.ndarray
    residuals: np.ndarray
    squares: np.ndarray | None

    @classmethod
    def of(cls, values: np.ndarray, groups: Sequence) -> _Grouped:
        values = np.asarray(values, np.float64)
        if not len(values) or len(values) != len(groups):
            raise ValueError(f"one group per clip and one clip or more are needed; got {len(values)}, {len(groups)}")
        _, index, sizes = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
        mean = values.mean()
        residuals = np.bincount(index, values - mean)
        squares = residuals**2 / (1 - sizes / len(values)) if len(sizes) > 1 else None
        return cls(float(mean), sizes, residuals, squares)

    @property
    def clips(self) -> int:
        return int(self.sizes.sum())

    @property
    def clips_per_group(self) -> float:
        """Mean size of the group that a clip is in, m."""
        return float((self.sizes**2).sum() / self.clips)

    @property
    def degrees_of_freedom(self) -> float:
        """Of the standard error: G - 1 for groups of equal size, fewer where few groups have most clips."""
        return max(self.clips / self.clips_per_group - 1, 1.0)


def accuracy_interval(correct: np.ndarray, groups: Sequence, confidence: float = CONFIDENCE) -> Interval:
    """Interval of the share of clips that are right.

    Wilson's interval with the number of independent clips that are worth as much: N / design effect, less what is lost
    by estimating that effect (a t quantile for z, as Korn & Graubard 1998 do). Its degrees of freedom are at most
    those of the variance of G values of such kurtosis, where that of independent clips counts as normal: where two of
    many groups have all the errors, little is known.

    Args:
      correct: bool [N].
      groups: Group of each clip, [N].
      confidence: Share of evaluations in which the interval has the truth within it.

    Raises:
      ValueError: If there is no clip, or not one group per clip.
    """
    grouped = _Grouped.of(correct, groups)
    effective = _effective_clips(correct, groups, grouped, confidence)
    z = stats.norm.ppf(0.5 + confidence / 2)
    share, spread = grouped.mean, z**2 / effective
    middle = (share + spread / 2) / (1 + spread)
    half = math.sqrt(spread * (share * (1 - share) + spread / 4)) / (1 + spread)
    # Rounding must not leave the value outside.
    return Interval(share, max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half)))


def _effective_clips(correct: np.ndarray, groups: Sequence, grouped: _Grouped, confidence: float) -> float:
    if len(grouped.sizes) in (1, grouped.clips):
        return len(grouped.sizes)
    freedom, share, sizes = grouped.degrees_of_freedom, grouped.mean, grouped.sizes.astype(np.float64)
    if 0 < share < 1:
        # Fourth moment over the square of the second: of the groups, over that of groups of independent clips.
        fourth = sizes * share * (1 - share) * (1 + 3 * (sizes - 2) * share * (1 - share))
        ratio = (grouped.residuals**4).sum() / (grouped.residuals**2).sum() ** 2
        ratio /= fourth.sum() / (sizes * share * (1 - share)).sum() ** 2
        freedom = max(1.0, min(freedom, 2 * len(sizes) / max(3 * ratio - 1, 1e-9)))
    upper = 0.5 + confidence / 2
    lost = (stats.norm.ppf(upper) / stats.t.ppf(upper, freedom)) ** 2
    return grouped.clips / design_effect(correct, groups) * lost


def difference_interval(
    candidate_correct: np.ndarray, production_correct: np.ndarray, groups: Sequence, confidence: float = CONFIDENCE
) -> Interval:
    """Interval of the candidate's share of right clips less production's, on the same clips.

    Two clips are added, one that each model alone has right (Bonett & Price 2012), so that models that agree on every
    clip are not called equal for certain. In simulations of 10 to 200 groups this covers the truth more evenly than
    the bootstrap over groups, whose percentile, BCa and studentised intervals are too narrow where few groups have
    clips on which the models differ.

    Args:
      candidate_correct: bool [N].
      production_correct: bool [N].
      groups: Group of each clip, [N].
      confidence: Share of evaluations in which the interval has the truth within it.

    Raises:
      ValueError: If there is no clip, or the lengths differ.
    """
    grouped = _Grouped.of(_paired(candidate_correct, production_correct), groups)
    if grouped.squares is None:
        return Interval(grouped.mean, -1.0, 1.0)
    added = (1 - grouped.mean) ** 2 + (1 + grouped.mean) ** 2
    middle = grouped.mean * grouped.clips / (grouped.clips + 2)
    t = stats.t.ppf(0.5 + confidence / 2, grouped.degrees_of_freedom)
    half = t * math.sqrt(grouped.squares.sum() + added) / (grouped.clips + 2)
    return Interval(grouped.mean, max(-1.0, middle - half), min(1.0, middle + half))


def mean_interval(values: np.ndarray, groups: Sequence, confidence: float = CONFIDENCE) -> Interval | None:
    """Interval of the mean of an unbounded value of each clip, such as its loss; None for a single group.

    Raises:
      ValueError: If there is no clip, or not one group per clip.
    """
    grouped = _Grouped.of(values, groups)
    if grouped.squares is None:
        return None
    t = stats.t.ppf(0.5 + confidence / 2, grouped.degrees_of_freedom)
    half = t * math.sqrt(grouped.squares.sum()) / grouped.clips
    return Interval(grouped.mean, grouped.mean - half, grouped.mean + half)


def design_effect(values: np.ndarray, groups: Sequence) -> float:
    """How many times as many clips are needed as if all were independent (Kish 1965); 1 or more.

    Where all values are equal it cannot be seen, and half of the way to the worst case is assumed: clips of a group
    that are right or wrong together. One group counts as one clip.

    Args:
      values: What is averaged, [N]: whether a clip is right, or the difference of two models on it.
      groups: Group of each clip, [N].

    Raises:
      ValueError: If there is no clip, or not one group per clip.
    """
    grouped = _Grouped.of(values, groups)
    if grouped.squares is None:
        return float(grouped.clips)
    independent = np.var(np.asarray(values, np.float64), ddof=1) * grouped.clips
    if not independent:
        return (1 + grouped.clips_per_group) / 2
    return max(1.0, float(grouped.squares.sum() / independent))


def verdict(difference: Interval) -> Verdict:
    """What a difference of candidate and production means, in one of four phrases."""
    if difference.low > 0:
        return "better"
    if difference.high < 0:
        return "worse"
    return "worse within noise" if difference.value < 0 else "no measurable change"


def mcnemar_exact(lost: int, won: int) -> float:
    """Two-sided p value of McNemar's exact test that two models are equally often right (McNemar 1947).

    Takes each clip as independent: read it beside `difference_interval`, which does not.

    Args:
      lost: Clips that production alone has right.
      won: Clips that the candidate alone has right.
    """
    return float(stats.binomtest(lost, lost + won).pvalue) if lost + won else 1.0


def holm(p_values: Sequence[float]) -> np.ndarray:
    """p values adjusted for being many (Holm 1979), float64 [N] in the order given."""
    p_values = np.asarray(p_values, np.float64)
    order = np.argsort(p_values, kind="stable")
    stepped = p_values[order] * np.arange(len(p_values), 0, -1)
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return adjusted


def clips_needed(
    difference: float,
    discordant_share: float,
    design_effect: float = 1.0,
    *,
    power: float = 0.8,
    confidence: float = CONFIDENCE,
) -> int | None:
    """Clips that would show such a difference of two models (Connor 1987); None where there is none.

    Args:
      difference: Candidate's share of right clips less production's.
      discordant_share: Share of clips that one of them alone has right.
      design_effect: Of the difference, from `design_effect`.
      power: Probability of seeing the difference with so many clips.
      confidence: That of the interval that must not contain 0.

    Raises:
      ValueError: If the difference is larger than the share of clips on which the models differ.
    """
    if abs(difference) > discordant_share * (1 + 1e-9):
        raise ValueError(f"a difference of {difference} needs {abs(difference)} discordant; got {discordant_share}")
    if not difference:
        return None
    alone = stats.norm.ppf(0.5 + confidence / 2) * math.sqrt(discordant_share)
    together = stats.norm.ppf(power) * math.sqrt(max(discordant_share - difference**2, 0.0))
    return math.ceil(design_effect * ((alone + together) / difference) ** 2)


def _paired(candidate_correct: np.ndarray, production_correct: np.ndarray) -> np.ndarray:
    candidate, production = np.asarray(candidate_correct, np.int8), np.asarray(production_correct, np.int8)
    if candidate.shape != production.shape:
        raise ValueError(f"the models must have the same clips; got {candidate.shape} and {production.shape}")
    return candidate - production
