"""What a probe learns from: the features, or the tokens, of some views of each training clip, computed once."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from models.clips import images, input_pipeline
from models.clips.sampling import ClipConfig, ViewsConfig
from models.network.vivit import ATTENTIVE, HEAD
from models.training.loop import Split, TrainingError
from models.training.standardise import Moments

# Bytes of features or tokens that are kept in memory, at most.
MOST_BYTES = 4 * 2**30
_SECONDS_BETWEEN_LINES = 10
_logger = logging.getLogger("vivit.train")
# Of a batch: what came out of a network, labels by head, groups.
Passed = tuple[np.ndarray, dict[str, np.ndarray], list[str]]


class Features(NamedTuple):
    """The features before the head.

    Attributes:
      values: float32 [N, V, D], by clip and view.
      labels: int32 [N] by head.
      groups: N names of source videos.
    """

    values: np.ndarray
    labels: dict[str, np.ndarray]
    groups: list[str]

    def part(self, chosen: np.ndarray) -> Features:
        """The clips where `chosen`, bool [N], is true."""
        labels = {head: of_head[chosen] for head, of_head in self.labels.items()}
        return Features(self.values[chosen], labels, list(itertools.compress(self.groups, chosen)))

    def moments(self) -> Moments:
        """Over all clips and views."""
        return Moments.of(self.values)


class Tokens(NamedTuple):
    """The tokens before an `AttentivePool`.

    Attributes:
      values: float16 [C, V, T * N, D] of all clips, by clip and view; parts share it.
      rows: int [N], which of the clips are these.
      labels: int32 [N] by head.
      groups: N names of source videos.
    """

    values: np.ndarray
    rows: np.ndarray
    labels: dict[str, np.ndarray]
    groups: list[str]

    def part(self, chosen: np.ndarray) -> Tokens:
        """The clips where `chosen`, bool [N], is true."""
        labels = {head: of_head[chosen] for head, of_head in self.labels.items()}
        return Tokens(self.values, self.rows[chosen], labels, list(itertools.compress(self.groups, chosen)))


def features_of(model: keras.Model, clips: Split, clip: ClipConfig, views: int, batch_size: int) -> Features:
    """The features before the head of some views of each clip, evenly spread in time, centre crop.

    Raises:
      TrainingError: If they take more memory than `MOST_BYTES`, which is known before any is computed, or one is not
        finite; names the clip.
    """
    before_head = keras.Model(model.input, model.get_layer(HEAD).input)
    values = _room("features", (clips.count, views, *before_head.output_shape[1:]), np.float32)
    return Features(values, *_fill(values, _passed(before_head, clips, clip, views, batch_size), clips.classes))


def tokens_of(model: keras.Model, clips: Split, clip: ClipConfig, views: int, batch_size: int) -> Tokens:
    """The tokens before the pool of a network of classifier "attentive", of the same views.

    Raises:
      TrainingError: If they take more memory than `MOST_BYTES`, which is known before any is computed, or one is not
        finite in float16; names the clip.
    """
    before_pool = keras.Model(model.input, model.get_layer(ATTENTIVE).input)
    values = _room("tokens", (clips.count, views, *before_pool.output_shape[1:]), np.float16)
    passed = _passed(before_pool, clips, clip, views, batch_size, dtype=tf.float16)
    labels, groups = _fill(values, passed, clips.classes)
    return Tokens(values, np.arange(len(values)), labels, groups)


def _room(what: str, shape: tuple[int, ...], dtype: type[np.floating]) -> np.ndarray:
    """An array of shape (clips, views, ...), to be filled; raises TrainingError if it is larger than `MOST_BYTES`."""
    needed = np.dtype(dtype).itemsize * np.prod(shape, dtype=np.int64)
    if needed > MOST_BYTES:
        raise TrainingError(
            f"train.probe: the {what} of {shape[0]} clips, {shape[1]} views each, take {needed / 2**30:.1f} GiB, and "
            f"at most {MOST_BYTES / 2**30:g} GiB are kept: lower train.probe.clips, train.probe.views, clip.crop_size "
            "or clip.num_frames, or take another model.classifier, whose features are smaller, e.g. token_and_mean"
        )
    return np.empty(shape, dtype)


def _fill(
    values: np.ndarray, passed: Iterable[Passed], heads: Iterable[str]
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Fills an array with what was passed; returns labels int32 [N] by head, and N groups."""
    filled, labels, groups = 0, {head: [] for head in heads}, []
    for part, of_heads, of_groups in passed:
        values[filled : filled + len(part)] = part
        filled += len(part)
        groups += of_groups
        for head, of_head in labels.items():
            of_head.append(of_heads[head])
    return {head: np.concatenate(of_head) for head, of_head in labels.items()}, groups


def _passed(
    network: keras.Model, clips: Split, clip: ClipConfig, views: int, batch_size: int, dtype: tf.DType = tf.float32
) -> Iterator[Passed]:
    """What comes out of a network, [B, V, ...], with labels int32 [B] by head and groups, batch by batch."""

    @tf.function(reduce_retracing=True, autograph=False)
    def compute(pixels):
        return tf.cast(network(images.normalise(pixels), training=False), dtype)

    at_a_time = max(1, batch_size // views)
    dataset = input_pipeline.eval_dataset(clips.source, clip=clip, batch_size=at_a_time, views=ViewsConfig(views, 1))
    done, started = 0, time.monotonic()
    logged = started
    for batch in dataset:
        values = compute(tf.reshape(batch["clip"], [-1, *clip.shape, 3])).numpy()
        values = values.reshape(-1, views, *values.shape[1:])
        wrong = np.flatnonzero(~np.isfinite(values).reshape(len(values), -1).all(axis=1))
        if wrong.size:
            clip_id = batch["id"].numpy()[wrong[0]].decode()
            raise TrainingError(
                f"the features of clip {clip_id!r} are not finite: are model.init_from's weights whole?"
            )
        labels = {head: batch["labels"][head].numpy() for head in clips.classes}
        yield values, labels, [group.decode() for group in batch["group"].numpy()]
        done += len(values)
        if time.monotonic() - logged > _SECONDS_BETWEEN_LINES:
            logged = time.monotonic()
            left = (clips.count - done) * (logged - started) / done
            _logger.info("probe: features of %d of %d clips, %.0f s left", done, clips.count, left)
    _logger.info("probe: features of %d clips, %d views each, in %.0f s", done, views, time.monotonic() - started)
