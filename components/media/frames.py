"""Opens a video and gives its frames with the times at which a player shows them.

Contract: times count from the first frame, in seconds, and come from timestamps, never from counts or rates in a
header; whatever is wrong with a file becomes a `VideoError` that says so in words.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import operator
import os
import re
import stat
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

import av
from av.stream import Disposition
from av.video.frame import VideoFrame

from components.media.orientation import Orientation, orientation

# Formats that are opened: those whose suffixes a manifest lists, and no more, as each parses what strangers wrote. Of
# FFmpeg's others some (concat, hls, dash, sdp, image2) open whatever files a text names, be it called .mp4.
_FORMATS = "mov,matroska,avi,asf,flv,gif,mjpeg,mpeg,mpegvideo,m4v,mpegts,ogg,h264,hevc,dv,mxf,yuv4mpegpipe"
# Formats with an index of keyframes. Others seek to anywhere, so they are read from their beginning.
_INDEXED_FORMATS = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"}
# Formats that store when a frame is decoded (some files of the last two do), not when it is shown, which differs where
# frames are stored out of order: a frame is shown at the time of the packet at which the decoder returns it.
_DECODE_TIME_FORMATS = {"avi", "asf", "mxf"}
# Formats whose clock may start again midway, as files are joined by putting one behind the other. A step back is such a
# start, and one of more seconds than this (FFmpeg's own limit).
_JOINED_FORMATS, _LONGEST_STEP = {"mpegts", "mpeg"}, 10
# Containers round timestamps to the tick of their clock. A clock coarser than this one counts frames, and is exact.
_MOST_ROUNDING = Fraction(1, 1000)
# Decoders that make up, in grey, what a picture refers to and the file lacks; others leave such a picture out.
_INVENTIVE_DECODERS = {"mpeg4", "h263", "msmpeg4v1", "msmpeg4v2", "msmpeg4", "flv", "wmv1", "wmv2"}
# More than this share of a video must be missing at its end for it to count as cut off: containers round.
_CUT_OFF = Fraction(1, 10)
# Formats that state how long the whole file is, in which sound may go on after the last picture.
_WHOLE_FORMATS = {"flv", "asf"}
# Sizes of one video for different bandwidths have one shape, but for this share: they are rounded to whole pixels.
_ROUNDED_SHAPE = 0.01
# What FFmpeg reports for a malformed file, depending on which part of it notices; and what that means.
_MALFORMED = (av.error.InvalidDataError, av.error.PatchWelcomeError, av.error.EOFError)
_MALFORMED_CODES = (errno.EAGAIN, errno.EINVAL, errno.EPERM)
_MALFORMED_WORDS = {
    "open": "it is no video, or its header or index is lost",
    "decode": "it is damaged, incomplete or encrypted, or its frames are larger than ingest.max_pixels or need more "
    "memory than ingest.max_memory_mb",
}
# A seek may land on a keyframe that is decoded before its target but shown after it; then one from so many seconds
# further back.
_FURTHER_BACK = 10


class VideoError(ValueError):
    """A clip cannot be decoded: `stage` (open, decode, segment) and `reason`, in words."""

    def __init__(self, path: str, stage: str, reason: str):
        super().__init__(f"{path}: {reason}")
        self.path, self.stage, self.reason = path, stage, reason


class TimedFrame(NamedTuple):
    """A frame, when it is shown, the shape of its pixels, which way up they are, and whether some are made up."""

    time: Fraction  # seconds from the first frame
    duration: Fraction  # seconds
    rounding: Fraction  # of the container's clock, seconds
    aspect: Fraction  # width over height of a pixel
    orientation: Orientation
    frame: VideoFrame
    invented: bool = False


class Video:
    """An open video; made by `open_video`.

    Attributes:
      seekable: Whether `frames` may be called more than once.
    """

    def __init__(self, path: str, max_pixels: int):
        self._path, self._max_pixels = path, max_pixels
        self._container, self._stream = _open_stream(path, max_pixels)
        stream, format_name = self._stream, self._container.format.name
        self._decode_times = format_name in _DECODE_TIME_FORMATS
        self._timestamp = operator.attrgetter("dts" if self._decode_times else "pts")
        self._longest_step = int(_LONGEST_STEP / stream.time_base) if format_name in _JOINED_FORMATS else None
        self._skipped = Fraction(0)
        self._last_packets: dict[int, av.Packet] = {}
        # Whether seeks land on the key pictures that the index lists, as far as is known.
        self._index_holds = True
        packets = self._packets()
        opening = next(packets, None)
        self._opening = None if opening is None else opening.pos
        self._begins_midway = opening is not None and _is_midway(opening, stream.codec_context)
        self._decoded = _decode(opening, packets)
        self._first = first = next(self._decoded, None)
        # Times count from the first frame, which is not always where the container says that the stream starts.
        self._origin = self._timestamp(first) if first else None
        # What a recording that starts midway has before its first keyframe counts, but cannot be shown or sought.
        self._late = max(0, (self._origin or 0) - (stream.start_time or 0))
        self.seekable = self._origin is not None and format_name in _INDEXED_FORMATS and not self._late
        self._stated_aspect = stream.sample_aspect_ratio or Fraction(1)
        self._first_coded = self._coded(first) if first else None
        self._orientation = (orientation(first) if first else None) or Orientation()

    def frames(self, start: Fraction) -> Iterator[TimedFrame]:
        """Yields the frames from a keyframe at or before `start` on; those of a video not seekable only once.

        Raises:
          VideoError: Where a frame cannot be decoded.
        """
        stream, tick, ends = self._stream, self._stream.time_base, Fraction(0)
        usual = 1 / stream.average_rate if stream.average_rate else Fraction(0)
        coded, aspect, upright = self._first_coded, self._stated_aspect, self._orientation
        origin, last, least = self._origin, self._origin, 0
        invented = self._begins_midway
        with _in_words(self._path, "decode"):
            for frame in self._from_keyframe(start):
                timestamp = self._timestamp(frame)
                if timestamp is None or origin is None:
                    # Raw streams have no timestamps: each frame starts where the one before it ends. Nor have frames
                    # that are held back until the file ends, where packets are timed.
                    time = ends
                else:
                    step = timestamp - last
                    least = min(least or step, step or least)
                    if self._longest_step and not 0 <= step <= self._longest_step:
                        origin = timestamp - ends / tick
                        self._skipped = max(self._skipped, (origin - self._origin) * tick)
                    time, last = (timestamp - origin) * tick, timestamp
                duration = (least if self._decode_times else frame.duration or 0) * tick or usual
                ends = time + duration
                # A stream states its changes before a keyframe.
                if frame.key_frame:
                    upright = orientation(frame) or upright
                    now_coded = self._coded(frame)
                    if now_coded != coded:
                        coded, aspect = now_coded, self._aspect(now_coded)
                invented = invented and not frame.key_frame
                yield TimedFrame(time, duration, min(tick, _MOST_ROUNDING), aspect, upright, frame, invented)

    def _packets(self) -> Iterator[av.Packet]:
        """The packets of the video from the container's current position on; the last one is empty."""
        for packet in self._container.demux():
            if packet.dts is not None:
                self._last_packets[packet.stream.index] = packet
            if packet.stream is self._stream:
                yield packet

    def _coded(self, frame: VideoFrame) -> tuple[int, int, Fraction | None]:
        """Width and height in pixels, and aspect of a pixel, as the stream states them before a frame."""
        return frame.width, frame.height, self._stream.codec_context.sample_aspect_ratio

    def _aspect(self, coded: tuple[int, int, Fraction | None]) -> Fraction:
        """Width over height of a pixel, such that the picture has the shape of the first one, but for rounding."""
        (width, height, aspect), (first_width, first_height, first_aspect) = coded, self._first_coded
        stated = self._stated_aspect if aspect == first_aspect else aspect or Fraction(1)
        of_first = self._stated_aspect * first_width * height / (first_height * width)
        return of_first if abs(stated / of_first - 1) < _ROUNDED_SHAPE else stated

    def _from_keyframe(self, start: Fraction) -> Iterator[VideoFrame]:
        fresh, self._first = self._first, None
        if not self.seekable or (fresh is not None and start <= 0):
            return itertools.chain([fresh] if fresh else [], self._decoded)
        for target in (start, start - _FURTHER_BACK):
            if self._index_holds and (found := self._sought(target)):
                return found
        return self._from_beginning()

    def _sought(self, target: Fraction) -> Iterator[VideoFrame] | None:
        """The frames from a key picture at or before `target` on, by a seek; None where that finds no such picture.

        A container may flag any picture as a key picture, or all: only the decoder sees which one is.
        """
        timestamp = self._origin + max(0, int(target / self._stream.time_base))
        landed = key = None
        with contextlib.suppress(av.error.FFmpegError):
            self._container.seek(timestamp, stream=self._stream, backward=True)
            packets = self._packets()
            landed = next(packets, None)
            frames = _decode(landed, packets)
            # Pictures that are shown before the key picture but stored behind it may refer to what was not decoded.
            key = next((frame for frame in frames if None in (frame.pts, landed.pts) or frame.pts >= landed.pts), None)
        is_key = key is not None and key.key_frame and key.pts is not None and key.pts == landed.pts
        if is_key and key.pts <= timestamp:
            return itertools.chain([key], frames)
        # An edit may hide the picture with which the file begins.
        self._index_holds = is_key or (landed is not None and landed.pos == self._opening)
        return None

    def _from_beginning(self) -> Iterator[VideoFrame]:
        # A file that is opened anew gives what the whole clip has, wherever an edit of it begins.
        container, stream = _open_stream(self._path, self._max_pixels)
        self.close()
        self._container, self._stream = container, stream
        try:
            for packet in self._packets():
                yield from packet.decode()
        except av.error.FFmpegError:
            # A seek may have landed on this damage, and the index be right: what is behind it may be whole.
            self._index_holds = True
            raise

    def keyframe_before(self, start: Fraction) -> Fraction:
        """The time of the last keyframe at or before `start` that the index lists, or 0."""
        if not (self.seekable and self._index_holds):
            return Fraction(0)
        entries = self._stream.index_entries
        place = entries.search_timestamp(self._origin + int(start / self._stream.time_base))
        return (entries[place].timestamp - self._origin) * self._stream.time_base if place >= 0 else Fraction(0)

    def close(self) -> None:
        """Closes the file."""
        self._container.close()

    def check_whole(self, ends: Fraction) -> None:
        """Raises VideoError if the last frame ends well before the time that the container states, or is not whole."""
        stated_duration = self._stated_duration()
        if self._container.format.name in _WHOLE_FORMATS:
            sound = (packet.dts * packet.time_base for packet in self._last_packets.values())
            ends = max((self._origin or 0) * self._stream.time_base + ends, *sound)
        # A frame has a byte at least: a length that no file of this size can have is not believed.
        believed = stated_duration * (self._stream.average_rate or 0) <= self._container.size
        if believed and ends < stated_duration * (1 - _CUT_OFF):
            reason = f"it is cut off: it ends at {float(ends):.1f} s of {float(stated_duration):.1f} s"
            raise VideoError(self._path, "decode", reason)
        # A GIF states no length, but each of its pictures says where it ends.
        packet = self._last_packets.get(self._stream.index)
        if self._container.format.name == "gif" and packet is not None and not _is_whole_gif(bytes(packet)):
            raise VideoError(self._path, "decode", f"it is cut off: it ends within the picture at {float(ends):.1f} s")

    def _stated_duration(self) -> Fraction:
        """Seconds that the container says the video lasts, from its first frame on; 0 where it states nothing."""
        stream, tick, origin = self._stream, self._stream.time_base, self._origin or 0
        if self._container.format.name in _WHOLE_FORMATS:
            return Fraction(self._container.duration or 0, av.time_base)
        # FFmpeg makes an AVI as long as its file is; the header counts the frames that it should have.
        length = max(stream.duration or 0, stream.frames if self._container.format.name == "avi" else 0)
        if length:
            return (length - self._late) * tick - self._skipped
        # Matroska and WebM state the time at which a track ends in a tag.
        tag = re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", stream.metadata.get("DURATION", ""))
        if not tag:
            return Fraction(0)
        hours, minutes, seconds = map(Fraction, tag.groups())
        return hours * 3600 + minutes * 60 + seconds - origin * tick


