"""Puts a SavedModel into ``pushed/`` under a new number: whole, or not at all.

On a disk of this machine the copy is made in ``pushing/``, beside ``pushed/``, and renamed, so that a crash leaves the
served folder as it was. At an object store, which renames nothing, and where ``pushed/`` is a disk of its own, the
copy is made in place, saved_model.pb last: a folder without it is no version, for a model server neither.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import os
import random
import shutil
import time
import uuid
from collections.abc import Iterator

import tensorflow as tf

from components.registry.candidates import now
from components.registry.records import Candidate, Decision, RegistryError, Version, write_record
from components.registry.versions import (
    ADDED,
    MODEL_CARD,
    SAVED_MODEL,
    VERSION_RECORD,
    PushedModel,
    content_digest,
    files_below,
    numbers,
    production,
    standing,
)

_LOCK = "lock"


def push(candidate: Candidate, pushed: str, *, decision: Decision | None = None, model_card: str = "") -> PushedModel:
    """Puts a candidate into production; returns its version. If it is there already, does nothing. Needs `alone`.

    Args:
      candidate: Its SavedModel is at `model_uri`.
      pushed: The folder that a model server watches; any URI.
      decision: Of a reviewer; None where the pipeline pushes.
      model_card: Markdown that travels with the model, if any.

    Raises:
      RegistryError: If the SavedModel is not there, or is not what was evaluated.
    """
    served = production(standing(pushed))
    if served and served.digest == candidate.digest:
        return served
    _check_content(candidate)
    version = Version(
        version="",
        digest=candidate.digest,
        pushed=now(),
        how="approval" if decision else "pipeline",
        decision=decision,
        candidate=candidate,
    )
    return place(candidate.model_uri, pushed, version, model_card)


def place(model_dir: str, pushed: str, version: Version, model_card: str = "") -> PushedModel:
    """Copies a SavedModel to a number above all others; returns the version. Needs `alone`.

    Args:
      model_dir: The SavedModel, any URI.
      pushed: The folder that a model server watches; any URI.
      version: Its record, which gets its number here.
      model_card: Replaces the one in `model_dir`, unless it is empty.
    """
    if not _is_remote(pushed):
        _clear(_pushing(pushed))
    with reserved_number(pushed) as number:
        version = dataclasses.replace(version, version=number)
        path = os.path.join(pushed, number)
        if _is_remote(pushed):
            _copy(model_dir, path, version, model_card)
        else:
            _copy_and_rename(model_dir, path, version, model_card)
    return PushedModel(number, path, version.digest, version)


@contextlib.contextmanager
def alone(pushed: str) -> Iterator[None]:
    """Waits until nobody else pushes, and keeps others waiting; object stores have no such lock."""
    if _is_remote(pushed):
        yield
        return
    os.makedirs(_pushing(pushed), exist_ok=True)
    with open(os.path.join(_pushing(pushed), _LOCK), "w") as lock:
        # The system lets go of it if the process dies.
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _check_content(candidate: Candidate) -> None:
    if not tf.io.gfile.exists(os.path.join(candidate.model_uri, SAVED_MODEL)):
        raise RegistryError(f"the SavedModel of {candidate.id} is not at {candidate.model_uri} any more: run again")
    if content_digest(candidate.model_uri) != candidate.digest:
        raise RegistryError(f"{candidate.model_uri} changed since {candidate.id} was evaluated: run again")


@contextlib.contextmanager
def reserved_number(pushed: str) -> Iterator[str]:
    """A number for a new version, which nobody else takes: the time in seconds, and above all others."""
    # A half-written version keeps its number: another push may be writing it.
    highest = max(map(int, numbers(pushed)), default=0)
    number = max(int(time.time()), highest + 1)
    if not _is_remote(pushed):
        yield str(number)
        return
    while True:
        # Whoever finds another's mark beside its own lets the number go: of two, at most one keeps it.
        marks, own = os.path.join(_pushing(pushed), str(number)), uuid.uuid4().hex
        mark = os.path.join(marks, own)
        tf.io.gfile.makedirs(marks)
        with tf.io.gfile.GFile(mark, "w") as file:
            file.write("marked")
        try:
            if tf.io.gfile.listdir(marks) == [own] and str(number) not in numbers(pushed):
                yield str(number)
                return
        finally:
            tf.io.gfile.remove(mark)
        number += random.randint(1, 9)


def _clear(pushing: str) -> None:
    """Removes what a crash left."""
    for left in os.scandir(pushing):
        if left.is_dir():
            shutil.rmtree(left.path)


def _copy_and_rename(model_dir: str, path: str, version: Version, model_card: str) -> None:
    copy = os.path.join(_pushing(os.path.dirname(path)), version.version)
    _copy(model_dir, copy, version, model_card)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    try:
        os.rename(copy, path)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copy(model_dir, path, version, model_card)
        shutil.rmtree(copy)
    _sync(os.path.dirname(path))


def _copy(model_dir: str, path: str, version: Version, model_card: str) -> None:
    names = sorted(files_below(model_dir), key=lambda name: name == SAVED_MODEL)
    for folder in {os.path.dirname(os.path.join(path, name)) for name in [*names, *ADDED]}:
        tf.io.gfile.makedirs(folder)
    write_record(os.path.join(path, VERSION_RECORD), version)
    if model_card:
        with tf.io.gfile.GFile(os.path.join(path, MODEL_CARD), "w") as file:
            file.write(model_card)
    for name in names:
        if name != VERSION_RECORD and not (name == MODEL_CARD and model_card):
            tf.io.gfile.copy(os.path.join(model_dir, name), os.path.join(path, name), overwrite=True)
    if not _is_remote(path):
        for folder, _, inner in os.walk(path):
            for name in [*inner, ""]:
                _sync(os.path.join(folder, name))


def _sync(path: str) -> None:
    """Brings a file or folder to the disk, so that a power cut leaves nothing half written behind a name."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_remote(path: str) -> bool:
    return "://" in path


def _pushing(pushed: str) -> str:
    return os.path.join(os.path.dirname(pushed.rstrip("/")), "pushing")
