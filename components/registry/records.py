"""What is kept of a model, as JSON: a record of each candidate, a decision about it, and a record of each version.

``<workdir>/candidates/<candidate>/`` has ``record.json`` and ``review.html``, both written by the pipeline, and
``decision.json`` once somebody has decided. ``<workdir>/pushed/<version>/assets.extra/version.json`` has a `Version`.

Contract: a file is read as what was written, or a `RegistryError` names it.
"""

from __future__ import annotations

import json
import os
import uuid
from typing import Literal, TypeVar

import pydantic
import tensorflow as tf
from pydantic.dataclasses import dataclass

from components.evaluation.assessment import Assessment

Record = TypeVar("Record")


class RegistryError(ValueError):
    """Something cannot be done with a candidate or a version; the message says why, and what can be done."""


@dataclass(frozen=True)
class RunInfo:
    """What a run is called, and what it runs.

    Attributes:
      recipe: Name of the recipe.
      changes: Settings that differ from the published recipe: key -> (published, used), as JSON.
      config: Every setting, as nested plain values.
      source: The data set as the user named it.
      label: What the user calls the run; may be empty.
      approval: "required" where somebody must approve a model before it is pushed.
    """

    recipe: str
    changes: dict[str, tuple[str, str]]
    config: dict
    source: str
    label: str
    approval: Literal["none", "required"]


@dataclass(frozen=True)
class Data:
    """The data set of a run.

    Attributes:
      source: The manifest or folder as the user named it.
      manifest_hash: SHA-256 of the clips that went in, hexadecimal.
      clips: Clips by split, in the manifest.
      classes: Number of classes by head.
      lost: Clips in quarantine, by reason.
    """

    source: str
    manifest_hash: str
    clips: dict[str, int]
    classes: dict[str, int]
    lost: dict[str, int]


@dataclass(frozen=True)
class Training:
    """How a model was trained.

    Attributes:
      recipe: Name of the recipe.
      changes: Settings that differ from the published recipe: key -> (published, used), as JSON texts.
      config: Every setting, as nested plain values.
      seconds: Of the training loop of the run that made the weights.
      steps: Optimiser steps.
      devices: E.g. ("2 x NVIDIA H100",).
      versions: Versions of this project and of the libraries it trains with, by name.
    """

    recipe: str
    changes: dict[str, tuple[str, str]]
    config: dict
    seconds: float
    steps: int
    devices: tuple[str, ...]
    versions: dict[str, str]


@dataclass(frozen=True)
class Canary:
    """Whether the SavedModel was proven to serve, and what the check says."""

    passed: bool
    detail: str


@dataclass(frozen=True)
class Candidate:
    """A model that was trained and evaluated.

    Attributes:
      id: The first characters of its content's hash; names its folder.
      made: Time of the evaluation, ISO 8601 in UTC.
      label: What the user called the run; may be empty.
      model_uri: Its SavedModel.
      digest: Hash of its content.
      data, training, canary: See there.
      assessment: What the gate found.
      approval: "required" where somebody must approve it before it is pushed.
    """

    id: str
    made: str
    label: str
    model_uri: str
    digest: str
    data: Data
    training: Training
    canary: Canary
    assessment: Assessment
    approval: Literal["none", "required"] = "none"

    @property
    def may_go_out(self) -> bool:
        """Whether gate and canary let it pass."""
        return self.assessment.blessed and self.canary.passed


@dataclass(frozen=True)
class Decision:
    """What somebody decided.

    Attributes:
      action: About a candidate, or a rollback to a version.
      who: Name of the person.
      why: Reason.
      when: Time, ISO 8601 in UTC.
      evaluation: `Candidate.made` of what was decided about. Evaluated again, a model waits for a new decision.
    """

    action: Literal["approve", "reject", "rollback"]
    who: str
    why: str
    when: str
    evaluation: str = ""


@dataclass(frozen=True)
class Version:
    """A version in production, or one that was.

    Attributes:
      version: Its number; the highest is in production.
      digest: Hash of the content of its SavedModel as the Trainer wrote it.
      pushed: Time, ISO 8601 in UTC.
      how: What pushed it.
      rollback_of: The version that a rollback copied; else empty.
      decision: Of the reviewer, or of who rolled back; None where none was required.
      candidate: Its record; None of a rollback to a version that has none.
    """

    version: str
    digest: str
    pushed: str
    how: Literal["pipeline", "approval", "rollback"]
    rollback_of: str = ""
    decision: Decision | None = None
    candidate: Candidate | None = None


def write_record(path: str, record: Candidate | Decision | Version) -> None:
    """Writes a record to any URI that TensorFlow writes; no reader sees half of it."""
    # A loss may be NaN. pydantic would write null, and then refuse it.
    values = pydantic.TypeAdapter(type(record)).dump_python(record, mode="json")
    tf.io.gfile.makedirs(os.path.dirname(path))
    # An object store shows a file once it is whole.
    written = path if "://" in path else f"{path}.{uuid.uuid4().hex}"
    with tf.io.gfile.GFile(written, "w") as file:
        file.write(json.dumps(values, indent=1))
    if written != path:
        tf.io.gfile.rename(written, path, overwrite=True)


def read_record(record_type: type[Record], path: str) -> Record:
    """Reads what `write_record` wrote.

    Raises:
      RegistryError: If there is no such file, or it is no such record.
    """
    try:
        with tf.io.gfile.GFile(path) as file:
            return pydantic.TypeAdapter(record_type).validate_json(file.read())
    except tf.errors.NotFoundError as error:
        raise RegistryError(f"{path}: no such file") from error
    except (pydantic.ValidationError, UnicodeDecodeError) as error:
        raise RegistryError(f"{path} is no {record_type.__name__.lower()}: {_first_problem(error)}") from error


def _first_problem(error: pydantic.ValidationError | UnicodeDecodeError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return str(error)
    first = error.errors()[0]
    field = ".".join(map(str, first["loc"]))
    return f"{field}: {first['msg']}" if field else first["msg"]
