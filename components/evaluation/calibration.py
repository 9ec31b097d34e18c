"""Whether a model is right as often as it says, in bins of confidence, and what is gained by not answering.

The confidence of a clip is the probability of its most likely class.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

BINS = 15


class CalibrationBin(NamedTuple):
    """Clips of similar confidence: how sure the model is of them on average, how often it is right, how many."""

    confidence: float
    accuracy: float
    clips: int


class CoverageCurve(NamedTuple):
    """What is left, and how often it is right, when only clips of a confidence >= threshold are answered.

    Attributes:
      threshold: Rising, float64 [P].
      coverage: Share of clips that are answered, falling from 1; float64 [P].
      accuracy: Share of these that is right, float64 [P].
    """

    threshold: np.ndarray
    coverage: np.ndarray
    accuracy: np.ndarray


def calibration_bins(confidence: np.ndarray, correct: np.ndarray, bins: int = BINS) -> list[CalibrationBin]:
    """The bins of equal width that have clips, by rising confidence; for a plot."""
    index = equal_width_bins(confidence, bins)
    clips = np.bincount(index, minlength=bins)
    sums = (np.bincount(index, np.asarray(values, np.float64), bins) for values in (confidence, correct))
    rows = zip(*sums, clips.tolist(), strict=True)
    return [CalibrationBin(float(sure / count), float(right / count), count) for sure, right, count in rows if count]


def equal_width_bins(confidence: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Bin of each clip, int [N], in 0..bins-1: of (0, 1/bins], (1/bins, 2/bins] and so on."""
    return np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], np.asarray(confidence, np.float64))


def equal_mass_bins(confidence: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Bin of each clip, int [N], in 0..bins-1: between quantiles of the confidences; equal ones share a bin."""
    confidence = np.asarray(confidence, np.float64)
    if not len(confidence):
        return np.zeros(0, np.int64)
    return np.searchsorted(np.quantile(confidence, np.linspace(0, 1, bins + 1)[1:-1]), confidence)


def coverage_curve(confidence: np.ndarray, correct: np.ndarray, points: int = 200) -> CoverageCurve:
    """Accuracy against coverage as the threshold of confidence rises from the lowest confidence to the highest.

    Args:
      confidence: [N].
      correct: bool [N].
      points: The most thresholds, P; fewer where there are fewer different confidences.

    Raises:
      ValueError: If there is no clip.
    """
    _require_clips(confidence)
    order = np.argsort(np.negative(confidence), kind="stable")
    confidence, right = np.asarray(confidence, np.float64)[order], np.cumsum(np.asarray(correct, np.int64)[order])
    # Clips of equal confidence are answered together: a threshold can stand behind the last of them only.
    ends = np.append(np.flatnonzero(np.diff(confidence)), len(confidence) - 1)
    chosen = ends[np.unique(np.linspace(0, len(ends) - 1, points).round().astype(int))][::-1]
    return CoverageCurve(confidence[chosen], (chosen + 1) / len(confidence), right[chosen] / (chosen + 1))


def _require_clips(confidence: np.ndarray) -> None:
    if not len(confidence):
        raise ValueError("calibration needs one clip or more")
