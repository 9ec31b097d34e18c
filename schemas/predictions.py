"""The contract of a table of predictions: one row per evaluated clip, Parquet, one file per shard of the examples.

The Scorer writes it; TFMA, the gate and the review page read it. Models are compared on it by class name, so each row
has its true class as a name, and each model its own list of classes.
"""

from __future__ import annotations

import dataclasses
import io
import json
import os
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf
from scipy import special

# Whose predictions: the trained model's, and those of the model in production, where there is one.
Role = Literal["candidate", "production"]
CANDIDATE: Role = "candidate"
PRODUCTION: Role = "production"

# Rank of a true class that the model does not know.
UNKNOWN = 0

_MODELS = b"vivit.models"


@dataclasses.dataclass(frozen=True)
class ScoredModel:
    """A model that was run over the split, or should have been.

    Attributes:
      uri: Its SavedModel.
      digest: Hash of its content.
      version: Its version in production; empty for a candidate.
      classes: Class names by head, in the order of the probabilities.
      views: Temporal and spatial views that are averaged, e.g. (4, 3).
      problem: Why it could not be run; there are no scores then.
    """

    uri: str
    digest: str
    version: str
    classes: dict[str, list[str]]
    views: tuple[int, int]
    problem: str = ""


@dataclasses.dataclass(frozen=True)
class Clips:
    """What is known of N clips without any model.

    Attributes:
      ids, groups, paths: Name of each clip, of its source, and the path of its video.
      starts, durations: Seconds: where its segment starts in the video, and how long it is; float64 [N].
      split: The split that was evaluated.
      labels: True class of each clip by head.
      slices: Values of further manifest columns by name.
    """

    ids: Sequence[str]
    groups: Sequence[str]
    paths: Sequence[str]
    starts: np.ndarray
    durations: np.ndarray
    split: str
    labels: Mapping[str, Sequence[str]]
    slices: Mapping[str, Sequence[str]]

    def __len__(self) -> int:
        return len(self.ids)


@dataclasses.dataclass(frozen=True)
class Scores:
    """Predictions of one head of one model for N clips and K classes.

    Attributes:
      logits: Averaged over all views, float32 [N, K].
      centre_logits: Of the centre view alone, float32 [N, K].
      probabilities: Softmax of `logits`, float32 [N, K].
      loss: Cross-entropy of `logits`, float32 [N]; NaN where the model does not know the true class.
      rank: Rank of the true class among the probabilities, 1 for the most likely, int32 [N]; `UNKNOWN` where the model
        does not know it. Of equal ones, the class that comes first in the model's list is the more likely.
    """

    logits: np.ndarray
    centre_logits: np.ndarray
    probabilities: np.ndarray
    loss: np.ndarray
    rank: np.ndarray

    @classmethod
    def of(cls, logits: np.ndarray, centre_logits: np.ndarray, classes: Sequence[str], labels: Sequence[str]) -> Scores:
        """Everything that follows from the logits and the true classes."""
        index = {name: number for number, name in enumerate(classes)}
        ids = np.array([index.get(name, -1) for name in labels], np.int64)
        log_probabilities = special.log_softmax(logits.astype(np.float64), axis=1)
        loss = np.where(ids >= 0, -log_probabilities[np.arange(len(ids)), ids], np.nan)
        return cls(
            logits=logits.astype(np.float32),
            centre_logits=centre_logits.astype(np.float32),
            probabilities=softmax(logits),
            loss=loss.astype(np.float32),
            rank=rank_of(logits, ids),
        )


