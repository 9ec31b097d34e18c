"""A model of this pipeline, found and opened: its card, its signatures, and how its clips are stored."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping

import tensorflow as tf

from components.media.config import DecodeConfig
from components.storage import files
from pipeline import settings
from schemas import serving

Signature = Callable[..., Mapping[str, tf.Tensor]]


class ModelError(ValueError):
    """A SavedModel cannot be loaded."""


@dataclasses.dataclass(frozen=True)
class OpenModel:
    """A loaded SavedModel.

    Attributes:
      path: Where it is, a version itself.
      card: What it states about itself.
      signatures: Its functions by name, see `schemas.serving`.
      expected: The trainer's own logits for some clips; None of a model without them.
    """

    path: str
    card: serving.ModelCard
    signatures: Mapping[str, Signature]
    expected: serving.ExpectedLogits | None = None

    @property
    def decode_config(self) -> DecodeConfig:
        """How its clips were stored."""
        return decode_config_of(self.card)


def decode_config_of(card: serving.ModelCard) -> DecodeConfig:
    """How a model's clips were stored; older cards also have settings of ingest that apply to no single video."""
    known = {field.name for field in dataclasses.fields(DecodeConfig)}
    return settings.build(DecodeConfig, {name: value for name, value in card.ingest.items() if name in known})


def decode_config(model_dir: str) -> DecodeConfig:
    """How the clips of a model are stored; of its files, only the card is read.

    Args:
      model_dir: A SavedModel, a folder of numbered versions, or a folder with a copy of ``assets.extra/vivit.json``
        alone; any URI.

    Raises:
      FileNotFoundError: If there is none of these.
      FileError: If it has no card, or the card cannot be read.
      ModelError: If the card is damaged.
    """
    path = os.path.join(model_dir, serving.CARD)
    if not files.exists(path):
        path = os.path.join(latest_version(model_dir), serving.CARD)
    try:
        return decode_config_of(serving.ModelCard.parse(files.read(path)))
    except (ValueError, TypeError) as error:
        raise _damaged(path, error) from error


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


def open_model(model_dir: str) -> OpenModel:
    """Loads the SavedModel of a folder, any URI; see `latest_version`.

    Raises:
      FileNotFoundError: If the folder holds no model of this pipeline.
      NoFileSystemError: If nothing here reads the URI.
      ModelError: If the model is incomplete or damaged.
    """
    path = latest_version(model_dir)
    with _readable(path) as model:
        try:
            card = serving.ModelCard.read(model)
        except (ValueError, TypeError) as error:
            raise _damaged(model, error) from error
        try:
            expected = serving.ExpectedLogits.read(model)
            signatures = tf.saved_model.load(model).signatures
        except (tf.errors.OpError, OSError, KeyError, ValueError) as error:
            raise _damaged(model, error) from error
    # A converted model has a file without clips.
    return OpenModel(path, card, signatures, expected if expected.centre else None)


def digest_of(model_dir: str) -> str:
    """Hash of the content of the SavedModel of a folder, any URI; raises as `latest_version` does."""
    # Deferred: a process that only serves a model needs none of what it imports.
    from components.registry.versions import content_digest

    with _readable(latest_version(model_dir)) as model:
        return content_digest(model)


def _damaged(path: str, error: Exception) -> ModelError:
    reason = str(error).partition("\n")[0]
    return ModelError(f"{path} cannot be loaded: a file of it is missing or damaged, copy it again ({reason})")


@contextlib.contextmanager
def _readable(path: str) -> Iterator[str]:
    """A model where TensorFlow, which loads it, reads itself."""
    with contextlib.nullcontext(path) if files.is_tensorflows(path) else files.local_copy(path) as model:
        yield model
