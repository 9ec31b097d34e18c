"""The gate: whether a candidate may go out, from a table of predictions alone.

A model must beat naming the commonest class, reach the thresholds of its recipe, and not fall behind the model in
production on the clips whose class both know. Models are compared as they are served, by class name: a class that only
one of them knows can still be named by that one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from components.evaluation.assessment import Assessment, Scored
from components.evaluation.config import EvaluationConfig
from components.evaluation.figures import Pair, pairs_of, score
from components.evaluation.statistics import Interval
from schemas.predictions import CANDIDATE, PRODUCTION, Predictions

# Shares are ratios of whole numbers; their differences are not.
_EPSILON = 1e-9


def assess(predictions: Predictions, config: EvaluationConfig) -> Assessment:
    """Computes every figure, and decides.

    Raises:
      ValueError: If a threshold does not fit the heads.
    """
    pairs = list(pairs_of(predictions))
    if config.min_joint_top_1 and len(pairs) == 1:
        raise ValueError(
            f"evaluation.min_joint_top_1 is {config.min_joint_top_1}, but there is one head, {pairs[0].name}: set "
            "evaluation.min_top_1"
        )
    scored, reasons = [], []
    for pair in pairs:
        found = score(pair, predictions.clips)
        refused = list(_refusals(found, pair, config))
        scored.append(dataclasses.replace(found, passed=not refused))
        reasons += refused
    reasons += _not_finite(predictions)
    production = predictions.models.get(PRODUCTION)
    if production and production.problem and config.max_top_1_drop < 1:
        reasons.append(
            f"version {production.version}, which is in production, cannot be scored, so that nothing was compared: "
            f"{production.problem}. To push without a comparison, set evaluation.max_top_1_drop=1"
        )
    version = production.version if production else ""
    return Assessment(
        blessed=not reasons,
        sentence=_sentence(scored, reasons, version),
        reasons=tuple(reasons),
        notes=tuple(_notes(predictions, pairs, config)),
        split=predictions.clips.split,
        views=predictions.models[CANDIDATE].views,
        production=version,
        scored=tuple(scored),
    )


def _not_finite(predictions: Predictions) -> Iterator[str]:
    for head, scores in predictions.scores[CANDIDATE].items():
        broken = int((~np.isfinite(scores.logits).all(axis=1)).sum())
        if broken:
            yield f"{head}: the logits of {broken} of {len(scores.logits)} clips are NaN or infinite: train it anew"


def _refusals(found: Scored, pair: Pair, config: EvaluationConfig) -> Iterator[str]:
    """Why one head, or all together, does not pass."""
    top_1, name = found.figure("top_1").candidate, found.name
    is_joint = len(pair.parts) > 1
    if config.beat_commonest and not is_joint and top_1.low <= found.commonest_share:
        yield (
            f"{name}: top-1 {in_words(top_1)} is not above the share of the commonest class, {found.commonest!r}, "
            f"which is {found.commonest_share:.3f} of {found.clips} clips: give it more clips, start from pretrained "
            "weights (model.init_from), or train longer (train.epochs)"
        )
    field = "min_joint_top_1" if is_joint else "min_top_1"
    if top_1.value < getattr(config, field):
        required = getattr(config, field)
        yield f"{name}: top_1 is {top_1.value:.3f}; at least {required:.3f} is required (evaluation.{field})"
    if not is_joint:
        macro, error = found.figure("macro_top_1").candidate, found.figure("ece").candidate
        if macro.value < config.min_macro_top_1:
            required = f"at least {config.min_macro_top_1:.3f} is required (evaluation.min_macro_top_1)"
            yield f"{name}: macro top_1 is {macro.value:.3f}; {required}"
        if error.value > config.max_ece:
            allowed = f"at most {config.max_ece:.3f} is allowed (evaluation.max_ece)"
            yield f"{name}: the calibration error is {error.value:.3f}; {allowed}"
    change = found.figure("top_1").difference
    if change and change.value < -config.max_top_1_drop - _EPSILON:
        yield (
            f"{name}: top_1 changed by {in_words(change, signed=True)} against the model in production; at least "
            f"{0 - config.max_top_1_drop:+.3f} is required (evaluation.max_top_1_drop)"
        )
    for group in found.groups:
        drop = config.max_class_drop
        if drop is not None and group.significant == "worse" and group.top_1.difference.value < -drop - _EPSILON:
            yield (
                f"{name}: {group.column} {group.value!r} changed by {in_words(group.top_1.difference, signed=True)}, "
                f"significantly (p {group.adjusted:.3f} after Holm); at least {0 - drop:+.3f} is required "
                "(evaluation.max_class_drop)"
            )


def _notes(predictions: Predictions, pairs: Sequence[Pair], config: EvaluationConfig) -> Iterator[str]:
    """What came, what went, and what could not be compared."""
    if not config.beat_commonest:
        yield "not required to beat the commonest class (evaluation.beat_commonest=false)"
    candidate, production = predictions.models[CANDIDATE], predictions.models.get(PRODUCTION)
    if not production or production.problem:
        return
    heads, known_heads = set(candidate.classes), set(production.classes)
    for head in sorted(heads - known_heads):
        yield f"head {head} is new: there is nothing to compare it with"
    for head in sorted(known_heads - heads):
        yield f"head {head} of the model in production is gone"
    for pair in pairs:
        for head in pair.parts if len(pair.parts) == 1 and pair.production else ():
            ours, theirs = set(candidate.classes[head]), set(production.classes[head])
            if ours - theirs:
                yield f"{head}: production does not know {_listed(ours - theirs)}"
            if theirs - ours:
                yield f"{head}: the candidate does not know {_listed(theirs - ours)}, which production does"
            left_out = len(pair.both) - int(pair.both.sum())
            if left_out:
                yield f"{head}: compared on {int(pair.both.sum())} of {len(pair.both)} clips, whose classes both know"


def _listed(names: set[str], most: int = 5) -> str:
    shown = ", ".join(repr(name) for name in sorted(names)[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")


def _sentence(scored: Sequence[Scored], reasons: Sequence[str], version: str) -> str:
    state = "BLESSED" if not reasons else "NOT BLESSED"
    parts = []
    for found in scored:
        top_1 = f"{found.name} top-1 {in_words(found.figure('top_1').candidate)}"
        if found.comparison:
            change = in_words(found.figure("top_1").difference, signed=True)
            top_1 += f", {found.comparison.verdict} against version {version}: {change}"
        parts.append(top_1)
    return f"{state}: {'; '.join(parts)}"


def in_words(interval: Interval, signed: bool = False) -> str:
    """An interval as text, e.g. "0.912 (0.874 to 0.941)"."""
    value, low, high = (f"{number:{'+' if signed else ''}.3f}" for number in dataclasses.astuple(interval))
    return f"{value} ({low} to {high})"
