"""The raw example of a clip, and what of it does not depend on labels."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import tensorflow as tf

from components.manifest.reader import Clip
from components.media.video import StoredClip
from schemas import features


class Record(NamedTuple):
    """A serialised raw example, and whether its clip is short."""

    data: bytes
    short: bool


@dataclasses.dataclass(frozen=True)
class DecodedClip:
    """What is decoded of a clip: a `StoredClip` as an example has it, where floats have 32 bits."""

    frames: tuple[bytes, ...]
    size: tuple[int, int]
    fps: float
    start: float
    duration: float
    short: bool


def clip_record(clip: Clip, decoded: DecodedClip | StoredClip) -> Record:
    """The record of a decoded clip; the same clip gives the same bytes."""
    example = features.raw_example(
        clip_id=clip.id,
        group=clip.group,
        frames=decoded.frames,
        size=decoded.size,
        fps=decoded.fps,
        start=decoded.start,
        duration=decoded.duration,
        labels={head: [name] for head, name in clip.labels.items()},
        slices=clip.slices,
    )
    return Record(example.SerializeToString(deterministic=True), decoded.short)


def decoded_clip(record: Record) -> DecodedClip:
    """What is decoded of the clip of a record.

    Raises:
      DecodeError: If it is no example.
    """
    feature = tf.train.Example.FromString(record.data).features.feature
    fps, start, duration = (
        feature[key].float_list.value[0] for key in (features.CLIP_FPS, features.CLIP_START, features.CLIP_DURATION)
    )
    height, width = (feature[key].int64_list.value[0] for key in (features.CLIP_HEIGHT, features.CLIP_WIDTH))
    frames = tuple(feature[features.CLIP_FRAMES].bytes_list.value)
    return DecodedClip(frames, (height, width), fps, start, duration, record.short)
