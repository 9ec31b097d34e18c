"""What the page's script works on, as plain values for JSON: every clip once, by column, and the lists of clips."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from components.evaluation.assessment import Scored
from components.evaluation.statistics import Interval
from components.review.facts import Review
from components.review.findings import Findings, near_duplicates
from components.review.judged import Answers, Judged
from components.review.model_card import ACTIONS, REVIEW, card_without_review
from components.review.plots import CoveragePlot
from schemas.predictions import Predictions

# Bytes of all pictures of a page as base64.
MOST_PICTURE_BYTES = 14 << 20
# Clips of a list that the page offers; the first ones say it.
_LISTED = 300


def page_data(review: Review, heads: list[tuple[Judged, Findings, CoveragePlot]]) -> dict[str, Any]:
    """Everything but the pictures. Rows of clips are numbers, and so are names: see `Judged`."""
    clips = review.predictions.clips
    assessment = review.candidate.assessment
    duplicates = near_duplicates(review.predictions, review.duplicates)
    return {
        "clips": {
            "id": list(clips.ids),
            "path": list(clips.paths),
            "start": _rounded(clips.starts, 3),
            "duration": _rounded(clips.durations, 3),
        },
        "slices": _slices(review.predictions),
        "scored": [_head(scored, *found) for scored, found in zip(assessment.scored, heads, strict=True)],
        "duplicates": list(duplicates.items()),
        "candidate": review.candidate.id,
        "workdir": review.workdir,
        "card": card_without_review(review.candidate),
        "review": REVIEW,
        "actions": ACTIONS,
    }


def page_pictures(review: Review) -> dict[str, dict[str, str]]:
    """JPEG as base64 by kind and row, in the order of `Review.pictures`, as many as fit into `MOST_PICTURE_BYTES`."""
    rows = {clip: str(row) for row, clip in enumerate(review.predictions.clips.ids)}
    chosen: dict[str, dict[str, str]] = {"frames": {}, "attention": {}}
    left = MOST_PICTURE_BYTES
    for kind, clip, jpeg in _in_order(review):
        text = base64.b64encode(jpeg).decode()
        left -= len(text)
        if left < 0:
            break
        if text and clip in rows:
            chosen[kind][rows[clip]] = text
    return chosen


def _in_order(review: Review) -> Iterator[tuple[str, str, bytes]]:
    for clip, jpeg in review.pictures.items():
        yield "frames", clip, jpeg
        yield "attention", clip, review.attention.get(clip, b"")
    for clip in review.attention.keys() - review.pictures.keys():
        yield "attention", clip, review.attention[clip]


def _head(scored: Scored, judged: Judged, findings: Findings, coverage: CoveragePlot) -> dict[str, Any]:
    return {
        "name": judged.name,
        "names": list(judged.names),
        "labels": judged.labels.tolist(),
        "candidate": _answers(judged.candidate),
        "production": _answers(judged.production) if judged.production else None,
        "lost": findings.lost,
        "won": findings.won,
        "confident": findings.confident[:_LISTED],
        "suspected": [(row, name, round(score, 4)) for row, name, score in findings.suspected[:_LISTED]],
        "suspects": len(findings.suspected),
        "groups": [
            {
                "column": group.column,
                "value": group.value,
                "isClass": group.column == scored.name,
                "clips": group.clips,
                "sources": group.sources,
                "candidate": _interval(group.top_1.candidate),
                "production": _interval(group.top_1.production),
                "difference": _interval(group.top_1.difference),
                "adjusted": group.adjusted,
                "significant": group.significant,
            }
            for group in scored.groups
        ],
        "coverage": {
            "threshold": _rounded(coverage.curve.threshold, 6),
            "coverage": _rounded(coverage.curve.coverage, 6),
            "accuracy": _rounded(coverage.curve.accuracy, 6),
            "x": _rounded(coverage.x, 2),
            "y": _rounded(coverage.y, 2),
        },
    }


def _answers(answers: Answers) -> dict[str, list]:
    return {
        "named": answers.named.tolist(),
        "confidence": _rounded(answers.confidence, 4),
        "rank": answers.rank.tolist(),
    }


def _slices(predictions: Predictions) -> dict[str, Mapping[str, list]]:
    found = {}
    for name, values in predictions.clips.slices.items():
        numbers = {value: number for number, value in enumerate(dict.fromkeys(values))}
        found[name] = {"values": list(numbers), "of": [numbers[value] for value in values]}
    return found


def _interval(interval: Interval | None) -> list[float] | None:
    return _rounded(np.array([interval.value, interval.low, interval.high]), 6) if interval else None


def _rounded(values: np.ndarray, digits: int) -> list[float]:
    return np.asarray(values, np.float64).round(digits).tolist()
