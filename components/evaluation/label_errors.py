"""Which labels are probably wrong: confident learning (Northcutt, Jiang & Chuang 2021, "Confident Learning").

On probabilities of clips that the model was not trained on only: it agrees with the wrong labels that it has learnt.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Suspect(NamedTuple):
    """A clip whose label is probably wrong.

    Attributes:
      row: Which clip.
      suggestion: Id of the class that it probably is of.
      score: Probability of the suggestion less that of the label, -1 to 1; the higher, the surer.
    """

    row: int
    suggestion: int
    score: float


def suspected_label_errors(probabilities: np.ndarray, ids: np.ndarray) -> list[Suspect]:
    """Clips off the diagonal of the confident joint, the surest first (section 3.1, equations 1 and 2).

    A clip counts as of class k where k is as probable as it is on average for the clips that are labelled k; of several
    such classes, the most probable one, its label in case of a tie. A clip that counts as another class than its label
    is suspected.

    Args:
      probabilities: Held out, float [N, K].
      ids: Label of each clip, int [N]; negative ones, of classes that the model does not know, are left out.

    Raises:
      ValueError: If the shapes do not match.
    """
    if probabilities.ndim != 2 or ids.shape != probabilities.shape[:1]:
        raise ValueError(f"probabilities [N, K] and ids [N] are needed; got {probabilities.shape} and {ids.shape}")
    rows = np.flatnonzero(ids >= 0)
    probabilities, ids = probabilities[rows].astype(np.float64), ids[rows]
    own = probabilities[np.arange(len(ids)), ids]
    classes = probabilities.shape[1]
    clips = np.bincount(ids, minlength=classes)
    # Nothing is known of how sure the model is of a class that no clip has.
    thresholds = np.where(clips > 0, np.bincount(ids, own, classes) / np.maximum(clips, 1), np.inf)
    counted = np.where(probabilities >= thresholds, probabilities, -np.inf)
    suggestions = counted.argmax(axis=1)
    best = counted[np.arange(len(ids)), suggestions]
    suspected = np.flatnonzero(best > counted[np.arange(len(ids)), ids])
    scores = best[suspected] - own[suspected]
    order = suspected[np.argsort(-scores, kind="stable")]
    return [Suspect(int(rows[n]), int(suggestions[n]), float(best[n] - own[n])) for n in order]
