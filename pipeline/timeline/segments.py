"""From the scores of windows to segments: smoothed, a threshold to be there and a lower one to stay, a least length.

Contract: segments of a head do not overlap, lie on the grid of the stored frames, end exclusive, and are within the
video. Where no class is sure enough there is none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy import special
from scipy.ndimage import gaussian_filter1d

from pipeline.timeline.config import SegmentConfig

# Which share of the evidence parts what is known from what is not, and how sharply; found on the demo, where 0.3 to 0.5
# and 10 to 15 are as good.
_SHARE, _STEEPNESS = 0.4, 10


class Segment(NamedTuple):
    """When a class is seen: seconds, `end` exclusive, and the mean score of the class, 0 to 1."""

    start: float
    end: float
    name: str
    score: float


def evidence(probabilities: np.ndarray) -> np.ndarray:
    """How far probabilities [..., K] are from saying nothing, [...]: KL divergence of the uniform ones from them."""
    floor = np.maximum(np.asarray(probabilities, np.float64), 1e-12)
    return -np.log(floor).mean(axis=-1) - np.log(floor.shape[-1])


def sure(probabilities: np.ndarray, known: float | None) -> np.ndarray:
    """Probabilities [W, K], less where a model has little evidence for any class; float32.

    A network must name a class of what it was never shown, such as nothing at all, and may do so with a probability
    that looks high; but its other classes are then less unlikely than they are on a clip that it knows.

    Args:
      probabilities: Of each window and class.
      known: Mean evidence on clips that the model knows; None where nobody has measured it: nothing is changed.
    """
    if not known:
        return np.asarray(probabilities, np.float32)
    share = evidence(probabilities)[:, np.newaxis] / known
    return (probabilities * special.expit(_STEEPNESS * (share - _SHARE))).astype(np.float32)


def smoothed(scores: np.ndarray, hop: float, smooth: float) -> np.ndarray:
    """Scores [W, K] of windows, one every `hop` seconds, under a Gaussian over time; float32."""
    scores = np.asarray(scores, np.float32)
    return gaussian_filter1d(scores, smooth / hop, axis=0, mode="nearest") if smooth else scores


def find_segments(
    scores: np.ndarray,
    middles: np.ndarray,
    *,
    names: Sequence[str],
    frames: int,
    window: int,
    fps: float,
    config: SegmentConfig,
) -> list[Segment]:
    """The segments of one head, in time order.

    The score of a class between the middles of two windows is on the line between theirs. It is taken for the share of
    the window that shows the class: where it crosses `off`, the class begins or ends `off` - 1/2 of a window further
    out. Where several classes are there at once, the one with the highest score is.

    Args:
      scores: Of each window and class, float [W, K]; smoothed.
      middles: The middle of each window, in frames, float [W], ascending.
      names: Of the classes.
      frames: Stored frames of the video.
      window: Stored frames of a window.
      fps: Stored frames per second.
      config: Thresholds.
    """
    times = np.arange(frames) + 0.5  # of the middles of frames
    further = round((config.off - 0.5) * window)
    best, owner = np.zeros(frames, np.float32), np.full(frames, -1)
    for index in np.flatnonzero(scores.max(axis=0) >= config.on):
        curve = np.interp(times, middles, scores[:, index]).astype(np.float32)
        reached = middles[scores[:, index] >= config.on]
        for first, behind in _runs(curve >= config.off):
            # In a run that stays below `off`, nothing reaches `on`.
            if ((first <= reached) & (reached <= behind)).any():
                shown = slice(max(0, first - further) if first else 0, behind + further if behind < frames else frames)
                owner[shown][curve[shown] > best[shown]] = index
        best = np.where(owner == index, curve, best)
    return [
        Segment(first / fps, behind / fps, names[owner[first]], float(best[first:behind].mean()))
        for first, behind in _runs(owner)
        if owner[first] >= 0 and names[owner[first]] not in config.background and behind - first >= config.least * fps
    ]


def _runs(values: np.ndarray) -> Iterator[tuple[int, int]]:
    """Where each run of one value in an array [n], n from 1 on, begins and ends."""
    edges = np.flatnonzero(np.diff(values)) + 1
    for first, behind in zip([0, *edges], [*edges, len(values)], strict=True):
        yield int(first), int(behind)
