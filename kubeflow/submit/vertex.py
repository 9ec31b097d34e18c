"""Vertex AI Pipelines by google-cloud-aiplatform; credentials are Google's application default ones."""

from __future__ import annotations

import contextlib
import datetime
import os
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

import google.auth.exceptions
import requests
import yaml
from google.api_core import exceptions
from google.cloud import aiplatform
from google.cloud.aiplatform.constants import base as constants

from kubeflow.submit.service import (
    NoAnswerError,
    Progress,
    Sent,
    ServiceError,
    State,
    Step,
    one_line,
    task_names,
    workdir_of,
)
from kubeflow.submit.spec import Job
from pipeline import settings
from pipeline.settings import ConfigError

_CONSOLE = "https://console.cloud.google.com/vertex-ai"
# Of a pipeline, without PIPELINE_STATE_, and of a task.
_STATES: Mapping[str, State] = {
    "RUNNING": "running",
    "SUCCEEDED": "succeeded",
    "FAILED": "failed",
    # By its documentation: because of a cache hit.
    "SKIPPED": "from cache",
    "NOT_TRIGGERED": "skipped",
    "CANCELLING": "running",
    "CANCELLED": "stopped",
}


class Vertex:
    """Vertex AI in a region of a project."""

    def __init__(self, place: str):
        """Takes a place ``PROJECT/REGION``.

        Raises:
          ConfigError: If it is not of that form, or the client knows no such region.
        """
        self._project, slash, self._region = place.partition("/")
        if not self._project or not self._region or "/" in self._region:
            raise ConfigError(f"--vertex {place}: wanted PROJECT/REGION, e.g. my-project/europe-west4")
        if self._region not in constants.SUPPORTED_REGIONS:
            raise settings.unknown(self._region, sorted(constants.SUPPORTED_REGIONS), kind="region of Vertex AI")
        self._place = {"project": self._project, "location": self._region}
        self._followed: dict[str, aiplatform.PipelineJob] = {}

    def submit(self, job: Job) -> Sent:
        """See `Service`."""
        with self._in_words():
            made = self._pipeline_job(job)
            made.submit(service_account=job.service_account or None)
        return Sent(made.name, self.link(made.name))

    def schedule(self, job: Job, cron: str) -> Sent:
        """See `Service`; `cron` has five fields, in UTC."""
        with self._in_words():
            others = aiplatform.PipelineJobSchedule.list(filter=f'display_name="{job.name}"', **self._place)
            for other in others:
                if other.display_name == job.name and other.state.name in ("ACTIVE", "PAUSED"):
                    raise ServiceError(
                        f"{self._project} has a schedule {job.name!r} already ({other.resource_name}); "
                        "delete it there, or give another --name"
                    )
            made = self._pipeline_job(job).create_schedule(
                cron=cron,
                display_name=job.name,
                max_concurrent_run_count=1,
                service_account=job.service_account or None,
            )
        link = f"{_CONSOLE}/locations/{self._region}/pipelines/schedules/{made.name}?project={self._project}"
        return Sent(made.name, link)

    def progress(self, run: str) -> Progress:
        """See `Service`."""
        with self._in_words():
            if run not in self._followed:
                self._followed[run] = aiplatform.PipelineJob.get(self._resource(run), **self._place)
            # Asks the server, which to_dict does not.
            state = self._followed[run].state.name.removeprefix("PIPELINE_STATE_")
            found = self._followed[run].to_dict()
        spec = found.get("pipelineSpec", {})
        details = {detail.get("taskName"): detail for detail in found.get("jobDetail", {}).get("taskDetails", ())}
        return Progress(
            state=_STATES.get(state, "waiting"),
            steps=tuple(_step(name, details.get(name, {})) for name in task_names(spec)),
            error=_message(found),
            created=_time(found.get("createTime")),
            workdir=workdir_of(spec, found.get("runtimeConfig", {}).get("parameterValues", {})),
        )

    def link(self, run: str) -> str:
        """See `Service`."""
        return f"{_CONSOLE}/locations/{self._region}/pipelines/runs/{run}?project={self._project}"

    def _resource(self, run: str) -> str:
        return f"projects/{self._project}/locations/{self._region}/pipelineJobs/{run}"

    def _pipeline_job(self, job: Job) -> aiplatform.PipelineJob:
        if not job.root.startswith("gs://"):
            raise ConfigError(f"the pipeline root is {job.root}; Vertex AI keeps artifacts at gs:// alone")
        with tempfile.TemporaryDirectory() as folder:
            # The client reads a file of one document.
            path = os.path.join(folder, "pipeline.yaml")
            with open(path, "w", encoding="utf-8") as file:
                yaml.safe_dump(dict(job.spec.pipeline), file)
            try:
                return aiplatform.PipelineJob(
                    display_name=job.name,
                    template_path=path,
                    pipeline_root=job.root,
                    parameter_values=dict(job.parameters),
                    enable_caching=None if job.cache else False,
                    **self._place,
                )
            except ValueError as error:
                # A name that is too long, or that may not be the id of a job.
                raise ConfigError(one_line(str(error))) from error

    @contextlib.contextmanager
    def _in_words(self) -> Iterator[None]:
        """Turns the errors of the client into a `ServiceError`."""
        who = f"Vertex AI in {self._project}/{self._region}"
        try:
            yield
        except google.auth.exceptions.TransportError as error:
            raise NoAnswerError(f"no answer about your credentials: {one_line(str(error))}") from error
        except google.auth.exceptions.GoogleAuthError as error:
            raise ServiceError(
                f"{who} does not know you: {one_line(str(error))} Run `gcloud auth application-default login`, or set "
                "GOOGLE_APPLICATION_CREDENTIALS"
            ) from error
        except exceptions.Unauthenticated as error:
            raise ServiceError(
                f"{who} does not know you (401): {one_line(error.message)} Run `gcloud auth application-default login`"
            ) from error
        except exceptions.Forbidden as error:
            raise ServiceError(
                f"{who} does not let you do this (403): {one_line(error.message)} The role is Vertex AI User, and "
                "Service Account User of the account of the steps"
            ) from error
        except (exceptions.ServerError, exceptions.TooManyRequests) as error:
            raise NoAnswerError(f"{who} cannot answer now: {one_line(error.message)}") from error
        except (exceptions.RetryError, requests.exceptions.RequestException) as error:
            raise NoAnswerError(f"{who} does not answer: {one_line(str(error))}") from error
        except exceptions.GoogleAPICallError as error:
            raise ServiceError(f"{who} refuses ({error.code}): {one_line(error.message)}") from error


def _step(name: str, detail: Mapping[str, Any]) -> Step:
    begin, end = _time(detail.get("startTime")), _time(detail.get("endTime"))
    job = detail.get("executorDetail", {}).get("containerDetail", {}).get("mainJob", "")
    return Step(
        name,
        _STATES.get(detail.get("state", ""), "waiting"),
        (end - begin) / datetime.timedelta(seconds=1) if begin and end else None,
        _message(detail),
        f"gcloud ai custom-jobs stream-logs {job}" if job else "",
    )


def _message(found: Mapping[str, Any]) -> str:
    return one_line(found.get("error", {}).get("message", ""))


def _time(text: str | None) -> datetime.datetime | None:
    # Python 3.10 reads neither Z nor more than six digits of a second.
    return datetime.datetime.fromisoformat(f"{text[:19]}+00:00") if text else None
