"""What the review page is made of, and which clips it needs pictures of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from components.evaluation.assessment import Assessment
from components.evaluation.smaller import SmallerForm
from components.registry.records import Candidate, Decision
from components.review.findings import find, in_turn, near_duplicates
from components.review.judged import judge
from schemas.predictions import Predictions

# Clips of a page that have a picture, at most; how many of each kind comes first.
MOST_CLIPS = 240
_LOST, _WON, _CONFIDENT, _SUSPECTED, _DUPLICATES = 60, 40, 40, 30, 20
_PAIRS, _CLIPS_PER_PAIR = 12, 4


@dataclass(frozen=True)
class Curve:
    """A value of the training by step, e.g. "train/loss"; steps and values have one length."""

    name: str
    steps: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True)
class Review:
    """Everything that the page shows.

    Attributes:
      candidate: Its record.
      predictions: Of the candidate, and of production where there is one.
      pictures: Filmstrip (JPEG) by clip id, the most important first; empty bytes count as missing.
      attention: Filmstrip with heat (JPEG) by clip id; may be empty.
      duplicates: Id of the training clip that looks the same by clip id; None if nobody looked.
      curves: Of the training.
      decision: What a reviewer decided; None so far.
      workdir: That of the run, for the command that records a decision.
      smaller: Smaller forms that were made of the candidate.
    """

    candidate: Candidate
    predictions: Predictions
    pictures: Mapping[str, bytes]
    attention: Mapping[str, bytes]
    duplicates: Mapping[str, str] | None
    curves: tuple[Curve, ...]
    decision: Decision | None
    workdir: str = ""
    smaller: Sequence[SmallerForm] = ()


def clips_to_show(predictions: Predictions, assessment: Assessment, duplicates: Mapping[str, str] | None) -> list[str]:
    """Ids of the clips that need a picture, the most important first; `MOST_CLIPS` or fewer.

    Lost and won clips worst first, confident errors, suspected label errors, near duplicates, and a few clips of each
    of the most confused pairs. Heads take turns; those that did not pass come first.
    """
    passed = {scored.name: scored.passed for scored in assessment.scored}
    found = [find(judged, predictions) for judged in sorted(judge(predictions), key=lambda one: passed[one.name])]
    kinds = (
        in_turn([one.lost for one in found], _LOST),
        in_turn([one.won for one in found], _WON),
        in_turn([one.confident for one in found], _CONFIDENT),
        in_turn([[suspect.row for suspect in one.suspected] for one in found], _SUSPECTED),
        list(near_duplicates(predictions, duplicates))[:_DUPLICATES],
        in_turn(
            [pair.rows[:_CLIPS_PER_PAIR] for one in found for pair in one.confusions[:_PAIRS]], _PAIRS * _CLIPS_PER_PAIR
        ),
    )
    chosen = dict.fromkeys(row for rows in kinds for row in rows)
    return [predictions.clips.ids[row] for row in chosen][:MOST_CLIPS]