def _is_whole_gif(packet: bytes) -> bool:
    """Whether the first picture in a packet of a GIF ends in it (GIF89a, sections 15 to 23)."""

    def behind_blocks(at: int) -> int:
        while packet[at]:
            at += 1 + packet[at]
        return at + 1

    def table(flags: int) -> int:
        return 3 << (flags & 7) + 1 if flags & 0x80 else 0

    try:
        at = 13 + table(packet[10]) if packet.startswith(b"GIF8") else 0
        while packet[at : at + 1] == b"!":
            at = behind_blocks(at + 2)
        behind_blocks(at + 11 + table(packet[at + 9]))
    except IndexError:
        return False
    return True


def open_container(path: str, limits: dict[str, str] | None = None) -> av.container.InputContainer:
    """Opens a local video, and no file but it: no playlist, whatever it is called, and no protocol.

    Args:
      path: A local file, be it called `pipe:0`.
      limits: Options of FFmpeg.
    """
    options = {"format_whitelist": _FORMATS, **(limits or {})}
    return av.open(os.path.abspath(path), metadata_errors="ignore", options=options)


def shown_stream(container: av.container.InputContainer) -> av.VideoStream | None:
    """The video stream that a player shows: the default one, or the first; never the cover of a song."""
    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    return next((s for s in streams if s.disposition & Disposition.default), streams[0] if streams else None)


