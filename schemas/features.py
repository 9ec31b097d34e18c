"""The data contract: the only place where a feature key is spelt.

A raw example is one clip, as written by VideoExampleGen: a ``tf.train.Example`` whose frames are JPEG bytes in time
order. Training reads it as it is, or, with storage "raw", a copy whose frames are decoded; Transform turns class names
into ids, which stand in the index of the clips.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, get_args

import tensorflow as tf

# Raw examples, and those of storage "raw".
CLIP_ID = "clip/id"
CLIP_FRAMES = "clip/frames"
CLIP_GROUP = "clip/group"
# Raw examples only.
CLIP_FPS = "clip/fps"
CLIP_START = "clip/start"
CLIP_DURATION = "clip/duration"
CLIP_NUM_FRAMES = "clip/num_frames"
CLIP_HEIGHT = "clip/height"
CLIP_WIDTH = "clip/width"

LABEL_PREFIX = "label/"
SLICE_PREFIX = "slice/"

# The head of a data set with one plain `label` column.
DEFAULT_HEAD = "label"

# How files of raw examples are compressed; TFX writes them so.
COMPRESSION = "GZIP"

Storage = Literal["jpeg", "raw"]
STORAGES: tuple[Storage, ...] = get_args(Storage)


def label_key(head: str) -> str:
    """Key of the class names of one head in a raw example, e.g. ``label/verb``."""
    return LABEL_PREFIX + head


def label_id_key(head: str) -> str:
    """Key of the class id of one head in what Transform gives, and of the label that TFMA reads."""
    return f"label_id/{head}"


def slice_key(name: str) -> str:
    """Key of a manifest column that is only used to slice metrics, e.g. ``slice/camera``."""
    return SLICE_PREFIX + name


def classes_asset(head: str) -> str:
    """Name of the file, among Transform's assets, that lists the class names of a head in the order of their ids."""
    return f"classes_{head}"


def raw_example(
    *,
    clip_id: str,
    group: str,
    frames: Sequence[bytes],
    size: tuple[int, int],
    fps: float,
    start: float,
    duration: float,
    labels: Mapping[str, Iterable[str]],
    slices: Mapping[str, str],
) -> tf.train.Example:
    """Builds the raw example of one clip.

    Args:
      clip_id: Unique and stable name of the clip.
      group: Name of the source video; clips of one group never straddle two splits.
      frames: JPEG bytes of the T frames, in time order.
      size: (height, width) of the stored frames, in pixels.
      fps: Stored frames per second.
      start: Start of the clip in its video, in seconds.
      duration: Length of the clip, in seconds.
      labels: Class names by head.
      slices: Values of further manifest columns by column name.
    """
    height, width = size
    texts = {CLIP_ID: [clip_id], CLIP_GROUP: [group]}
    texts |= {label_key(head): names for head, names in labels.items()}
    texts |= {slice_key(name): [value] for name, value in slices.items()}
    # Filled in place: to assign one message to another copies it, and the frames are megabytes.
    example = tf.train.Example()
    feature = example.features.feature
    feature[CLIP_FRAMES].bytes_list.value.extend(frames)
    for key, values in texts.items():
        feature[key].bytes_list.value.extend(value.encode() for value in values)
    for key, value in {CLIP_FPS: fps, CLIP_START: start, CLIP_DURATION: duration}.items():
        feature[key].float_list.value.append(value)
    for key, value in {CLIP_NUM_FRAMES: len(frames), CLIP_HEIGHT: height, CLIP_WIDTH: width}.items():
        feature[key].int64_list.value.append(value)
    return example


def describing_keys(heads: Iterable[str], slices: Iterable[str]) -> list[str]:
    """Keys of a raw example without its frames: what statistics are computed of."""
    clip = [CLIP_ID, CLIP_GROUP, CLIP_FPS, CLIP_START, CLIP_DURATION, CLIP_NUM_FRAMES, CLIP_HEIGHT, CLIP_WIDTH]
    return [*clip, *map(label_key, heads), *map(slice_key, slices)]


def frames_spec() -> dict[str, tf.io.VarLenFeature]:
    """Parsing spec of what the model reads of a raw example: its frames."""
    return {CLIP_FRAMES: tf.io.VarLenFeature(tf.string)}


def label_spec(heads: Iterable[str]) -> dict[str, tf.io.FixedLenFeature]:
    """Parsing spec of the class names of a raw example, one per head."""
    return {label_key(head): tf.io.FixedLenFeature([], tf.string) for head in heads}


def stored_spec(storage: Storage) -> dict:
    """Parsing spec of what training reads of a clip, by the form in which its frames are stored.

    ``clip/frames`` is a sparse list of JPEG bytes with storage "jpeg", as the ingest wrote it, and one serialised uint8
    tensor [T, H, W, 3] with storage "raw". The class ids are in the index, see `schemas.clip_index`.
    """
    frames = tf.io.VarLenFeature(tf.string) if storage == "jpeg" else tf.io.FixedLenFeature([], tf.string)
    return {
        CLIP_ID: tf.io.FixedLenFeature([], tf.string),
        CLIP_GROUP: tf.io.FixedLenFeature([], tf.string),
        CLIP_FRAMES: frames,
    }


def raw_storage_example(clip_id: str, group: str, frames: bytes) -> tf.train.Example:
    """Builds the example of one clip with storage "raw"; `frames` is the serialised uint8 tensor [T, H, W, 3]."""
    example = tf.train.Example()
    for key, value in ((CLIP_ID, clip_id.encode()), (CLIP_GROUP, group.encode()), (CLIP_FRAMES, frames)):
        example.features.feature[key].bytes_list.value.append(value)
    return example
