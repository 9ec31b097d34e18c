"""Gathers what a review page shows: the pictures of its clips, where the model looked, near duplicates, curves."""

from __future__ import annotations

import collections
import os
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf

from components.evaluation.duplicates.hashes import near_duplicates
from components.media.filmstrip import draw_attention, draw_filmstrip
from components.review.facts import Curve
from schemas import features, serving

# A page is read by a person, and a rollout costs about as much as a training step.
_MOST_ATTENTION = 40
_MOST_POINTS = 200


def examples_of(paths: Sequence[str], ids: Sequence[str]) -> dict[str, bytes]:
    """Serialised raw examples of some clips, by id.

    Args:
      paths: TFRecords of raw examples.
      ids: The clips; one that is not there is left out.
    """
    wanted, found = set(ids), {}
    for path in paths:
        for record in tf.data.TFRecordDataset(path, compression_type=features.COMPRESSION).as_numpy_iterator():
            clip_id = (
                tf.train.Example.FromString(record).features.feature[features.CLIP_ID].bytes_list.value[0].decode()
            )
            if clip_id in wanted:
                found[clip_id] = record
        if len(found) == len(wanted):
            break
    return found


def filmstrips_of(examples: Mapping[str, bytes]) -> dict[str, bytes]:
    """A filmstrip of each clip; none of one whose frames cannot be read."""
    strips = {clip_id: draw_filmstrip(_frames(example)) for clip_id, example in examples.items()}
    return {clip_id: strip for clip_id, strip in strips.items() if strip}


def attention_of(model_dir: str, examples: Mapping[str, bytes]) -> dict[str, bytes]:
    """Filmstrips of the centre view with what the model looked at; empty for a model without that signature."""
    if not examples:
        return {}
    signatures = tf.saved_model.load(model_dir).signatures
    if serving.ATTENTION_SIGNATURE not in signatures:
        return {}
    views, attention = signatures[serving.VIEWS_SIGNATURE], signatures[serving.ATTENTION_SIGNATURE]
    strips = {}
    for clip_id, example in list(examples.items())[:_MOST_ATTENTION]:
        clip = views(**{serving.EXAMPLES_INPUT: tf.constant([example])})[serving.CLIPS][:, -1]
        (weights,) = attention(**{serving.CLIPS: clip}).values()
        frames = [tf.io.encode_jpeg(frame).numpy() for frame in clip[0]]
        strips[clip_id] = draw_attention(frames, weights[0].numpy())
    return strips


def duplicates_of(
    evaluated: tuple[Sequence[str], np.ndarray], trained: tuple[Sequence[str], np.ndarray]
) -> dict[str, str]:
    """Evaluated clip -> the trained clip that it nearly equals, by id; each argument has ids and hashes."""
    matches = near_duplicates(evaluated[1], trained[1])
    return {evaluated[0][row]: trained[0][int(match)] for row, match in enumerate(matches) if match >= 0}


def curves_of(log_dir: str) -> tuple[Curve, ...]:
    """The scalars of a folder of TensorBoard logs, by name; thinned out for a plot."""
    found: dict[str, dict[int, float]] = collections.defaultdict(dict)
    for path in sorted(_event_files(log_dir)):
        for event in tf.compat.v1.train.summary_iterator(path):
            for value in event.summary.value:
                if value.HasField("tensor") and value.tensor.dtype == tf.float32.as_datatype_enum:
                    array = tf.make_ndarray(value.tensor)
                    if array.ndim == 0:
                        found[value.tag][event.step] = float(array)
    return tuple(Curve(name, *_thinned(points)) for name, points in sorted(found.items()) if len(points) > 1)


def _event_files(log_dir: str) -> Iterator[str]:
    for folder, _, names in tf.io.gfile.walk(log_dir):
        yield from (os.path.join(folder, name) for name in names if "tfevents" in name)


def _thinned(points: Mapping[int, float]) -> tuple[tuple[int, ...], tuple[float, ...]]:
    steps = sorted(points)
    kept = [steps[int(at)] for at in np.unique(np.linspace(0, len(steps) - 1, _MOST_POINTS).round())]
    return tuple(kept), tuple(points[step] for step in kept)


def _frames(example: bytes) -> Sequence[bytes]:
    return tf.train.Example.FromString(example).features.feature[features.CLIP_FRAMES].bytes_list.value