@contextlib.contextmanager
def open_video(path: str, *, max_bytes: int, max_pixels: int) -> Iterator[Video]:
    """Opens the video stream that a player shows.

    Args:
      path: A local file; a remote one is copied first, see `components.media.decoder.local_copy`.
      max_bytes: Largest file that is opened.
      max_pixels: Most pixels of a frame; a decoder refuses a larger one before it takes memory for it.

    Raises:
      VideoError: If the file cannot be opened, is too large, or has no video stream.
    """
    with _in_words(path, "open"):
        status = os.stat(path)
    size = status.st_size
    if size == 0 and stat.S_ISREG(status.st_mode):
        raise VideoError(path, "open", "it is empty: zero bytes")
    if size > max_bytes:
        raise VideoError(path, "open", f"it has {size} bytes, more than ingest.max_bytes = {max_bytes}")
    with _in_words(path, "decode"):
        video = Video(path, max_pixels)
    with contextlib.closing(video):
        yield video


def _open_stream(path: str, max_pixels: int) -> tuple[av.container.InputContainer, av.VideoStream]:
    limits = {"max_pixels": str(max_pixels)}
    with contextlib.ExitStack() as stack:
        with _in_words(path, "open"):
            container = stack.enter_context(open_container(path, limits))
        stream = shown_stream(container)
        if stream is None:
            raise VideoError(path, "open", "it has no video stream")
        if stream.codec_context is None:
            raise VideoError(path, "open", "there is no decoder for its video stream")
        width, height = stream.codec_context.width, stream.codec_context.height
        if width * height > max_pixels:
            reason = f"its frames are {width}x{height} pixels, more than ingest.max_pixels = {max_pixels}"
            raise VideoError(path, "open", reason)
        stream.codec_context.options = limits
        stream.codec_context.thread_count = 1
        stack.pop_all()
        return container, stream


