"""Names the class of any video with a pushed model: the decoder of ingest, the same signature, the same logits."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow as tf

from components.media.config import DecodeConfig
from components.media.decoder import Decoder
from components.media.video import VideoError
from components.storage import files
from pipeline import settings
from schemas import serving


@dataclasses.dataclass(frozen=True)
class Prediction:
    """A model's prediction for one video.

    Attributes:
      video: Its path.
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
            return f"{self.video}\n  cannot be decoded: {self.error}"
        lines = [self.video]
        for head, ranked in self.heads.items():
            lines.append(f"  {head}: " + ", ".join(f"{name} {probability:.2f}" for name, probability in ranked[:top]))
        return "\n".join(lines)


def latest_version(model_dir: str) -> str:
    """The SavedModel in a folder: the folder itself, or its highest numbered version, as a model server picks it.

    Raises:
      FileNotFoundError: If there is none.
    """
    if files.exists(os.path.join(model_dir, "saved_model.pb")):
        return model_dir
    names = files.names_in(model_dir) if files.is_folder(model_dir) else []
    versions = sorted((name.rstrip("/") for name in names if name.rstrip("/").isdigit()), key=int)
    for version in reversed(versions):
        path = os.path.join(model_dir, version)
        if files.exists(os.path.join(path, "saved_model.pb")):
            return path
    raise FileNotFoundError(f"no SavedModel in {model_dir}: neither saved_model.pb nor a numbered version with one")


def predict(model_dir: str, videos: Sequence[str]) -> Iterator[Prediction]:
    """Predicts each video in turn; one that cannot be decoded gives a `Prediction` with its error.

    Raises:
      FileNotFoundError: If the folder holds no model of this pipeline.
      NoFileSystemError: If nothing here reads the URI of the model or of a video.
    """
    for path in videos:
        files.check_scheme(path)
    model_dir = latest_version(model_dir)
    # TensorFlow loads a model from where it reads itself.
    with contextlib.nullcontext(model_dir) if files.is_tensorflows(model_dir) else files.local_copy(model_dir) as model:
        card = serving.ModelCard.read(model)
        frames_signature = tf.saved_model.load(model).signatures[serving.FRAMES_SIGNATURE]
    with Decoder(_decode_config(card)) as decoder:
        for video in videos:
            ((_, stored),) = decoder.store_segments(video, [(0.0, None)])
            if isinstance(stored, VideoError):
                yield Prediction(video, error=stored.reason)
                continue
            outputs = frames_signature(**{serving.FRAMES_INPUT: tf.constant([stored.frames])})
            heads, logits = {}, {}
            for head, names in card.classes.items():
                probabilities = outputs[serving.probabilities_key(head)][0].numpy().tolist()
                heads[head] = sorted(zip(names, probabilities, strict=True), key=lambda pair: -pair[1])
                logits[head] = outputs[serving.logits_key(head)][0].numpy().tolist()
            yield Prediction(video, heads, logits)


def _decode_config(card: serving.ModelCard) -> DecodeConfig:
    """How the model's clips were stored; older cards also have settings of ingest that apply to no single video."""
    known = {field.name for field in dataclasses.fields(DecodeConfig)}
    return settings.build(DecodeConfig, {name: value for name, value in card.ingest.items() if name in known})
