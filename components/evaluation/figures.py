"""Every figure of an evaluation, with its interval: of each head, and where there are several of all together.

Intervals let whole sources vary, see `statistics`; the figures of production and the differences are of the clips whose
true class both models know.
"""

from __future__ import annotations

import collections
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from components.evaluation import bootstrap, statistics
from components.evaluation.assessment import Comparison, Figure, Group, Metric, Scored
from components.evaluation.outcomes import Outcome, outcome, parts_by_name
from components.evaluation.statistics import Interval
from schemas.predictions import CANDIDATE, PRODUCTION, Clips, Predictions

# Of fewer clips, no share of them is worth a number.
FEWEST_CLIPS = 10
SIGNIFICANCE = 0.05
TOP_K = 5


class Pair(NamedTuple):
    """One head, or all together.

    Attributes:
      name: Its name.
      parts: The heads that it consists of.
      labels: True class of each clip; of all together, the classes joined.
      classes: Number of classes of the candidate.
      candidate, centre: The candidate's outcome over all views, and over the centre view.
      production: Production's outcome; None where there is none to compare with.
      losses: Loss of each clip of the candidate, and of production where it has the head; empty of all together.
      both: Whether both models know the true class, bool [N].
    """

    name: str
    parts: Sequence[str]
    labels: Sequence[str]
    classes: int
    candidate: Outcome
    centre: Outcome
    production: Outcome | None
    losses: Sequence[np.ndarray]
    both: np.ndarray


def pairs_of(predictions: Predictions) -> Iterator[Pair]:
    """The outcomes of each head, and where there are several of all together."""
    heads, labels = predictions.models[CANDIDATE].classes, predictions.clips.labels
    others = predictions.scores.get(PRODUCTION, {})
    for name, parts in parts_by_name(list(heads)).items():
        candidate = outcome(predictions, CANDIDATE, parts)
        production = outcome(predictions, PRODUCTION, parts) if set(parts) <= set(others) else None
        yield Pair(
            name=name,
            parts=parts,
            labels=[", ".join(names) for names in zip(*(labels[head] for head in parts), strict=True)],
            classes=int(np.prod([len(heads[head]) for head in parts])),
            candidate=candidate,
            centre=outcome(predictions, CANDIDATE, parts, centre=True),
            production=production,
            losses=[by_role[name].loss for by_role in (predictions.scores[CANDIDATE], others) if name in by_role],
            both=candidate.known & production.known if production else np.zeros(len(predictions.clips), bool),
        )


def score(pair: Pair, clips: Clips) -> Scored:
    """Computes every figure of one head, or of all together; `passed` is for the gate to decide."""
    # Of classes that are equally common, the first by name.
    (commonest, count), *_ = collections.Counter(sorted(pair.labels)).most_common(1)
    return Scored(
        name=pair.name,
        clips=len(clips),
        sources=len(set(clips.groups)),
        classes=pair.classes,
        commonest=commonest,
        commonest_share=count / len(clips),
        figures=tuple(_figures(pair, clips)),
        comparison=_comparison(pair, clips),
        groups=tuple(_groups(pair, clips)),
        passed=True,
    )


def _figures(pair: Pair, clips: Clips) -> Iterator[Figure]:
    everything = np.ones(len(clips), bool)
    yield _accuracy("top_1", pair, clips, everything)
    yield Figure("centre_top_1", statistics.accuracy_interval(pair.centre.correct(), clips.groups))
    if pair.classes > TOP_K:
        yield _accuracy("top_5", pair, clips, everything, TOP_K)
    if len(pair.parts) > 1:
        return
    ours, groups, labels = pair.candidate, clips.groups, pair.labels
    macro = bootstrap.macro_accuracy_interval(ours.correct(), labels, groups)
    errors = [_calibration_error(ours, groups, adaptive) for adaptive in (False, True)]
    loss = statistics.mean_interval(pair.losses[0], groups)
    if not pair.both.any():
        yield Figure("macro_top_1", macro)
        yield Figure("ece", errors[0])
        yield Figure("adaptive_ece", errors[1])
        yield Figure("loss", loss)
        return
    both, theirs = pair.both, pair.production.of(pair.both)
    ours, groups, labels = ours.of(both), _chosen(groups, both), _chosen(labels, both)
    yield Figure(
        "macro_top_1",
        macro,
        bootstrap.macro_accuracy_interval(theirs.correct(), labels, groups),
        bootstrap.macro_accuracy_difference(ours.correct(), theirs.correct(), labels, groups),
    )
    for metric, error, adaptive in zip(("ece", "adaptive_ece"), errors, (False, True), strict=True):
        models = [(model.confidence, model.correct()) for model in (ours, theirs)]
        change = bootstrap.calibration_error_difference(*models, groups, adaptive=adaptive)
        yield Figure(metric, error, _calibration_error(theirs, groups, adaptive), change)
    mine, others = (losses[both] for losses in pair.losses)
    yield Figure(
        "loss", loss, statistics.mean_interval(others, groups), statistics.mean_interval(mine - others, groups)
    )


