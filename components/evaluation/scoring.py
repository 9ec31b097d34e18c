"""Runs SavedModels over the shards of a split, each clip once: all views and the centre view, batched over clips.

Decoding is the model's own signature `views`, on the CPU and ahead of its network, which runs where TensorFlow finds an
accelerator. The scores of a shard are kept under the content of model and shard: a run that was killed goes on with the
next shard, and the model in production is not run again on the clips that it was scored on as a candidate.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
import logging
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from components.storage import files, folders
from schemas import features, serving
from schemas.predictions import CANDIDATE, Clips, Predictions, Role, ScoredModel, Scores, read_table

_logger = logging.getLogger("vivit.score")
_SECONDS_BETWEEN_LINES = 10
_CLIPS_AHEAD = 2
# Pixels of the views in a network at a time: those of 8 views of 32 x 224 x 224, which ViViT-B/16x2 attends to in about
# 8 GB; and the most views, from which on a small network gets no faster.
_PIXELS, _MOST_VIEWS = 8 * 32 * 224 * 224, 64
T = TypeVar("T")


class NotScorableError(ValueError):
    """A SavedModel lacks its card or a signature that scoring needs."""


def scored_model(uri: str, digest: str, version: str = "") -> ScoredModel:
    """What is known of a SavedModel before it is loaded.

    Raises:
      NotScorableError: If it has no card, or not the signatures.
    """
    try:
        card = serving.ModelCard.read(uri)
        with tf.io.gfile.GFile(os.path.join(uri, "saved_model.pb"), "rb") as file:
            signatures = saved_model_pb2.SavedModel.FromString(file.read()).meta_graphs[0].signature_def
    except (FileNotFoundError, tf.errors.NotFoundError) as error:
        raise NotScorableError(str(error)) from error
    missing = [name for name in (serving.VIEWS_SIGNATURE, serving.NETWORK_SIGNATURE) if name not in signatures]
    if missing:
        raise NotScorableError(f"{uri} has no signature {', '.join(missing)}: an older release exported it")
    return ScoredModel(uri=uri, digest=digest, version=version, classes=card.classes, views=card.views)


def score_split(
    models: Mapping[Role, ScoredModel],
    shards: Sequence[str],
    *,
    split: str,
    paths: Mapping[str, str],
    kept: str,
    output: str,
    batch_views: int | None,
    load: Callable[[str], Mapping[str, Any]] = lambda uri: tf.saved_model.load(uri).signatures,
) -> None:
    """Writes the table of predictions, one Parquet file per shard.

    Args:
      models: The models, by role; those with a `problem` are not run.
      shards: TFRecords of raw examples.
      split: Their split.
      paths: The path of each clip's video, by clip id.
      kept: Folder (any URI) of the scores that outlive this call; those of other models are removed.
      output: Folder of the table.
      batch_views: Views that are in a network at a time, of any clips; None: as many as fit, see `fitting_views`.
      load: Gives the signatures `views` and `network` of a model.
    """
    digests = {shard: files.sha256(shard) for shard in shards}
    runs = {role: model for role, model in models.items() if not model.problem}
    for role, model in runs.items():
        wanted = {shard: _kept_file(kept, model, digest) for shard, digest in digests.items()}
        missing = {shard: file for shard, file in wanted.items() if not tf.io.gfile.exists(file)}
        if missing:
            _score_shards(role, model, missing, split, batch_views, load(model.uri))
    for shard, digest in digests.items():
        scored = {role: _kept_file(kept, model, digest) for role, model in runs.items()}
        if not all(map(tf.io.gfile.exists, scored.values())):
            continue  # A shard without clips.
        by_role = {role: Predictions.from_table(read_table(file)) for role, file in scored.items()}
        clips = next(iter(by_role.values())).clips
        clips = dataclasses.replace(clips, paths=[paths.get(clip_id, "") for clip_id in clips.ids])
        scores = {role: found.scores[CANDIDATE] for role, found in by_role.items()}
        Predictions(clips, models, scores).write(os.path.join(output, f"{os.path.basename(shard)}.parquet"))
    _remove_others(kept, models)


def score_once(models: Mapping[Role, ScoredModel], shards: Sequence[str], **settings: Any) -> Predictions:
    """The table of predictions that `score_split` writes, of which nothing is kept.

    Args:
      models, shards: As in `score_split`.
      **settings: Its other arguments, but for the folders.
    """
    with tempfile.TemporaryDirectory() as table:
        score_split(models, shards, kept=os.path.join(table, "kept"), output=table, **settings)
        return Predictions.read(table)


def _score_shards(
    role: Role,
    model: ScoredModel,
    wanted: Mapping[str, str],
    split: str,
    batch_views: int | None,
    signatures: Mapping[str, Any],
) -> None:
    """Scores each shard and keeps its scores in the file that is named beside it."""
    progress = _Progress(role)
    clips = progress.counted(_scored_clips(list(wanted), signatures, model, batch_views))
    for shard, found in itertools.groupby(clips, key=lambda clip: clip.shard):
        _keep(list(found), model, split, wanted[shard])
    progress.end()


def _keep(found: Sequence[_ScoredClip], model: ScoredModel, split: str, path: str) -> None:
    clips = _clips([clip.described for clip in found], split)
    scores = {}
    for head, names in model.classes.items():
        logits = np.stack([clip.logits[head] for clip in found])
        labels = clips.labels.get(head, [""] * len(clips))
        scores[head] = Scores.of(logits[:, :-1].mean(axis=1), logits[:, -1], names, labels)
    Predictions(clips, {CANDIDATE: model}, {CANDIDATE: scores}).write(path)


class _ScoredClip(NamedTuple):
    """A clip of a shard: what describes it, and its logits, float32 [V + 1, K] by head, the centre view last."""

    shard: str
    described: dict[str, bytes | float]
    logits: dict[str, np.ndarray]


def _scored_clips(
    shards: Sequence[str], signatures: Mapping[str, Any], model: ScoredModel, batch_views: int | None
) -> Iterator[_ScoredClip]:
    """Clips in the order of the shards, all through one input pipeline."""
    views, network = signatures[serving.VIEWS_SIGNATURE], signatures[serving.NETWORK_SIGNATURE]
    shape = views.structured_outputs[serving.CLIPS].shape.as_list()
    count, spec = shape[1], _describing_spec(_records(shards))

    def decoded(number, serialised):
        clips = views(**{serving.EXAMPLES_INPUT: serialised[tf.newaxis]})[serving.CLIPS][0]
        return number, tf.io.parse_single_example(serialised, spec), tf.ensure_shape(clips, shape[1:])

    numbered = tf.data.Dataset.from_tensor_slices(list(shards)).enumerate()
    records = numbered.flat_map(lambda number, shard: _records(shard).map(lambda serialised: (number, serialised)))
    # Where TensorFlow tunes the calls in parallel, an iterator that ends waits for the next tuning, for seconds.
    options = tf.data.Options()
    options.autotune.enabled = False
    clips = records.map(decoded, tf.data.AUTOTUNE).prefetch(_CLIPS_AHEAD).with_options(options)
    waiting: collections.deque[tuple[str, dict[str, bytes | float]]] = collections.deque()

    def views_of_clips():
        for number, described, views in clips:
            waiting.append((shards[int(number)], {key: value.numpy() for key, value in described.items()}))
            yield views

    logits = {head: np.empty([0, len(names)], np.float32) for head, names in model.classes.items()}
    for batch in _batches(views_of_clips(), batch_views or fitting_views(shape)):
        found = network(**{serving.CLIPS: batch})
        logits = {head: np.concatenate([rows, found[serving.logits_key(head)]]) for head, rows in logits.items()}
        while all(len(rows) >= count for rows in logits.values()):
            yield _ScoredClip(*waiting.popleft(), {head: rows[:count] for head, rows in logits.items()})
            logits = {head: rows[count:] for head, rows in logits.items()}


def _batches(clips: Iterable[tf.Tensor], size: int) -> Iterator[tf.Tensor]:
    """Views of clips, each [V, T, H, W, 3], in batches of `size` that clips share: only the last is smaller."""
    parts, room = [], size
    for views in clips:
        while len(views):
            parts.append(views[:room])
            views, room = views[room:], room - len(parts[-1])
            if not room:
                yield _joined(parts)
                parts, room = [], size
    if parts:
        yield _joined(parts)


def _joined(parts: Sequence[tf.Tensor]) -> tf.Tensor:
    with tf.device("CPU:0"):
        return tf.concat(parts, axis=0)


def fitting_views(shape: Sequence[int]) -> int:
    """Views [..., T, H, W, 3] that a network takes at a time: few of large ones, which need the memory."""
    return max(1, min(_MOST_VIEWS, _PIXELS // math.prod(shape[-4:-1])))


def _records(shards: str | tf.Tensor | Sequence[str]) -> tf.data.TFRecordDataset:
    return tf.data.TFRecordDataset(shards, compression_type=features.COMPRESSION)


def _describing_spec(records: tf.data.Dataset) -> dict[str, tf.io.FixedLenFeature]:
    """What is read of a raw example beside its frames: the labels and slices that the first one has."""
    texts, numbers = [features.CLIP_ID, features.CLIP_GROUP], [features.CLIP_START, features.CLIP_DURATION]
    for serialised in records.take(1).as_numpy_iterator():
        keys = sorted(tf.train.Example.FromString(serialised).features.feature)
        texts += [key for key in keys if key.startswith((features.LABEL_PREFIX, features.SLICE_PREFIX))]
    return {
        **{key: tf.io.FixedLenFeature([], tf.string, "") for key in texts},
        **{key: tf.io.FixedLenFeature([], tf.float32) for key in numbers},
    }


def _clips(described: Sequence[Mapping[str, bytes | float]], split: str) -> Clips:
    def texts(prefix: str) -> dict[str, list[str]]:
        keys = [key for key in described[0] if key.startswith(prefix)]
        return {key.removeprefix(prefix): [clip[key].decode() for clip in described] for key in keys}

    return Clips(
        ids=[clip[features.CLIP_ID].decode() for clip in described],
        groups=[clip[features.CLIP_GROUP].decode() for clip in described],
        paths=[""] * len(described),
        starts=np.array([clip[features.CLIP_START] for clip in described], np.float64),
        durations=np.array([clip[features.CLIP_DURATION] for clip in described], np.float64),
        split=split,
        labels=texts(features.LABEL_PREFIX),
        slices=texts(features.SLICE_PREFIX),
    )


def _kept_file(kept: str, model: ScoredModel, shard_digest: str) -> str:
    return os.path.join(kept, model.digest, f"{shard_digest}.parquet")


def _remove_others(kept: str, models: Mapping[Role, ScoredModel]) -> None:
    """Removes the scores of models that are neither candidate nor production any more."""
    wanted = {model.digest for model in models.values()}
    for name in folders.names(kept):
        if name.rstrip("/") not in wanted:
            folders.remove(os.path.join(kept, name))


class _Progress:
    """Logs how many clips were scored, now and then and at the end."""

    def __init__(self, role: Role):
        self._role, self._clips, self._started = role, 0, time.monotonic()
        self._logged = self._started

    def counted(self, items: Iterable[T]) -> Iterator[T]:
        for item in items:
            yield item
            self._clips += 1
            if time.monotonic() - self._logged > _SECONDS_BETWEEN_LINES:
                self._logged = time.monotonic()
                self._log()

    def end(self) -> None:
        self._log()

    def _log(self) -> None:
        seconds = time.monotonic() - self._started
        _logger.info("%s: %d clips scored, %.1f a second", self._role, self._clips, self._clips / max(seconds, 1e-6))