def _is_midway(packet: av.Packet, used: av.VideoCodecContext) -> bool:
    """Whether a packet, the first of a file or of an edit, has a picture that refers to another, which is made up."""
    if used.name not in _INVENTIVE_DECODERS:
        return False
    # A packet that an edit hides gives no picture: a copy does.
    decoder = av.CodecContext.create(used.name, "r")
    decoder.thread_count, decoder.options, decoder.extradata = 1, used.options, used.extradata
    decoder.width, decoder.height = used.width, used.height
    pictures = [*decoder.decode(av.Packet(bytes(packet))), *decoder.decode(None)]
    return bool(pictures) and not pictures[0].key_frame


def _decode(first: av.Packet | None, others: Iterator[av.Packet]) -> Iterator[VideoFrame]:
    for packet in itertools.chain([] if first is None else [first], others):
        yield from packet.decode()


@contextlib.contextmanager
def _in_words(path: str, stage: str) -> Iterator[None]:
    # PyAV numbers the streams when it opens a file, and fails so at a packet of one that begins later.
    try:
        yield
    except (av.error.FFmpegError, OSError, IndexError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        if stage == "open" and isinstance(error, av.error.ArgumentError):
            reason = "it is no video, but a picture, sound, text, a list of other files, or a video of a rare format"
        elif isinstance(error, av.error.MemoryError):
            # What it asks for may be any number in a damaged file.
            reason = "it is damaged, or needs more memory than ingest.max_memory_mb"
        elif isinstance(error, _MALFORMED) or getattr(error, "errno", None) in _MALFORMED_CODES:
            reason = _MALFORMED_WORDS[stage]
        raise VideoError(path, stage, f"cannot {stage} it: {reason}") from error
