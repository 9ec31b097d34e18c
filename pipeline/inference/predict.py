"""Names the class of any video with a pushed model: the decoder of ingest, the same signature, the same logits."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow as tf

from components.manifest.table import as_text
from components.media.decoder import Decoder
from components.media.video import StoredClip, VideoError
from components.storage import files
from pipeline.inference.model import open_model
from schemas import serving


@dataclasses.dataclass(frozen=True)
class Prediction:
    """A model's prediction for one video.

    Attributes:
      video: Its path, as text.
      heads: By head, (class name, probability) the most likely first.
      logits: By head, averaged over views, in the order of the model's classes.
      error: Why there is no prediction, or None.
    """

    video: str
    heads: dict[str, list[tuple[str, float]]] = dataclasses.field(default_factory=dict)
    logits: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    error: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Plain values, the most likely class first."""
        if self.error:
            return {"video": self.video, "error": self.error}
        heads = {head: [{"class": name, "probability": p} for name, p in ranked] for head, ranked in self.heads.items()}
        return {"video": self.video, "heads": heads, "logits": self.logits}

    def in_words(self, top: int = 3) -> str:
        """A few lines for a person."""
        if self.error:
            return f"{self.video}\n  cannot be predicted: {self.error}"
        lines = [self.video]
        for head, ranked in self.heads.items():
            lines.append(f"  {head}: " + ", ".join(f"{name} {probability:.2f}" for name, probability in ranked[:top]))
        return "\n".join(lines)


def predict(
    model_dir: str, videos: Sequence[str], *, start: float = 0.0, end: float | None = None
) -> Iterator[Prediction]:
    """Predicts each video in turn; one that cannot be read or decoded gives a `Prediction` with its error.

    Args:
      model_dir: A SavedModel, or a folder of numbered versions.
      videos: Paths or URIs.
      start, end: The part of each video that is predicted, seconds; None for its end.

    Raises:
      FileNotFoundError: If the folder holds no model of this pipeline.
      NoFileSystemError: If nothing here reads the URI of the model.
      ModelError: If its model is incomplete or damaged.
    """
    model = open_model(model_dir)
    card, frames_signature = model.card, model.signatures[serving.FRAMES_SIGNATURE]
    with Decoder(model.decode_config) as decoder:
        for path in videos:
            video, stored = as_text(path), _stored(decoder, path, (start, end))
            if isinstance(stored, str):
                yield Prediction(video, error=stored)
                continue
            number = tf.constant([len(stored.frames)])
            outputs = frames_signature(
                **{serving.FRAMES_INPUT: tf.constant([stored.frames]), serving.NUM_FRAMES_INPUT: number}
            )
            heads, logits = {}, {}
            for head, names in card.classes.items():
                probabilities = outputs[serving.probabilities_key(head)][0].numpy().tolist()
                heads[head] = sorted(zip(names, probabilities, strict=True), key=lambda pair: -pair[1])
                logits[head] = outputs[serving.logits_key(head)][0].numpy().tolist()
            yield Prediction(video, heads, logits)


def _stored(decoder: Decoder, path: str, segment: tuple[float, float | None]) -> StoredClip | str:
    """The frames of a video, or why there are none."""
    if "://" not in path and os.path.exists(path) and not os.path.isfile(path):
        # A pipe or a terminal would be waited for.
        return "it is no file, but a folder, a pipe or a device"
    try:
        ((_, stored),) = decoder.store_segments(path, [segment])
    except files.FileError as error:
        return error.reason
    return stored.reason if isinstance(stored, VideoError) else stored
