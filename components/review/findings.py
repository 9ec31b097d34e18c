"""Clips that a reviewer should see, of one head or of all together, in the order in which to look at them."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from components.evaluation.label_errors import Suspect, suspected_label_errors
from components.review.judged import Judged
from schemas.predictions import CANDIDATE, Predictions


class Confusion(NamedTuple):
    """Clips of one class that the candidate calls another: numbers of the two names, and the clips, surest first."""

    label: int
    named: int
    rows: list[int]


class Findings(NamedTuple):
    """Rows of clips.

    Attributes:
      lost: Only production is right; the surer the candidate, the sooner.
      won: Only the candidate is right; the surer production, the sooner.
      confident: The candidate is wrong; the surest first.
      suspected: Probably labelled wrong; of one head alone.
      confusions: Pairs of classes, the one with most clips first.
    """

    lost: list[int]
    won: list[int]
    confident: list[int]
    suspected: list[Suspect]
    confusions: list[Confusion]


def find(judged: Judged, predictions: Predictions) -> Findings:
    """Everything of note about one head, or about all together."""
    ours, theirs = judged.candidate, judged.production
    wrong = _by_confidence(np.flatnonzero(~ours.correct), ours.confidence)
    pairs: dict[tuple[int, int], list[int]] = collections.defaultdict(list)
    for row in wrong:
        pairs[int(judged.labels[row]), int(ours.named[row])].append(row)
    confusions = [Confusion(*pair, rows) for pair, rows in pairs.items()]
    return Findings(
        lost=_by_confidence(np.flatnonzero(judged.lost), ours.confidence),
        won=_by_confidence(np.flatnonzero(judged.won), theirs.confidence) if theirs else [],
        confident=wrong,
        suspected=_suspected(judged, predictions),
        confusions=sorted(confusions, key=lambda confusion: (-len(confusion.rows), confusion.label, confusion.named)),
    )


def near_duplicates(predictions: Predictions, duplicates: Mapping[str, str] | None) -> dict[int, str]:
    """Id of the training clip that looks the same, by row."""
    return {row: duplicates[clip] for row, clip in enumerate(predictions.clips.ids) if clip in (duplicates or {})}


def in_turn(lists: Iterable[Iterable[int]], most: int) -> list[int]:
    """Up to `most` different rows: the first of each list, then the second of each, and so on."""
    left, chosen = [iter(rows) for rows in lists], {}
    while left and len(chosen) < most:
        for rows in list(left):
            row = next(rows, None)
            if row is None:
                left.remove(rows)
            elif len(chosen) < most:
                chosen.setdefault(row)
    return list(chosen)


def _suspected(judged: Judged, predictions: Predictions) -> list[Suspect]:
    if len(judged.parts) > 1:
        return []
    probabilities = predictions.scores[CANDIDATE][judged.name].probabilities
    # The candidate's classes come first among the names.
    return suspected_label_errors(probabilities, np.where(judged.candidate.rank > 0, judged.labels, -1))


def _by_confidence(rows: np.ndarray, confidence: np.ndarray) -> list[int]:
    return rows[np.argsort(-confidence[rows], kind="stable")].tolist()
