"""Runs SavedModels over the shards of a split, each clip once: all views and the centre view, batched over clips.

Decoding is the model's own signature `views`, on the CPU and ahead of its network, which runs where TensorFlow finds an
accelerator. The scores of a shard are kept under the content of model and shard: a run that was killed goes on with the
next shard, and the model in production is not run again on the clips that it was scored on as a candidate.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from components.storage import files
from schemas import features, serving
from schemas.predictions import CANDIDATE, Clips, Predictions, Role, ScoredModel, Scores, read_table

_logger = logging.getLogger("vivit.score")
_SECONDS_BETWEEN_LINES = 10
_BATCHES_AHEAD = 2
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
    batch_views: int,
) -> None:
    """Writes the table of predictions, one Parquet file per shard.

    Args:
      models: The models, by role; those with a `problem` are not run.
      shards: TFRecords of raw examples.
      split: Their split.
      paths: The path of each clip's video, by clip id.
      kept: Folder (any URI) of the scores that outlive this call; those of other models are removed.
      output: Folder of the table.
      batch_views: Views that are in a network at a time, of any clips.
    """
    digests = {shard: files.sha256(shard) for shard in shards}
    runs = {role: model for role, model in models.items() if not model.problem}
    for role, model in runs.items():
        wanted = {shard: _kept_file(kept, model, digest) for shard, digest in digests.items()}
        missing = {shard: file for shard, file in wanted.items() if not tf.io.gfile.exists(file)}
        if missing:
            _score_shards(role, model, missing, split, batch_views)
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


def _score_shards(role: Role, model: ScoredModel, files: Mapping[str, str], split: str, batch_views: int) -> None:
    """Scores each shard and keeps its scores in the file that is named beside it."""
    served = tf.saved_model.load(model.uri)
    progress = _Progress(role)
    for shard, file in files.items():
        found = list(progress.counted(_scored_clips(shard, served, model, batch_views)))
        if found:
            clips = _clips([clip for clip, _ in found], split)
            scores = {}
            for head, names in model.classes.items():
                logits = np.stack([by_head[head] for _, by_head in found])
                labels = clips.labels.get(head, [""] * len(clips))
                scores[head] = Scores.of(logits[:, :-1].mean(axis=1), logits[:, -1], names, labels)
            Predictions(clips, {CANDIDATE: model}, {CANDIDATE: scores}).write(file)
    progress.end()


def _scored_clips(
    shard: str, served, model: ScoredModel, batch_views: int
) -> Iterator[tuple[dict[str, str | float], dict[str, np.ndarray]]]:
    """What describes each clip, and its logits, float32 [V + 1, K] by head, the centre view last."""
    records = tf.data.TFRecordDataset(shard, compression_type=features.COMPRESSION)
    spec = _describing_spec(records)
    views, network = served.signatures[serving.VIEWS_SIGNATURE], served.signatures[serving.NETWORK_SIGNATURE]
    count = model.views[0] * model.views[1] + 1

    def decoded(serialised):
        described = tf.io.parse_single_example(serialised, spec)
        clips = views(**{serving.EXAMPLES_INPUT: serialised[tf.newaxis]})[serving.CLIPS][0]
        repeated = {key: tf.repeat(value, count) for key, value in described.items()}
        return repeated, tf.ensure_shape(clips, [count, *clips.shape[1:]])

    # Views of several clips share a batch, so that none is smaller than it must be.
    batches = records.map(decoded, num_parallel_calls=tf.data.AUTOTUNE).unbatch().batch(batch_views)
    rows: list[tuple[dict, dict]] = []
    for described, clips in batches.prefetch(_BATCHES_AHEAD):
        logits = network(**{serving.CLIPS: clips})
        columns = {key: value.numpy() for key, value in described.items()}
        by_head = {head: logits[serving.logits_key(head)].numpy() for head in model.classes}
        for row in range(len(clips)):
            rows.append(({k: v[row] for k, v in columns.items()}, {head: v[row] for head, v in by_head.items()}))
        while len(rows) >= count:
            of_clip, rows = rows[:count], rows[count:]
            yield of_clip[0][0], {head: np.stack([values[head] for _, values in of_clip]) for head in model.classes}


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
    if not tf.io.gfile.isdir(kept):
        return
    for name in tf.io.gfile.listdir(kept):
        if name.rstrip("/") not in wanted:
            tf.io.gfile.rmtree(os.path.join(kept, name))


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
