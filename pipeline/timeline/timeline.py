"""The timeline of one video, and its JSON: what docs/timeline.md describes and every other file is made from."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.timeline.config import SegmentConfig
from pipeline.timeline.segments import Segment, find_segments, smoothed, sure

# Of the JSON. It grows when a field changes its meaning or goes.
VERSION = 1
# Of the smoothing's standard deviation, in a window: found on the demo, where twice as much joins what stands apart.
_WINDOWS_OF_SMOOTHING = 8
# Digits of scores behind the point.
_DIGITS = 4


@dataclasses.dataclass(frozen=True)
class Head:
    """What one head of the model sees.

    Attributes:
      name: Of the head.
      classes: In the order of the scores.
      scores: Probability of each class in each window, float32 [W, K], not smoothed.
      segments: In time order; they do not overlap.
      evidence: The model's mean `segments.evidence` on clips that it knows, or None.
    """

    name: str
    classes: list[str]
    scores: np.ndarray
    segments: list[Segment]
    evidence: float | None = None


@dataclasses.dataclass(frozen=True)
class Timeline:
    """What happens when in one video. Times are seconds from its first frame, ends exclusive.

    Attributes:
      video: Its path, as text.
      model: The path of the model.
      fps: Stored frames per second: the grid of all times.
      frames: Stored frames of the video.
      window, hop: Length of a window, and from one to the next, in stored frames.
      starts: The first frame of each window, int [W].
      heads: By head.
      settings: How segments were made.
      error: What ended the video before its end, or None.
    """

    video: str
    model: str
    fps: float
    frames: int
    window: int
    hop: int
    starts: np.ndarray
    heads: list[Head]
    settings: SegmentConfig
    error: str | None = None

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.frames / self.fps

    @property
    def middles(self) -> np.ndarray:
        """The middle of each window, in frames, float [W]."""
        return self.starts + min(self.window, self.frames) / 2

    def with_segments(self, settings: SegmentConfig) -> Timeline:
        """The same scores, and the segments that other settings make of them."""
        if settings.smooth is None:
            settings = dataclasses.replace(settings, smooth=self.window / self.fps / _WINDOWS_OF_SMOOTHING)
        heads = [
            dataclasses.replace(
                head,
                segments=find_segments(
                    self.smoothed(head, settings),
                    self.middles,
                    names=head.classes,
                    frames=self.frames,
                    window=min(self.window, self.frames),
                    fps=self.fps,
                    config=settings,
                ),
            )
            for head in self.heads
        ]
        return dataclasses.replace(self, heads=heads, settings=settings)

    def smoothed(self, head: Head, settings: SegmentConfig | None = None) -> np.ndarray:
        """The scores of a head as segments are made of them, float32 [W, K]."""
        return smoothed(
            sure(head.scores, head.evidence), self.hop / self.fps, (settings or self.settings).smooth or 0.0
        )

    def to_json(self) -> str:
        """The document that docs/timeline.md describes, a line for each window's scores."""
        heads = [
            {
                "head": head.name,
                "classes": head.classes,
                "evidence": head.evidence,
                "segments": [
                    {"start": _time(one.start), "end": _time(one.end), "class": one.name, "score": _score(one.score)}
                    for one in head.segments
                ],
            }
            for head in self.heads
        ]
        document = {
            "version": VERSION,
            "video": self.video,
            "model": self.model,
            "duration": _time(self.duration),
            "fps": self.fps,
            "frames": self.frames,
            "window": _time(self.window / self.fps),
            "hop": _time(self.hop / self.fps),
            "settings": dataclasses.asdict(self.settings),
            "error": self.error,
            "windows": [_time(start / self.fps) for start in self.starts.tolist()],
            "heads": heads,
        }
        scores = {head.name: np.round(head.scores.astype(float), _DIGITS).tolist() for head in self.heads}
        text = json.dumps(document, ensure_ascii=False, indent=1)
        rows = {name: ",\n".join(json.dumps(row) for row in of_head) for name, of_head in scores.items()}
        inside = ",\n".join(f"{json.dumps(name)}: [\n{row}\n]" for name, row in rows.items())
        return f'{text.removesuffix("}").rstrip()},\n "scores": {{\n{inside}\n}}\n}}\n'

    @classmethod
    def from_json(cls, text: str) -> Timeline:
        """The inverse of `to_json`, but for the digits that it rounds away.

        Raises:
          ValueError: If the document is none of this version.
        """
        document: Mapping[str, Any] = json.loads(text)
        if document.get("version") != VERSION:
            raise ValueError(f"it is no timeline of version {VERSION}: its version is {document.get('version')!r}")
        fps, settings = document["fps"], document["settings"]
        heads = [
            Head(
                name=head["head"],
                classes=head["classes"],
                scores=np.array(document["scores"][head["head"]], np.float32),
                segments=[Segment(one["start"], one["end"], one["class"], one["score"]) for one in head["segments"]],
                evidence=head["evidence"],
            )
            for head in document["heads"]
        ]
        return cls(
            video=document["video"],
            model=document["model"],
            fps=fps,
            frames=document["frames"],
            window=round(document["window"] * fps),
            hop=round(document["hop"] * fps),
            starts=np.round(np.array(document["windows"]) * fps).astype(int),
            heads=heads,
            settings=SegmentConfig(**settings | {"background": tuple(settings["background"])}),
            error=document["error"],
        )


def labelled(timeline: Timeline) -> Sequence[tuple[str, Segment]]:
    """All segments in time order, each with its text: the class, and before it the head where there are several."""
    several = len(timeline.heads) > 1
    found = [
        (f"{head.name}: {one.name}" if several else one.name, one) for head in timeline.heads for one in head.segments
    ]
    return sorted(found, key=lambda pair: (pair[1].start, pair[1].end))


def _time(seconds: float) -> float:
    # A grid of 24000/1001 frames a second has no round times; six digits tell any two frames apart.
    return round(seconds, 6)


def _score(score: float) -> float:
    return round(score, _DIGITS)
