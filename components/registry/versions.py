"""The versions in ``pushed/``: which there are, which one is in production, and which were rolled back.

Contract: the folder is the truth, whoever wrote to it. A version is a folder whose name is a number and that has a
saved_model.pb; a model server serves the highest. Nothing ever edits a version: a rollback makes an older one the
newest, so the highest is what was pushed and not rolled back.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import os
import re
from collections.abc import Iterator, Sequence

import tensorflow as tf

from components.registry.records import RegistryError, Version, read_record
from components.storage import files

SAVED_MODEL = "saved_model.pb"
VERSION_RECORD = "assets.extra/version.json"
MODEL_CARD = "assets.extra/model_card.md"
# What a push adds to a SavedModel; no part of its digest, so that a version has the digest of its candidate.
ADDED = (VERSION_RECORD, MODEL_CARD)

_NUMBER = re.compile(r"[0-9]+")
_logger = logging.getLogger("vivit.registry")


@dataclasses.dataclass(frozen=True)
class PushedModel:
    """A version in ``pushed/``.

    Attributes:
      version: Its number, the name of its folder.
      path: Its SavedModel.
      digest: Hash of its content, see `content_digest`.
      record: Of its push; None of a version that was copied by hand.
    """

    version: str
    path: str
    digest: str
    record: Version | None = None


def pushed_folder(workdir: str) -> str:
    """The folder of a workdir that a model server watches."""
    return os.path.join(workdir, "pushed")


def standing(pushed: str) -> list[PushedModel]:
    """All versions, in the order of their numbers. Folders without saved_model.pb are half written, and no versions."""
    found = []
    for name in numbers(pushed):
        path = os.path.join(pushed, name)
        if tf.io.gfile.exists(os.path.join(path, SAVED_MODEL)):
            record = _record(path, name)
            found.append(PushedModel(name, path, record.digest if record else content_digest(path), record))
    return found


def numbers(pushed: str) -> list[str]:
    """Names in a folder that are numbers, in the order of the numbers; half-written versions too."""
    names = tf.io.gfile.listdir(pushed) if tf.io.gfile.isdir(pushed) else []
    return sorted((name.rstrip("/") for name in names if _NUMBER.fullmatch(name.rstrip("/"))), key=int)


def in_force(models: Sequence[PushedModel]) -> list[PushedModel]:
    """The versions that were not rolled back, in order; the last one is in production.

    A rollback to a version takes back all that came after it. A copy of an older version that somebody made by hand
    is a rollback, too.
    """
    kept: list[PushedModel] = []
    for place, model in enumerate(models):
        origin = _returns_to(model, models[:place])
        if origin:
            kept = [other for other in kept if int(other.version) <= int(origin)]
        kept.append(model)
    return kept


def production(models: Sequence[PushedModel], besides: str = "") -> PushedModel | None:
    """The version in production; None if there is none.

    Args:
      models: All versions.
      besides: Digest of a candidate, which is not compared with itself: its own versions are passed over.
    """
    return next((model for model in reversed(in_force(models)) if model.digest != besides), None)


def rolled_back_by(models: Sequence[PushedModel], model: PushedModel) -> PushedModel | None:
    """Which of all versions took one of them back by a rollback; None if none did."""
    place = models.index(model)
    for end in range(place + 1, len(models)):
        if model not in in_force(models[: end + 1]):
            return models[end]
    return None


def content_digest(model_dir: str) -> str:
    """SHA-256 over names and contents of a SavedModel's files, without those that a push adds; hexadecimal."""
    digest = hashlib.sha256()
    for name in sorted(files_below(model_dir)):
        if name not in ADDED:
            digest.update(f"{files.sha256(os.path.join(model_dir, name))} {name}\n".encode())
    return digest.hexdigest()


def files_below(folder: str) -> Iterator[str]:
    """Names of all files below a folder, relative to it."""
    for name in tf.io.gfile.listdir(folder):
        name = name.rstrip("/")
        path = os.path.join(folder, name)
        if tf.io.gfile.isdir(path):
            yield from (f"{name}/{inner}" for inner in files_below(path))
        else:
            yield name


def _record(path: str, name: str) -> Version | None:
    file = os.path.join(path, VERSION_RECORD)
    if not tf.io.gfile.exists(file):
        return None
    try:
        record = read_record(Version, file)
    except RegistryError as error:
        _logger.warning("version %s counts as one that was copied by hand: %s", name, error)
        return None
    # A copy of another version has that one's record.
    return record if record.version == name else None


def _returns_to(model: PushedModel, earlier: Sequence[PushedModel]) -> str:
    """The earlier version that a version brings back; empty if it is new."""
    if model.record:
        return model.record.rollback_of
    return next((other.version for other in reversed(earlier) if other.digest == model.digest), "")
