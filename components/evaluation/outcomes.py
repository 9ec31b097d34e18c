"""Right or wrong, clip by clip: what the gate, TFMA's intervals and the review page count."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from schemas.predictions import UNKNOWN, Predictions, Role, rank_of, softmax

ACTION_HEADS = {"verb", "noun"}


class Outcome(NamedTuple):
    """One head, or all together, of one model on N clips.

    Attributes:
      rank: Rank of the true class or combination, int32 [N]; `UNKNOWN` where the model does not know it.
      confidence: Probability of the class or combination that it names, float [N]; 0 where its logits are NaN.
    """

    rank: np.ndarray
    confidence: np.ndarray

    @property
    def known(self) -> np.ndarray:
        """Whether the model knows the true class, bool [N]."""
        return self.rank != UNKNOWN

    def of(self, rows: np.ndarray) -> Outcome:
        """That of some of the clips, chosen by bool [N]."""
        return Outcome(self.rank[rows], self.confidence[rows])

    def correct(self, k: int = 1) -> np.ndarray:
        """Whether the true class is among the k most likely, bool [N]."""
        return self.known & (self.rank <= k)


def joint_name(heads: Sequence[str]) -> str:
    """Name of all heads together: "action" for verb and noun, else "joint"."""
    return "action" if set(heads) == ACTION_HEADS else "joint"


def parts_by_name(heads: Sequence[str]) -> dict[str, list[str]]:
    """What is scored: each head, and where there are several all together, each with the heads that it consists of."""
    parts = {head: [head] for head in heads}
    return parts | ({joint_name(heads): list(heads)} if len(heads) > 1 else {})


def outcome(predictions: Predictions, role: Role, parts: Sequence[str], centre: bool = False) -> Outcome:
    """The outcome of a head, or of several together.

    Args:
      predictions: The table.
      role: Whose.
      parts: Heads that the model has.
      centre: Of the centre view alone, instead of all views.
    """
    scores = [predictions.scores[role][head] for head in parts]
    classes = [predictions.models[role].classes[head] for head in parts]
    labels = [_ids(predictions.clips.labels[head], names) for head, names in zip(parts, classes, strict=True)]
    probabilities = [softmax(of.centre_logits) if centre else of.probabilities for of in scores]
    confidence = np.nan_to_num(np.prod([of.max(axis=1) for of in probabilities], axis=0))
    if len(parts) > 1:
        rows = zip(zip(*probabilities, strict=True), zip(*labels, strict=True), strict=True)
        return Outcome(np.array([joint_rank(*row) for row in rows], np.int32), confidence)
    return Outcome(rank_of(scores[0].centre_logits, labels[0]) if centre else scores[0].rank, confidence)


def joint_rank(probabilities: Sequence[np.ndarray], labels: Sequence[int]) -> int:
    """Rank of the labels among the combinations, 1 for the best; of equals, the one whose classes come first is better.

    Args:
      probabilities: Float [K] of each head.
      labels: Class id of each head; where one is no class of its head, -1 say, the rank is `UNKNOWN`.
    """
    sizes = tuple(len(head) for head in probabilities)
    if not all(0 <= label < size for label, size in zip(labels, sizes, strict=True)):
        return UNKNOWN
    # float64, in which products of small probabilities stay apart.
    scores = functools.reduce(np.multiply.outer, [np.asarray(head, np.float64) for head in probabilities]).ravel()
    index = np.ravel_multi_index(tuple(labels), sizes)
    if np.isnan(scores[index]):
        return len(scores)
    before = np.count_nonzero(scores > scores[index]) + np.count_nonzero(scores[:index] == scores[index])
    return 1 + int(before)


def _ids(labels: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    index: Mapping[str, int] = {name: number for number, name in enumerate(classes)}
    return np.array([index.get(name, -1) for name in labels], np.int64)
