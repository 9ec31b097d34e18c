"""What a model says of a clip, and how it is written: words, JSON, a Parquet table."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from components.manifest.listing import ListedClip
from components.manifest.table import as_text
from components.media.video import VideoError
from schemas.predictions import softmax

# Classes of a head that JSON and words name, the most likely first.
JSON_CLASSES, WORDS_CLASSES = 5, 3
Classes = Mapping[str, Sequence[str]]


@dataclasses.dataclass(frozen=True)
class Prediction:
    """A model's prediction for one clip.

    Attributes:
      clip: The clip.
      logits: By head, float32 [K], averaged over views, in the order of the model's classes; empty if it is lost.
      embedding: The features before the head, float32 [D], averaged over views; None where nobody asked, or it is lost.
      error: Why there is no prediction, or None.
    """

    clip: ListedClip
    logits: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    embedding: np.ndarray | None = None
    error: VideoError | None = None

    def ranked(self, head: str, classes: Classes) -> list[tuple[str, float]]:
        """(class name, probability) of a head, the most likely first; of equal ones, in the order of the classes."""
        probabilities = softmax(self.logits[head][np.newaxis])[0].tolist()
        return sorted(zip(classes[head], probabilities, strict=True), key=lambda pair: -pair[1])

    def as_json(self, classes: Classes, *, most: int | None = None) -> dict[str, Any]:
        """Plain values: `most` classes of each head, the most likely first; None for all, and their logits."""
        row = {"id": as_text(self.clip.id), "path": as_text(self.clip.path)}
        row |= {name: value for name in ("start", "end") if (value := getattr(self.clip, name)) is not None}
        if self.error:
            return row | {"stage": self.error.stage, "error": self.error.reason}
        row["heads"] = {
            head: [{"class": name, "probability": p} for name, p in self.ranked(head, classes)[:most]]
            for head in classes
        }
        if most is None:
            row["logits"] = {head: values.tolist() for head, values in self.logits.items()}
        return row if self.embedding is None else row | {"embedding": self.embedding.tolist()}

    def in_words(self, classes: Classes) -> str:
        """A few lines for a person."""
        path = as_text(self.clip.path)
        if self.error:
            return f"{path}\n  cannot be predicted: {self.error.reason}"
        lines = [path]
        for head in classes:
            named = ", ".join(f"{name} {p:.2f}" for name, p in self.ranked(head, classes)[:WORDS_CLASSES])
            lines.append(f"  {head}: {named}")
        return "\n".join(lines)


def as_table(predictions: Sequence[Prediction], classes: Classes) -> pa.Table:
    """One row for each clip that was predicted.

    Columns: ``id``, ``path``; ``start``, ``end``, seconds, null where the clip has none; for each head ``<head>/class``
    and ``<head>/probability`` of the most likely class, and ``<head>/probabilities``, float32 [K]; ``embedding``,
    float32 [D], where the predictions have one.
    """
    found = [one for one in predictions if not one.error]
    columns = {
        name: pa.array([as_text(getattr(one.clip, name)) for one in found], pa.string()) for name in ("id", "path")
    }
    columns |= {name: pa.array([getattr(one.clip, name) for one in found], pa.float64()) for name in ("start", "end")}
    for head, names in classes.items():
        logits = np.array([one.logits[head] for one in found], np.float32).reshape(-1, len(names))
        probabilities = softmax(logits)
        best = probabilities.argmax(axis=1)
        columns[f"{head}/class"] = pa.array([names[index] for index in best], pa.string())
        columns[f"{head}/probability"] = pa.array(probabilities[np.arange(len(best)), best], pa.float32())
        columns[f"{head}/probabilities"] = _vectors(probabilities)
    if any(one.embedding is not None for one in found):
        columns["embedding"] = _vectors(np.stack([one.embedding for one in found]))
    return pa.table(columns)


def _vectors(values: np.ndarray) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel(), pa.float32()), values.shape[1])
