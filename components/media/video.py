"""Decodes segments of one video to JPEG frames.

Contract: frames are chosen by timestamp, never by count or header; what is stored is what a player shows, upright and
with square pixels; and whatever is wrong with a file becomes a `VideoError` that says so in words.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

from components.media.config import DecodeConfig
from components.media.frames import TimedFrame, Video, VideoError, open_video
from components.media.picture import Painter

# Seconds by which a segment may end behind its video: publishers round to whole ones, and containers round, too.
_ROUNDED_END = 1
# Seconds that a picture of a whole video may stay. Longer, its camera's clock was set, or its times are made up: all of
# that time would be stored, and seen by a network.
_LONGEST_STILL = 6 * 3600


@dataclasses.dataclass(frozen=True)
class StoredClip:
    """The frames of one clip as they are stored.

    Attributes:
      frames: JPEG bytes of the T frames, in time order.
      size: (height, width) in pixels.
      fps: Stored frames per second.
      start: Start of the clip in its video, seconds.
      short: Whether its video had fewer than `min_frames`, of which `short_clips` made these.
    """

    frames: tuple[bytes, ...]
    size: tuple[int, int]
    fps: float
    start: float
    short: bool

    @property
    def duration(self) -> float:
        """Length of the clip, in seconds."""
        return len(self.frames) / self.fps


def store_clip(path: str, config: DecodeConfig, *, start: float = 0.0, end: float | None = None) -> StoredClip:
    """Decodes ``[start, end)`` of a video at `config.fps` and encodes its frames as JPEG.

    The frame stored for time t is the one that a player shows at t. Variable frame rates need no special care.

    Args:
      path: A local file.
      config: Rate, size and quality of the stored frames; the limits.
      start: Seconds from the first frame of the video.
      end: Seconds from the first frame; None for the end of the video.

    Raises:
      VideoError: If the file cannot be opened, or decoded, or has no frame in the segment; if its frames end before
        the segment does, and well before the time that its container states; if more of the segment lies beyond the
        end of the video than `config.max_missing` allows; if a frame is damaged, or the picture changes its shape; if
        it is over a limit; or if the clip is short and `config.short_clips` is "drop".
    """
    ((_, stored),) = store_segments(path, [(start, end)], config)
    if isinstance(stored, VideoError):
        raise stored
    return stored


def store_segments(
    path: str, segments: Sequence[tuple[float, float | None]], config: DecodeConfig
) -> Iterator[tuple[int, StoredClip | VideoError]]:
    """Stores many segments of one video in one pass; each is what `store_clip` makes of it, or the error it raises.

    Segments may overlap and be in any order. Frames that they share are decoded and encoded once, and what lies
    between two is skipped where the video has a keyframe there.

    Args:
      path: A local file.
      segments: (start, end) as in `store_clip`.
      config: Rate, size and quality of the stored frames; the limits.

    Yields:
      The place of a segment in `segments`, and its clip or error, as soon as it is complete.
    """
    waiting = []
    for index, (start, end) in enumerate(segments):
        if start < 0:
            yield index, VideoError(path, "segment", f"it starts at {start:g} s, before the video")
        else:
            waiting.append(_Segment(path, index, start, end, config))
    waiting.sort(key=lambda segment: segment.start)
    try:
        with open_video(path, max_bytes=config.max_bytes, max_pixels=config.max_pixels) as video:
            painter = Painter(path, config)
            while waiting:
                yield from _one_pass(video, waiting, painter)
    except VideoError as error:
        yield from ((segment.index, error) for segment in waiting)


def store_stream(path: str, frames: int, config: DecodeConfig, every: int = 1) -> Iterator[StoredClip]:
    """Stores a whole video in one pass, part after part, however long it is and whatever it states of its length.

    Together the parts have the frames of `store_clip`. No more than one of them is in memory; the limits of a clip are
    those of a part. `config.min_frames` does not concern them.

    Args:
      path: A local file.
      frames: Frames of each part but the last, which may have fewer.
      config: Rate, size and quality of the stored frames; the limits.
      every: Behind the first part, only frames whose place in the video is a multiple of it are resized and encoded;
        the others are empty.

    Raises:
      VideoError: Behind the last whole part, if there is damage, a picture stays for more than six hours, or the file
        ends well before the time that it states; or at once, where `store_clip` fails at the first frame.
    """
    config = dataclasses.replace(config, min_frames=1)
    length = frames / Fraction(config.fps).limit_denominator(1001)
    with open_video(path, max_bytes=config.max_bytes, max_pixels=config.max_pixels) as video:
        painter, part, shown = Painter(path, config), _Part(path, 0, 0.0, float(length), config, every=every), None
        for following in video.frames(Fraction(0)):
            if shown and following.time - shown.time > _LONGEST_STILL:
                raise _jumps(path, shown, following.time)
            while part.advance(shown or following, following.time - following.rounding, painter):
                yield part.stored()
                part = part.next_part()
            shown = following
        ends = shown.time + shown.duration if shown else Fraction(0)
        if shown and shown.duration > _LONGEST_STILL:
            raise _jumps(path, shown, ends)
        while shown and part.advance(shown, ends, painter):
            yield part.stored()
            part = part.next_part()
        if part.index == 0 or not part.is_empty:
            yield part.stored()
        video.check_whole(ends)


def _jumps(path: str, shown: TimedFrame, until: Fraction) -> VideoError:
    hours = float(until - shown.time) / 3600
    return VideoError(path, "decode", f"its picture at {float(shown.time):.2f} s stays for {hours:,.0f} hours")


def _one_pass(video: Video, waiting: list[_Segment], painter: Painter) -> Iterator[tuple[int, StoredClip | VideoError]]:
    """Takes from `waiting` what can be completed from its earliest segment on, until a gap that can be skipped."""
    sought, shown = waiting[0].start, None
    reached = sought
    try:
        for following in video.frames(sought):
            reached = max(reached, following.time)
            # A frame due within the rounding is shown already.
            until = following.time - following.rounding
            for segment in list(itertools.takewhile(lambda one: one.start < until, waiting)):  # noqa: B023
                if segment.advance(shown or following, until, painter):
                    waiting.remove(segment)
                    yield segment.index, segment.result()
            if not waiting:
                return
            shown, upcoming = following, waiting[0].start
            if shown.time < upcoming != sought and shown.time < video.keyframe_before(upcoming):
                return
    except VideoError as error:
        # In a video that can be sought, what begins behind the damage may be whole.
        for segment in [one for one in waiting if one.start <= reached or not video.seekable]:
            waiting.remove(segment)
            yield segment.index, error
        return
    ends = shown.time + shown.duration if shown else Fraction(0)
    video.check_whole(ends)
    while waiting:
        segment = waiting.pop(0)
        if shown:
            segment.advance(shown, ends, painter)
        yield segment.index, segment.result(ends)


class _Segment:
    """One segment while its frames are collected."""

    def __init__(self, path: str, index: int, start: float, end: float | None, config: DecodeConfig):
        self.index, self.start = index, _exact(start)
        self._path, self._requested, self._config = path, (start, end), config
        self._end = None if end is None else _exact(end)
        self._step, self._time = 1 / Fraction(config.fps).limit_denominator(1001), self.start
        self._frames: list[bytes] = []
        self._bytes, self._size = 0, (0, 0)
        self._error: VideoError | None = None

    def advance(self, shown: TimedFrame, until: Fraction, painter: Painter) -> bool:
        """Adds `shown` for each time of the grid before `until`; True once the segment is complete, or lost."""
        try:
            while self._time < until and (self._end is None or self._time < self._end):
                self._add(*self._picture(shown, painter))
                self._time += self._step
        except VideoError as error:
            self._error = error
        return self._error is not None or (self._end is not None and self._time >= self._end)

    def _picture(self, shown: TimedFrame, painter: Painter) -> tuple[bytes, tuple[int, int]]:
        return painter.paint(shown)

    def _add(self, jpeg: bytes, size: tuple[int, int]) -> None:
        if self._size not in ((0, 0), size):
            shapes = " to ".join(f"{width}x{height}" for height, width in (self._size, size))
            raise VideoError(self._path, "decode", f"its picture changes its shape midway, from {shapes}")
        if len(self._frames) == self._config.max_frames:
            reason = f"it has more frames than ingest.max_frames = {self._config.max_frames}"
            raise VideoError(self._path, "segment", f"{reason}; give its start and end")
        self._frames.append(jpeg)
        self._bytes, self._size = self._bytes + len(jpeg), size
        _check_bytes(self._path, self._bytes, self._config)

    def stored(self) -> StoredClip:
        """The clip; raises VideoError if something is wrong with it."""
        clip = self.result()
        if isinstance(clip, VideoError):
            raise clip
        return clip

    def result(self, video_end: Fraction | None = None) -> StoredClip | VideoError:
        """The clip, or what is wrong with it; `video_end` is the end of its video, where that came first."""
        if self._error:
            return self._error
        start, end = self._requested
        span = f"between {start:g} s and " + ("its end" if end is None else f"{end:g} s")
        if video_end is not None and (start or end):
            span += f": its video ends at {float(video_end):.2f} s; start and end are seconds, not frames"
        if not self._frames:
            return VideoError(self._path, "segment", f"no frame {span}")
        missing, most = Fraction(0), Fraction(self._config.max_missing)
        if None not in (end, video_end):
            missing = self._end - video_end
        if missing > _ROUNDED_END and missing > most * (self._end - self.start):
            reason = f"the last {float(missing):.2f} s are missing {span}"
            advice = f"correct them, or raise ingest.max_missing = {float(most):g}"
            return VideoError(self._path, "segment", f"{reason}; {advice}")
        try:
            frames = with_min_frames(self._path, self._frames, self._config)
        except VideoError as error:
            return error
        short = len(self._frames) < self._config.min_frames
        return StoredClip(frames, self._size, float(1 / self._step), start, short)


class _Part(_Segment):
    """One part of a stream; of those behind the first, only each `every`-th frame of the stream has a picture."""

    def __init__(self, *segment: Any, every: int, place: int = 0):
        super().__init__(*segment)
        self._every, self._place = every, place

    @property
    def is_empty(self) -> bool:
        """Whether no frame was added."""
        return not self._frames

    def next_part(self) -> _Part:
        """The part of the same length behind this one; another shape of the picture is an error there, too."""
        segment = self._path, self.index + 1, float(self._end), float(2 * self._end - self.start), self._config
        part = _Part(*segment, every=self._every, place=self._place + len(self._frames))
        part._size = self._size
        return part

    def _picture(self, shown: TimedFrame, painter: Painter) -> tuple[bytes, tuple[int, int]]:
        if self.index and (self._place + len(self._frames)) % self._every:
            return b"", self._size
        return super()._picture(shown, painter)


def with_min_frames(path: str, frames: Sequence[bytes], config: DecodeConfig) -> tuple[bytes, ...]:
    """The frames of a clip, as many as `config.short_clips` makes of fewer than `config.min_frames`.

    Raises:
      VideoError: If the clip is short and `config.short_clips` is "drop", or it takes more than `config.max_clip_mb`.
    """
    count, least, policy = len(frames), config.min_frames, config.short_clips
    if count < least and policy == "drop":
        raise VideoError(path, "segment", f"it is short: {count} frames, fewer than ingest.min_frames = {least}")
    if count < least and policy != "keep":
        again = frames if policy == "loop" else frames[-1:]
        frames = (*frames, *itertools.islice(itertools.cycle(again), least - count))
    _check_bytes(path, sum(map(len, frames)), config)
    return tuple(frames)


def _check_bytes(path: str, size: int, config: DecodeConfig) -> None:
    """Raises VideoError if the frames of a clip take more bytes than `config.max_clip_mb` allows."""
    if size > config.max_clip_mb * 1_000_000:
        reason = f"its frames take more than ingest.max_clip_mb = {config.max_clip_mb} megabytes"
        advice = "give it a start and an end, or lower ingest.fps, ingest.short_side or ingest.jpeg_quality"
        raise VideoError(path, "segment", f"{reason}; {advice}")


def _exact(seconds: float) -> Fraction:
    """The time that a float stands for: 0.4 s is 2/5, though its nearest binary fraction is a little more."""
    return Fraction(seconds).limit_denominator(1_000_000)
