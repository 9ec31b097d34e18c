"""What each model named each clip, of a head or of all heads together, as numbers into one list of names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from components.evaluation.outcomes import outcome, parts_by_name
from schemas.predictions import CANDIDATE, PRODUCTION, Predictions, Role


class Answers(NamedTuple):
    """What one model says about N clips.

    Attributes:
      named: Number of the most likely name, int64 [N].
      confidence: Its probability, float64 [N].
      rank: Rank of the true class, int32 [N]; 0 where the model does not know it.
    """

    named: np.ndarray
    confidence: np.ndarray
    rank: np.ndarray

    @property
    def correct(self) -> np.ndarray:
        """Whether the most likely name is the true one, bool [N]."""
        return self.rank == 1


class Judged(NamedTuple):
    """One head, or all together.

    Attributes:
      name: Its name.
      parts: The heads that it consists of.
      names: The candidate's classes in its order, then those that only labels or production have; of all together,
        the combinations that occur.
      labels: Number of the true name of each clip, int64 [N].
      candidate: Its answers.
      production: Its answers; None where there is no such head to compare with.
    """

    name: str
    parts: Sequence[str]
    names: Sequence[str]
    labels: np.ndarray
    candidate: Answers
    production: Answers | None

    @property
    def both(self) -> np.ndarray:
        """Whether both models know the true class, bool [N]."""
        if self.production is None:
            return np.zeros(len(self.labels), bool)
        return (self.candidate.rank > 0) & (self.production.rank > 0)

    @property
    def lost(self) -> np.ndarray:
        """Whether only production is right, bool [N]."""
        return self.both & ~self.candidate.correct & self.production.correct if self.production else self.both

    @property
    def won(self) -> np.ndarray:
        """Whether only the candidate is right, bool [N]."""
        return self.both & self.candidate.correct & ~self.production.correct if self.production else self.both


def judge(predictions: Predictions) -> list[Judged]:
    """Each head of the candidate, and where there are several all together; in the order of the assessment."""
    others = predictions.scores.get(PRODUCTION, {})
    judged = []
    for name, parts in parts_by_name(list(predictions.models[CANDIDATE].classes)).items():
        roles: list[Role] = [CANDIDATE, *([PRODUCTION] if set(parts) <= set(others) else [])]
        known = predictions.models[CANDIDATE].classes[name] if len(parts) == 1 else []
        labels = _joined([predictions.clips.labels[head] for head in parts])
        named = {role: _joined([_named(predictions, role, head, len(parts)) for head in parts]) for role in roles}
        numbers: dict[str, int] = {}
        for text in (*known, *labels, *(text for texts in named.values() for text in texts)):
            numbers.setdefault(text, len(numbers))
        answers = {role: _answers(predictions, role, parts, named[role], numbers) for role in roles}
        judged.append(
            Judged(name, parts, list(numbers), _numbered(labels, numbers), answers[CANDIDATE], answers.get(PRODUCTION))
        )
    return judged


def _answers(
    predictions: Predictions, role: Role, parts: Sequence[str], named: Sequence[str], numbers: Mapping[str, int]
) -> Answers:
    rank, confidence = outcome(predictions, role, parts)
    return Answers(_numbered(named, numbers), confidence.astype(np.float64), rank)


def _named(predictions: Predictions, role: Role, head: str, parts: int) -> list[str]:
    """The most likely class of each clip, by what `outcome` ranks: logits of one head, probabilities of several."""
    scores, classes = predictions.scores[role][head], predictions.models[role].classes[head]
    best = (scores.logits if parts == 1 else scores.probabilities).argmax(axis=1)
    return [classes[number] for number in best.tolist()]


def _joined(columns: Sequence[Sequence[str]]) -> list[str]:
    return [", ".join(texts) for texts in zip(*columns, strict=True)]


def _numbered(texts: Sequence[str], numbers: Mapping[str, int]) -> np.ndarray:
    return np.array([numbers[text] for text in texts], np.int64)
