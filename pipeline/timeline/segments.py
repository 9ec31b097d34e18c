"""From the scores of windows to segments: smoothed, a threshold to be there and a lower one to stay, a least length.

Contract: segments of a head do not overlap, lie on the grid of the stored frames, end exclusive, and are within the
video. Where no class is sure enough there is none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter1d

from pipeline.timeline.config import SegmentConfig


class Segment(NamedTuple):
    """When a class is seen: seconds, `end` exclusive, and the mean score of the class, 0 to 1."""

    start: float
    end: float
    name: str
    score: float


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
