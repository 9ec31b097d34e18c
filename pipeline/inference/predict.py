"""Names the class of any video with a pushed model: the decoder of ingest, the same signature, the same logits."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf

from components.manifest.table import as_text
from components.media.config import DecodeConfig
from components.media.decoder import Decoder
from components.media.video import StoredClip, VideoError
from components.storage import files
from pipeline import settings
from schemas import serving


class ModelError(ValueError):
    """A SavedModel cannot be loaded."""


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
    model_dir = latest_version(model_dir)
    # TensorFlow loads a model from where it reads itself.
    with contextlib.nullcontext(model_dir) if files.is_tensorflows(model_dir) else files.local_copy(model_dir) as model:
        card, frames_signature = _load(model)
    with Decoder(_decode_config(card)) as decoder:
        for path in videos:
            video, stored = as_text(path), _stored(decoder, path, (start, end))
            if isinstance(stored, str):
                yield Prediction(video, error=stored)
                continue
            outputs = frames_signature(**{serving.FRAMES_INPUT: tf.constant([stored.frames])})
            heads, logits = {}, {}
            for head, names in card.classes.items():
                probabilities = outputs[serving.probabilities_key(head)][0].numpy().tolist()
                heads[head] = sorted(zip(names, probabilities, strict=True), key=lambda pair: -pair[1])
                logits[head] = outputs[serving.logits_key(head)][0].numpy().tolist()
            yield Prediction(video, heads, logits)


def _load(model: str) -> tuple[serving.ModelCard, Callable[..., Mapping[str, tf.Tensor]]]:
    card = serving.ModelCard.read(model)
    try:
        return card, tf.saved_model.load(model).signatures[serving.FRAMES_SIGNATURE]
    except (tf.errors.OpError, OSError, KeyError) as error:
        reason = str(error).partition("\n")[0]
        text = f"{model} cannot be loaded: a file of it is missing or damaged, copy it again ({reason})"
        raise ModelError(text) from error


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


def _decode_config(card: serving.ModelCard) -> DecodeConfig:
    """How the model's clips were stored; older cards also have settings of ingest that apply to no single video."""
    known = {field.name for field in dataclasses.fields(DecodeConfig)}
    return settings.build(DecodeConfig, {name: value for name, value in card.ingest.items() if name in known})
