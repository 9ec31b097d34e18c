"""What every server that runs pipelines is here: it takes a job or a schedule, and reports how a run goes."""

from __future__ import annotations

import dataclasses
import datetime
import graphlib
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, Protocol

from kubeflow.submit.spec import Job

State = Literal["waiting", "running", "succeeded", "from cache", "skipped", "stopped", "failed"]
ENDED = ("succeeded", "stopped", "failed")


class ServiceError(RuntimeError):
    """A server refuses, or is not what it was taken for; the message says what to do."""


class NoAnswerError(ServiceError):
    """A server does not answer now; it may later."""


class Sent(NamedTuple):
    """A run or a schedule at a server: its id, and its page in the user interface."""

    id: str
    link: str


@dataclasses.dataclass(frozen=True)
class Step:
    """A step of a run.

    Attributes:
      name: Of its task.
      state: Where it is.
      seconds: That it took; None where that is not known.
      error: Why it failed, as far as the server says.
      log: Where its log is.
    """

    name: str
    state: State
    seconds: float | None = None
    error: str = ""
    log: str = ""


@dataclasses.dataclass(frozen=True)
class Progress:
    """How a run goes.

    Attributes:
      state: Of the whole run.
      steps: In the order in which they run.
      error: Of the whole run.
      created: When it was made.
      workdir: Folder of what the runs keep; empty where the run does not name it.
    """

    state: State
    steps: tuple[Step, ...]
    error: str
    created: datetime.datetime | None
    workdir: str


class Service(Protocol):
    """A server. Every method raises `ServiceError`, or `NoAnswerError` where another try may do."""

    def submit(self, job: Job) -> Sent:
        """Starts a run."""

    def schedule(self, job: Job, cron: str) -> Sent:
        """Starts a run at each of the times, never two at once; refuses a name that a schedule has."""

    def progress(self, run: str) -> Progress:
        """How a run goes."""

    def link(self, run: str) -> str:
        """The page of a run in the user interface."""


def task_names(spec: Mapping[str, Any]) -> list[str]:
    """Tasks of a pipeline in the order in which they run."""
    tasks = spec.get("root", {}).get("dag", {}).get("tasks", {})
    return list(graphlib.TopologicalSorter({k: v.get("dependentTasks", ()) for k, v in tasks.items()}).static_order())


def workdir_of(spec: Mapping[str, Any], parameters: Mapping[str, Any]) -> str:
    """The workdir of a run: its own, else the default of its pipeline."""
    definitions = spec.get("root", {}).get("inputDefinitions", {}).get("parameters", {})
    return parameters.get("workdir") or definitions.get("workdir", {}).get("defaultValue") or ""


def one_line(text: str, most: int = 400) -> str:
    """Words of a server, as one line."""
    text = " ".join(text.split())
    return text if len(text) <= most else f"{text[:most]} …"
