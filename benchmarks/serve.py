"""Measures a model server as a client sees it: seconds from a request to its answer, with several at a time."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from benchmarks.ingest import SECONDS, write_videos
from components.media.config import DecodeConfig
from components.media.video import store_clip
from pipeline.serving.client import Client
from pipeline.serving.transports import ServingError


@dataclasses.dataclass(frozen=True)
class ServerTimes:
    """What was measured.

    Attributes:
      requests, failed: How many were sent, and how many of them were refused.
      megabytes: Of the frames of a request.
      p50, p95: Seconds that half, and 95 %, of the answers took at most.
      per_second: Answers.
    """

    requests: int
    failed: int
    megabytes: float
    p50: float
    p95: float
    per_second: float


def bench_server(client: Client, config: DecodeConfig, *, requests: int, at_a_time: int) -> ServerTimes:
    """Asks about one clip of 10 s, again and again.

    Args:
      client: The server's.
      config: How its model's clips are stored.
      requests: How many.
      at_a_time: How many at a time.
    """
    with tempfile.TemporaryDirectory() as folder:
        (video,) = write_videos(Path(folder), 1, SECONDS)
        frames = store_clip(video, config).frames

    def ask(_) -> float | None:
        started = time.perf_counter()
        try:
            client.ask(frames)
        except ServingError:
            return None
        return time.perf_counter() - started

    ask(None)
    started = time.perf_counter()
    with ThreadPoolExecutor(at_a_time) as threads:
        seconds = [one for one in threads.map(ask, range(requests)) if one is not None]
    wall = time.perf_counter() - started
    p50, p95 = np.percentile(seconds, (50, 95)).tolist() if seconds else (float("nan"), float("nan"))
    megabytes = sum(map(len, frames)) / 1e6
    return ServerTimes(requests, requests - len(seconds), megabytes, p50, p95, len(seconds) / wall)