@dataclasses.dataclass(frozen=True)
class Predictions:
    """A whole table: its clips, its models, and for each model that was run its scores by head."""

    clips: Clips
    models: Mapping[Role, ScoredModel]
    scores: Mapping[Role, Mapping[str, Scores]]

    def write(self, path: str) -> None:
        """Writes a Parquet file at any URI that TensorFlow writes."""
        buffer = io.BytesIO()
        pq.write_table(self.as_table(), buffer, compression="zstd")
        tf.io.gfile.makedirs(os.path.dirname(path))
        with tf.io.gfile.GFile(path, "wb") as file:
            file.write(buffer.getvalue())

    def as_table(self) -> pa.Table:
        """The same as an Arrow table, with the models in the schema's metadata."""
        clips = self.clips
        columns = {
            "id": pa.array(clips.ids, pa.string()),
            "group": pa.array(clips.groups, pa.string()),
            "path": pa.array(clips.paths, pa.string()),
            "start": pa.array(clips.starts, pa.float64()),
            "duration": pa.array(clips.durations, pa.float64()),
            "split": pa.array([clips.split] * len(clips), pa.string()),
            **{f"label/{head}": pa.array(names, pa.string()) for head, names in clips.labels.items()},
            **{f"slice/{name}": pa.array(values, pa.string()) for name, values in clips.slices.items()},
        }
        for role, heads in self.scores.items():
            for head, scores in heads.items():
                for field in dataclasses.fields(Scores):
                    columns[f"{role}/{head}/{field.name}"] = _column(getattr(scores, field.name))
        models = {role: dataclasses.asdict(model) for role, model in self.models.items()}
        table = pa.table(columns)
        return table.replace_schema_metadata({_MODELS: json.dumps(models, ensure_ascii=False).encode()})

    @classmethod
    def read(cls, folder: str) -> Predictions:
        """Reads all shards of a table, in the order of their names.

        Raises:
          FileNotFoundError: If the folder has none.
        """
        paths = sorted(tf.io.gfile.glob(os.path.join(folder, "*.parquet")))
        if not paths:
            raise FileNotFoundError(f"{folder} has no table of predictions")
        return cls.from_table(pa.concat_tables([read_table(path) for path in paths]))

    @classmethod
    def from_table(cls, table: pa.Table) -> Predictions:
        """The inverse of `as_table`."""
        models = {
            role: ScoredModel(**{**model, "views": tuple(model["views"])})
            for role, model in json.loads(table.schema.metadata[_MODELS]).items()
        }
        named = {prefix: [name for name in table.column_names if name.startswith(prefix)] for prefix in _PREFIXES}
        clips = Clips(
            ids=table["id"].to_pylist(),
            groups=table["group"].to_pylist(),
            paths=table["path"].to_pylist(),
            starts=table["start"].to_numpy(),
            durations=table["duration"].to_numpy(),
            split=table["split"][0].as_py() if len(table) else "",
            labels={name.removeprefix("label/"): table[name].to_pylist() for name in named["label/"]},
            slices={name.removeprefix("slice/"): table[name].to_pylist() for name in named["slice/"]},
        )
        scores = {
            role: {
                head: Scores(**{f.name: _array(table[f"{role}/{head}/{f.name}"]) for f in dataclasses.fields(Scores)})
                for head in model.classes
            }
            for role, model in models.items()
            if not model.problem
        }
        return cls(clips, models, scores)


_PREFIXES = ("label/", "slice/")


def read_table(path: str) -> pa.Table:
    """One Parquet file at any URI that TensorFlow reads."""
    with tf.io.gfile.GFile(path, "rb") as file:
        return pq.read_table(io.BytesIO(file.read()))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities of logits [N, K], float32."""
    return special.softmax(logits.astype(np.float64), axis=1).astype(np.float32)


def rank_of(scores: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Rank of class `ids` [N] in `scores` [N, K], int32 [N]; `UNKNOWN` where the id is negative.

    Where scores are NaN the rank is K: nothing can be said of the class.
    """
    own = scores[np.arange(len(ids)), ids][:, np.newaxis]
    before = (scores == own) & (np.arange(scores.shape[1]) < ids[:, np.newaxis])
    ranks = 1 + ((scores > own) | before).sum(axis=1)
    ranks = np.where(np.isnan(scores).any(axis=1), scores.shape[1], ranks)
    return np.where(ids >= 0, ranks, UNKNOWN).astype(np.int32)


def _column(values: np.ndarray) -> pa.Array:
    if values.ndim == 1:
        return pa.array(values)
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])


def _array(column: pa.ChunkedArray) -> np.ndarray:
    if not pa.types.is_fixed_size_list(column.type):
        return column.to_numpy()
    flat = np.concatenate([chunk.flatten().to_numpy() for chunk in column.chunks] or [np.zeros(0, np.float32)])
    return flat.reshape(len(column), column.type.list_size)
