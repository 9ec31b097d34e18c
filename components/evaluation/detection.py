"""Mean average precision of segments, as ActivityNet's evaluation defines it.

A class's detections, the surest first, each take the truth of their video that they overlap most and that is still
free, if their tIoU (intersection over union in time) reaches the threshold; else they are false. Average precision is
interpolated: the area under the precision that is reached at each recall or a higher one. Classes without truth count
for nothing, those without detections as 0.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

TIOUS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))


class Span(NamedTuple):
    """A segment of a video: seconds, its class, and how sure a detection is; the score of truth says nothing."""

    video: str
    name: str
    start: float
    end: float
    score: float = 1.0


@dataclasses.dataclass(frozen=True)
class DetectionScore:
    """How well detections match the truth.

    Attributes:
      tious: The thresholds.
      precision: Average precision by class, float [thresholds].
      truth: Segments of truth by class.
    """

    tious: tuple[float, ...]
    precision: Mapping[str, np.ndarray]
    truth: Mapping[str, int]

    @property
    def means(self) -> np.ndarray:
        """mAP at each threshold, float [thresholds]."""
        return np.mean(list(self.precision.values()), axis=0)

    @property
    def average(self) -> float:
        """The mean of mAP over the thresholds: ActivityNet's score."""
        return float(self.means.mean())


def detection_score(
    truth: Iterable[Span], detections: Iterable[Span], tious: Sequence[float] = TIOUS
) -> DetectionScore:
    """Scores detections against the truth.

    Raises:
      ValueError: If there is no truth.
    """
    by_class: dict[str, list[Span]] = {}
    for span in truth:
        by_class.setdefault(span.name, []).append(span)
    if not by_class:
        raise ValueError("there is no segment of truth to score against")
    detections = list(detections)
    precision = {
        name: average_precision(spans, [one for one in detections if one.name == name], tious)
        for name, spans in sorted(by_class.items())
    }
    return DetectionScore(tuple(tious), precision, {name: len(spans) for name, spans in by_class.items()})


def average_precision(truth: Sequence[Span], detections: Sequence[Span], tious: Sequence[float]) -> np.ndarray:
    """Interpolated average precision of one class at each threshold, float [thresholds]; `truth` is not empty."""
    places: dict[str, list[int]] = {}
    for place, span in enumerate(truth):
        places.setdefault(span.video, []).append(place)
    times = np.array([(span.start, span.end) for span in truth], np.float64)
    taken = np.zeros((len(tious), len(truth)), bool)
    right = np.zeros((len(tious), len(detections)), bool)
    for rank, found in enumerate(sorted(detections, key=lambda one: -one.score)):
        candidates = np.array(places.get(found.video, ()), int)
        overlaps = temporal_iou((found.start, found.end), times[candidates])
        order = np.argsort(-overlaps, kind="stable")
        for row, tiou in enumerate(tious):
            free = [place for place in order if overlaps[place] >= tiou and not taken[row, candidates[place]]]
            if free:
                right[row, rank] = taken[row, candidates[free[0]]] = True
    return np.array([_interpolated(row, len(truth)) for row in right])


def temporal_iou(span: tuple[float, float], others: np.ndarray) -> np.ndarray:
    """Intersection over union in time of one span with others, float [n, 2]; float [n]."""
    start, end = span
    both = np.maximum(np.minimum(end, others[:, 1]) - np.maximum(start, others[:, 0]), 0)
    either = (end - start) + (others[:, 1] - others[:, 0]) - both
    return np.divide(both, either, out=np.zeros_like(both), where=either > 0)


def _interpolated(right: np.ndarray, truth: int) -> float:
    """Area under precision by recall, of detections in the order of their scores."""
    hits = np.cumsum(right)
    precision = hits / np.arange(1, len(right) + 1)
    reached = np.maximum.accumulate(precision[::-1])[::-1]
    return float(reached[right].sum() / truth)
