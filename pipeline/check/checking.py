"""Checks videos as ingest would: the same code decodes every clip in full and describes its file.

Contract: a bad video raises nothing. Each clip gives a `Checked`, which states what is wrong with it.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from components.ingest.config import IngestConfig
from components.manifest.listing import ListedClip
from components.media.decoder import Decoder, local_copy
from components.media.filmstrip import draw_filmstrip
from components.media.frames import VideoError
from components.media.probe import Probe

# No verdict depends on it, and a sixth of the time does; as to the size, whether a picture can be stored does.
_JPEG_QUALITY = 80
# On a page, over all classes; some 15 kB each. Of more classes than the most, the first ones have some.
_FILMSTRIPS, _MOST_FILMSTRIPS = 120, 1000
# Files that are checked, by worker, while the first of them is waited for.
_AHEAD = 32

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, slots=True)
class Checked:
    """What was found.

    Attributes:
      clip: The clip.
      probe: What its file reports.
      duration: Seconds: of the decoded frames, or as the file reports where the clip is bad.
      stage: Where it failed (open, decode, segment); empty if it is good.
      reason: What is wrong, in words; empty if it is good.
      filmstrip: JPEG of evenly spaced frames side by side; empty where none was requested.
    """

    clip: ListedClip
    probe: Probe
    duration: float | None
    stage: str = ""
    reason: str = ""
    filmstrip: bytes = b""

    @property
    def is_bad(self) -> bool:
        """Whether ingest would lose the clip."""
        return bool(self.reason)


def filmstrips_per_class(clips: Sequence[ListedClip]) -> int:
    """How many clips of each class a page shows: all of a few, one of each class of many."""
    return max(1, _FILMSTRIPS // len({clip.label for clip in clips}))


def check(clips: Sequence[ListedClip], config: IngestConfig, *, workers: int, filmstrips: int) -> Iterator[Checked]:
    """Checks clips on `workers` threads, those of one file together; yields them file by file, in order.

    Args:
      clips: What to check.
      config: The settings of ingest.
      workers: Files decoded in parallel, each by its own decoder process.
      filmstrips: How many good clips of each class get a filmstrip.
    """
    config = dataclasses.replace(config, jpeg_quality=min(config.jpeg_quality, _JPEG_QUALITY))
    clips_of = collections.defaultdict(list)
    for clip in clips:
        clips_of[clip.file].append(clip)
    labels = sorted({clip.label for clip in clips})
    left = collections.Counter(dict.fromkeys(labels[:_MOST_FILMSTRIPS], filmstrips))

    def check_file(file: str) -> list[Checked]:
        # `left` only falls, file by file: a filmstrip that is not wanted now will not be.
        return _check_file(file, clips_of[file], decoder, config.max_bytes, lambda label: left[label] > 0)

    with Decoder(config) as decoder:
        for checked in _in_order(check_file, clips_of, workers):
            for found in checked:
                shown = left[found.clip.label] > 0 and not found.is_bad
                left[found.clip.label] -= shown
                yield found if shown else dataclasses.replace(found, filmstrip=b"")


def _in_order(function: Callable[[str], T], files: Iterable[str], workers: int) -> Iterator[T]:
    """As `map`, on threads; closing the iterator does not wait for running threads."""
    pool, answers = ThreadPoolExecutor(workers), collections.deque()
    try:
        for file in files:
            answers.append(pool.submit(function, file))
            if len(answers) >= workers * _AHEAD:
                yield answers.popleft().result()
        while answers:
            yield answers.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _check_file(
    file: str, clips: Sequence[ListedClip], decoder: Decoder, max_bytes: int, wants_filmstrip: Callable[[str], bool]
) -> list[Checked]:
    try:
        with local_copy(file, max_bytes) as local:
            probe, checked = decoder.probe(local), {}
            for index, stored in decoder.store_segments(local, [(clip.start or 0.0, clip.end) for clip in clips]):
                clip = clips[index]
                if isinstance(stored, VideoError):
                    checked[index] = Checked(clip, probe, probe.duration, stored.stage, stored.reason)
                else:
                    filmstrip = draw_filmstrip(stored.frames) if wants_filmstrip(clip.label) else b""
                    checked[index] = Checked(clip, probe, stored.duration, filmstrip=filmstrip)
            return [checked[index] for index in range(len(clips))]
    except VideoError as error:
        return [Checked(clip, Probe(), None, error.stage, error.reason) for clip in clips]