def _accuracy(metric: Metric, pair: Pair, clips: Clips, rows: np.ndarray, k: int = 1) -> Figure:
    """Share of right clips among some rows; None where too few of them are."""
    both = rows & pair.both
    ours = pair.candidate.correct(k)
    alone = statistics.accuracy_interval(ours[rows], _chosen(clips.groups, rows))
    if not both.any():
        return Figure(metric, alone)
    theirs, groups = pair.production.correct(k)[both], _chosen(clips.groups, both)
    return Figure(
        metric,
        alone,
        statistics.accuracy_interval(theirs, groups),
        statistics.difference_interval(ours[both], theirs, groups),
    )


def _calibration_error(found: Outcome, groups: Sequence[str], adaptive: bool) -> Interval:
    return bootstrap.calibration_error_interval(found.confidence, found.correct(), groups, adaptive=adaptive)


def _comparison(pair: Pair, clips: Clips) -> Comparison | None:
    if not pair.both.any():
        return None
    ours, theirs = pair.candidate.correct()[pair.both], pair.production.correct()[pair.both]
    groups = _chosen(clips.groups, pair.both)
    won, lost = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    return Comparison(
        clips=len(ours),
        verdict=statistics.verdict(statistics.difference_interval(ours, theirs, groups)),
        won=won,
        lost=lost,
        p_value=statistics.mcnemar_exact(lost, won),
        clips_needed=statistics.clips_needed(
            (won - lost) / len(ours),
            (won + lost) / len(ours),
            statistics.design_effect(ours.astype(float) - theirs, groups),
        ),
    )


def _groups(pair: Pair, clips: Clips) -> list[Group]:
    """Top-1 of each class and of each value of the slice columns, compared where there are clips enough."""
    columns = {pair.name: pair.labels} if len(pair.parts) == 1 else {}
    found = []
    for column, values in {**columns, **clips.slices}.items():
        values = np.array(values, object)
        for value in sorted(set(values)):
            if value or column in columns:
                found.append((column, value, values == value))
    compared = [number for number, (*_, rows) in enumerate(found) if (rows & pair.both).sum() >= FEWEST_CLIPS]
    adjusted = dict(zip(compared, statistics.holm([_p_value(pair, found[n][2]) for n in compared]), strict=True))
    return [_group(pair, clips, *where, adjusted.get(number)) for number, where in enumerate(found)]


def _group(pair: Pair, clips: Clips, column: str, value: str, rows: np.ndarray, adjusted: float | None) -> Group:
    enough = int(rows.sum()) >= FEWEST_CLIPS
    top_1 = _accuracy("top_1", pair, clips, rows) if enough else Figure("top_1", None)
    significant = ""
    if adjusted is not None and adjusted < SIGNIFICANCE:
        significant = "worse" if top_1.difference.value < 0 else "better"
    sources = len(set(_chosen(clips.groups, rows)))
    return Group(column, value, int(rows.sum()), sources, top_1, adjusted, significant)


def _p_value(pair: Pair, rows: np.ndarray) -> float:
    rows = rows & pair.both
    ours, theirs = pair.candidate.correct()[rows], pair.production.correct()[rows]
    return statistics.mcnemar_exact(int((theirs & ~ours).sum()), int((ours & ~theirs).sum()))


def _chosen(values: Sequence[str], rows: np.ndarray) -> list[str]:
    return [values[row] for row in np.flatnonzero(rows)]
