"""From one video to its timeline: decoded once, part after part, and scored as it comes."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import softmax

from components.manifest.table import as_text
from components.media.decoder import Decoder, local_copy
from components.media.video import VideoError
from components.storage.record_files import is_record
from pipeline.inference.model import OpenModel
from pipeline.timeline.config import SegmentConfig
from pipeline.timeline.scores import Scored, score_windows
from pipeline.timeline.segments import evidence
from pipeline.timeline.timeline import Head, Timeline
from pipeline.timeline.windows import WindowConfig

# Seconds of a video that are in memory at a time, beside a window.
_PART_SECONDS = 10
# Pictures of the strip: at least so many of a video that has them, and less than twice as many.
_PICTURES = 16


class Strip(NamedTuple):
    """Evenly spaced pictures of a video, JPEG, and how many stored frames each stands for."""

    pictures: list[bytes]
    every: int


@contextlib.contextmanager
def open_reading(model: OpenModel, decoder: Decoder, path: str, config: WindowConfig) -> Iterator[Reading]:
    """A video that is about to be read.

    Raises:
      VideoError: If it is no file, or cannot be copied.
      FileError: If a remote video cannot be copied for a reason that is not its own.
    """
    if "://" not in path and os.path.exists(path) and not os.path.isfile(path):
        # A pipe or a terminal would be waited for.
        raise VideoError(path, "open", "it is no file, but a folder, a pipe or a device")
    with local_copy(path, model.decode_config.max_bytes) as file:
        yield Reading(model, decoder, path, file, config)


class Reading:
    """One video: iterate `scored` to its end, then take `timeline` and `strip`.

    Attributes:
      expected: How many windows there will be, as far as the video states its length; or None.
    """

    def __init__(self, model: OpenModel, decoder: Decoder, path: str, file: str, config: WindowConfig):
        self._model, self._decoder, self._path, self._file, self._config = model, decoder, path, file, config
        self._frames, self._error = 0, None
        self._pictures, self._every = [], config.every
        self._scored: list[Scored] = []
        self.expected = None if is_record(file) else self._windows(decoder.probe(file).duration)

    def scored(self) -> Iterator[Scored]:
        """The scores of window after window. What ends the video early ends them; `timeline` says what it was.

        Raises:
          VideoError: If there is no frame.
        """
        for one in score_windows(self._model, self._parts(), self._config):
            self._scored.append(one)
            yield one
        if not self._scored:
            raise self._error

    def _parts(self) -> Iterator[Sequence[bytes]]:
        try:
            # A window that is the whole video may show any frame of it: it must lie within the first part.
            frames = min(math.ceil(_PART_SECONDS * self._config.fps), self._model.decode_config.max_frames)
            frames = max(frames, self._config.frames)
            for part in self._decoder.store_stream(self._file, frames, self._config.every):
                self._keep_pictures(part.frames)
                self._frames += len(part.frames)
                yield part.frames
        except VideoError as error:
            self._error = error

    def _windows(self, duration: float | None) -> int | None:
        if not duration:
            return None
        return 1 + max(0, math.ceil((duration - self._config.seconds) / self._config.hop_seconds))

    def _keep_pictures(self, frames: Sequence[bytes]) -> None:
        first = -self._frames % self._every
        self._pictures += frames[first :: self._every]
        while len(self._pictures) >= 2 * _PICTURES:
            del self._pictures[1::2]
            self._every *= 2

    @property
    def strip(self) -> Strip:
        """Pictures of what was read."""
        return Strip(self._pictures, self._every)

    def timeline(self, settings: SegmentConfig) -> Timeline:
        """The timeline of what was read."""
        heads = []
        for name, classes in self._model.card.classes.items():
            logits = np.stack([one.logits[name] for one in self._scored])
            scores = softmax(logits, axis=1).astype(np.float32)
            heads.append(Head(name, list(classes), scores, [], _known_evidence(self._model, name)))
        timeline = Timeline(
            video=as_text(self._path),
            model=as_text(self._model.path),
            fps=self._config.fps,
            frames=self._frames,
            window=self._config.frames,
            hop=self._config.hop,
            starts=np.array([one.start for one in self._scored]),
            heads=heads,
            settings=settings,
            error=self._error and self._error.reason,
        )
        return timeline.with_segments(settings)


def _known_evidence(model: OpenModel, head: str) -> float | None:
    """Mean evidence of a head on the clips whose logits the trainer left; None where there are none."""
    if not model.expected:
        return None
    logits = np.array([by_head[head] for by_head in model.expected.centre.values()])
    return round(float(evidence(softmax(logits, axis=1)).mean()), 4)
