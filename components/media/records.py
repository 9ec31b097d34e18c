"""Clips that are stored as frames already: records of DMVR and MediaSequence, taken as they are.

Contract: the JPEG bytes of a record are what is stored, neither decoded nor encoded again; whatever is wrong with a
record becomes a `VideoError`.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence

import tensorflow as tf
from google.protobuf.message import DecodeError
from PIL import Image

from components.media.config import DecodeConfig
from components.media.video import StoredClip, VideoError, with_min_frames
from components.storage.record_files import RecordError, read_record
from schemas import sequence_examples as dmvr

_MICROSECONDS = 1e6
# A JPEG's last marker, and how far from the end it is looked for: some writers fill up what follows.
_END_OF_IMAGE, _TAIL = b"\xff\xd9", 64


def store_record(path: str, config: DecodeConfig, *, start: float = 0.0, end: float | None = None) -> StoredClip:
    """The clip of a record, as `components.media.video.store_clip` gives that of a video.

    Args:
      path: ``<file>#<byte offset>``.
      config: `fps` is the rate of the frames, which a record does not state; size and quality do not change. The
        limits of frames and pixels hold.
      start: 0: a record is a whole clip.
      end: None: a record is a whole clip.

    Raises:
      VideoError: If there is no whole record, it is no SequenceExample, or its frames are no JPEG or differ in size;
        if it is over a limit, or short and `config.short_clips` is "drop"; or if a segment of it is requested.
    """
    if start or end is not None:
        raise VideoError(path, "segment", "a record is a whole clip: leave its start and end empty")
    try:
        record = tf.train.SequenceExample.FromString(read_record(path))
    except RecordError as error:
        raise VideoError(path, "open", str(error)) from error
    except DecodeError as error:
        raise VideoError(path, "open", "the record is no tf.train.SequenceExample") from error
    features = record.feature_lists.feature_list[dmvr.FRAMES].feature
    frames = tuple(value for feature in features for value in feature.bytes_list.value)
    if not frames or len(frames) != len(features):
        counts = f"{len(frames)} frames in {len(features)} features"
        raise VideoError(path, "open", f"its feature list {dmvr.FRAMES} has {counts}; wanted one frame in each")
    if len(frames) > config.max_frames:
        raise VideoError(path, "open", f"it has {len(frames)} frames; ingest.max_frames allows {config.max_frames}")
    width, height = _size(path, 0, frames[0])
    if width * height > config.max_pixels:
        raise VideoError(path, "open", f"its frames are {width}x{height}; ingest.max_pixels allows {config.max_pixels}")
    for index, frame in enumerate(frames):
        other = _size(path, index, frame)
        if other != (width, height):
            shapes = f"{width}x{height} to {other[0]}x{other[1]}"
            raise VideoError(path, "decode", f"its picture changes its shape at frame {index}, from {shapes}")
    begins = sum(record.context.feature[dmvr.START].int64_list.value[:1])
    stored, short = with_min_frames(path, frames, config), len(frames) < config.min_frames
    return StoredClip(stored, (height, width), config.fps, begins / _MICROSECONDS, short)


def store_records(
    path: str, segments: Sequence[tuple[float, float | None]], config: DecodeConfig
) -> Iterator[tuple[int, StoredClip | VideoError]]:
    """As `video.store_segments`: the place of each segment, and what `store_record` gives or raises."""
    for place, (start, end) in enumerate(segments):
        try:
            yield place, store_record(path, config, start=start, end=end)
        except VideoError as error:
            yield place, error


def _size(path: str, index: int, frame: bytes) -> tuple[int, int]:
    """(width, height) as the header of a JPEG states it. One that is cut off, which no reader behind takes, is none."""
    try:
        with Image.open(io.BytesIO(frame), formats=["JPEG"]) as image:
            if frame.rfind(_END_OF_IMAGE, -_TAIL) < 0:
                image.load()
            return image.size
    except (OSError, Image.DecompressionBombError) as error:
        raise VideoError(path, "decode", f"frame {index} is no JPEG that can be read: {error}") from error
