"""Measures what many segments of one long video cost, against decoding that video once from end to end."""

from __future__ import annotations

import dataclasses
import os
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.ingest import SECONDS, SPLIT, ingest, write_videos
from benchmarks.long_videos.making import decode, repeat_video
from benchmarks.quiet import quiet
from components.ingest.config import IngestConfig
from components.manifest.reader import Clip


@dataclasses.dataclass(frozen=True)
class SegmentRates:
    """What was measured.

    Attributes:
      minutes: Length of the video, whose picture is 340x256 at 25 frames per second.
      segments: Segments of 1 to 5 s, anywhere in it.
      segment_seconds: Time in which one worker decoded, resized, encoded and wrote them, seconds.
      decode_seconds: Time of one bare decode of the whole video, seconds.
    """

    minutes: int
    segments: int
    segment_seconds: float
    decode_seconds: float

    @property
    def ratio(self) -> float:
        """Cost of the segments, in decodes of the whole video."""
        return self.segment_seconds / self.decode_seconds


def bench_segments(config: IngestConfig, *, minutes: int = 30, segments: int = 200) -> SegmentRates:
    """Ingests segments of a long video, with one worker.

    Args:
      config: How frames are stored.
      minutes: Length of the video.
      segments: Number of segments; they overlap at random.
    """
    # Loaded before the clock starts.
    import components.ingest.example_gen  # noqa: F401

    rng = np.random.default_rng(0)
    starts, lengths = rng.uniform(0, 60 * minutes - 5, segments), rng.uniform(1, 5, segments)
    with tempfile.TemporaryDirectory() as folder:
        (short,) = write_videos(Path(folder), 1, SECONDS)
        video = os.path.join(folder, "long.mp4")
        repeat_video(short, video, times=minutes * 60 // SECONDS, seconds=SECONDS)
        clips = [
            Clip(f"{number}", video, video, SPLIT, {"label": "any"}, {}, start, start + length)
            for number, (start, length) in enumerate(zip(starts.tolist(), lengths.tolist(), strict=True))
        ]
        begin = time.perf_counter()
        decode(video)
        decoded = time.perf_counter()
        with quiet("vivit.ingest"):
            ingest(clips, os.path.join(folder, "ingest"), config, workers=1)
        return SegmentRates(minutes, segments, time.perf_counter() - decoded, decoded - begin)
