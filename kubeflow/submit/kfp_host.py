"""Open-source Kubeflow Pipelines by kfp's own client; only what its versions 2.5 and 2.16 both have.

Credentials are the client's: the environment variables ``KF_PIPELINES_…``, ``~/.config/kfp/context.json``, or a file
with a token, which is read again for every request so that one that is renewed there stays valid.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import kfp
import kfp.client
import kfp_server_api
import urllib3

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

_STATES: Mapping[str, State] = {
    "RUNNING": "running",
    "SUCCEEDED": "succeeded",
    # By its documentation: because it was cached. Our pipelines have no conditions.
    "SKIPPED": "from cache",
    "FAILED": "failed",
    "CANCELING": "running",
    "CANCELED": "stopped",
}
_PAGE = 100


class KfpHost:
    """A server of Kubeflow Pipelines."""

    def __init__(self, host: str, *, experiment: str = "", namespace: str = "", token_file: str = ""):
        """Connects.

        Args:
          host: Its address.
          experiment: Where runs are listed; empty for the client's own default, else ``Default``.
          namespace: Of a server with several users; empty for the one of the client's settings.
          token_file: File with a bearer token; empty for the client's own credentials.

        Raises:
          ServiceError: If it does not answer, or refuses.
        """
        self._host = host.rstrip("/") if "://" in host else f"https://{host.rstrip('/')}"
        self._page = os.environ.get("KF_PIPELINES_UI_ENDPOINT", self._host).rstrip("/")
        self._namespace = namespace or None
        self._experiment = experiment or os.environ.get("KF_PIPELINES_DEFAULT_EXPERIMENT_NAME") or "Default"
        credentials = None
        if token_file or os.environ.get("KF_PIPELINES_SA_TOKEN_PATH"):
            credentials = kfp.client.ServiceAccountTokenVolumeCredentials(token_file or None)
        with self._in_words():
            self._client = _Client(self._host, namespace=namespace or "kubeflow", credentials=credentials)

    def submit(self, job: Job) -> Sent:
        """See `Service`."""
        with self._in_words():
            run = self._client.run_pipeline(self._experiment_id(), job.name, **_arguments(job))
        return Sent(run.run_id, self.link(run.run_id))

    def schedule(self, job: Job, cron: str) -> Sent:
        """See `Service`; `cron` has six fields."""
        with self._in_words():
            experiment = self._experiment_id()
            if other := next((run for run in self._recurring_runs(experiment) if run.display_name == job.name), None):
                raise ServiceError(
                    f"experiment {self._experiment!r} has a recurring run {job.name!r} already "
                    f"({self._recurring_link(other.recurring_run_id)}); delete it there, or give another --name"
                )
            made = self._client.create_recurring_run(
                experiment, job.name, cron_expression=cron, max_concurrency=1, no_catchup=True, **_arguments(job)
            )
        return Sent(made.recurring_run_id, self._recurring_link(made.recurring_run_id))

    def progress(self, run: str) -> Progress:
        """See `Service`."""
        with self._in_words():
            found = self._client.get_run(run)
            self._check_answer(found.run_id)
        document = found.pipeline_spec or {}
        spec = document.get("pipeline_spec", document)
        state = _STATES.get(found.state, "waiting")
        details = (found.run_details.task_details if found.run_details else None) or []
        return Progress(
            state=state,
            steps=tuple(_steps(task_names(spec), details, state, self.link(run))),
            error=_message(found.error) or _last_error(found.state_history),
            created=found.created_at,
            workdir=workdir_of(spec, (found.runtime_config and found.runtime_config.parameters) or {}),
        )

    def link(self, run: str) -> str:
        """See `Service`."""
        return f"{self._page}/#/runs/details/{run}"

    def _recurring_link(self, recurring_run: str) -> str:
        return f"{self._page}/#/recurringrun/details/{recurring_run}"

    def _experiment_id(self) -> str:
        """Id of the experiment, which is made if there is none."""
        found = self._client.create_experiment(self._experiment, namespace=self._namespace)
        self._check_answer(found.experiment_id)
        return found.experiment_id

    def _recurring_runs(self, experiment: str) -> Iterator[kfp_server_api.V2beta1RecurringRun]:
        token = ""
        while True:
            page = self._client.list_recurring_runs(page_token=token, page_size=_PAGE, experiment_id=experiment)
            yield from page.recurring_runs or ()
            token = page.next_page_token
            if not token:
                return

    def _check_answer(self, identity: str | None) -> None:
        """The client takes any page for an answer without values, a page to log in among them."""
        if not identity:
            raise ServiceError(
                f"{self._host} answers, but not as Kubeflow Pipelines does: it may be a page to log in. "
                "Give a token with --token-file, or take the address of the service ml-pipeline"
            )

    @contextlib.contextmanager
    def _in_words(self) -> Iterator[None]:
        """Turns the errors of the client into a `ServiceError`."""
        try:
            yield
        except kfp_server_api.ApiException as error:
            raise self._refusal(error) from error
        except urllib3.exceptions.HTTPError as error:
            raise NoAnswerError(f"{self._host} does not answer: {_reason(error)}") from error
        except (ValueError, OSError) as error:
            # Of the client itself: two experiments of one name, a file of credentials that cannot be read.
            raise ServiceError(one_line(str(error))) from error

    def _refusal(self, error: kfp_server_api.ApiException) -> ServiceError:
        said = _said(error)
        if not error.status or error.status >= 500 or error.status == 429:
            return NoAnswerError(f"{self._host} cannot answer now ({error.status or one_line(error.reason)}){said}")
        if error.status == 401:
            return ServiceError(
                f"{self._host} does not know you (401){said}. Give a token that is valid now with --token-file, or "
                "the client's KF_PIPELINES_… variables"
            )
        if error.status == 403:
            where = f"the namespace {self._namespace}" if self._namespace else "your namespace, which --namespace names"
            return ServiceError(f"{self._host} does not let you do this (403){said}. Ask for a role in {where}")
        if error.status == 404 and not said:
            return ServiceError(f"nothing at {self._host} answers as Kubeflow Pipelines 2 (404); check --host")
        return ServiceError(f"{self._host} refuses ({error.status}){said}")


class _Client(kfp.Client):
    def get_kfp_healthz(self, sleep_duration: int = 0) -> kfp_server_api.V2beta1GetHealthzResponse:
        """Asks without the pauses; where the server refuses, the next request shows why, and this one does not."""
        try:
            return super().get_kfp_healthz(sleep_duration=0)
        except TimeoutError:
            return kfp_server_api.V2beta1GetHealthzResponse()


def _arguments(job: Job) -> dict[str, Any]:
    """What a run and a recurring run have in common."""
    return {
        "pipeline_package_path": job.spec.path,
        "params": dict(job.parameters),
        "pipeline_root": job.root or None,
        # None keeps what the spec says for each step.
        "enable_caching": None if job.cache else False,
        "service_account": job.service_account or None,
    }


def _said(error: kfp_server_api.ApiException) -> str:
    """What the server wrote about its refusal, after a colon; empty for a page that is none of its own."""
    try:
        body = json.loads(error.body)
        message = body.get("message") or body.get("error") or ""
    except (TypeError, ValueError, AttributeError):
        return ""
    return f": {one_line(str(message))}" if message else ""


def _reason(error: urllib3.exceptions.HTTPError) -> str:
    """Why there is no answer, without the connection that its text begins with."""
    reason = getattr(error, "reason", None) or error
    return re.sub(r"^.*[>)]: ", "", one_line(str(reason.args[-1] if reason.args else reason)))


def _steps(names: Sequence[str], details: Sequence, run: State, link: str) -> Iterator[Step]:
    """Steps of a run from the server's list, which has a task, its driver and its executor as three."""
    by_name = {_plain(detail.display_name): detail for detail in details}
    by_pod = {detail.pod_name: detail for detail in details if detail.pod_name}
    for name in names:
        own, driver = by_name.get(_plain(name)), by_name.get(_plain(f"{name}-driver"))
        children = [by_pod[c.pod_name] for c in (own and own.child_tasks) or () if c.pod_name in by_pod]
        state = _STATES.get(own.state, "waiting") if own else "waiting"
        if state == "succeeded" and any(child.state == "SKIPPED" for child in children):
            state = "from cache"
        if driver and driver.state == "FAILED":
            state = "failed"
        if run == "succeeded" and state in ("waiting", "running"):
            # The server may end a run before it has written the last state of its steps.
            state = "succeeded"
        error = ""
        if state == "failed":
            told = [detail for detail in (*children, own, driver) if detail]
            error = next(filter(None, (_message(d.error) or _last_error(d.state_history) for d in told)), "")
        yield Step(name, state, _seconds(own), error, f"{link}, step {name}, tab Logs")


def _plain(name: str | None) -> str:
    return (name or "").replace("-", "").replace("_", "").lower()


def _seconds(detail: Any) -> float | None:
    """Seconds that a task took; a time that is not yet is 1970 at the server."""
    if not detail or any(when is None or when.year == 1970 for when in (detail.start_time, detail.end_time)):
        return None
    return max(0.0, (detail.end_time - detail.start_time) / datetime.timedelta(seconds=1))


def _message(status: Any) -> str:
    return one_line(status.message) if status and status.message else ""


def _last_error(states: Sequence | None) -> str:
    return next(filter(None, (_message(state.error) for state in reversed(states or ()))), "")
