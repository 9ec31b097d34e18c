"""Servers on this machine that answer as Kubeflow Pipelines and Vertex AI do, and record what the real clients send."""

from __future__ import annotations

import contextlib
import dataclasses
import http.server
import json
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Any

EPOCH = "1970-01-01T00:00:00Z"
CREATED = "2026-11-01T10:00:00Z"


@dataclasses.dataclass(frozen=True)
class Request:
    """What a client sent."""

    method: str
    path: str
    query: dict[str, str]
    body: Any
    headers: dict[str, str]


@dataclasses.dataclass
class Server:
    """A server with what it was sent so far.

    Attributes:
      answer: The status and the body (JSON, or a page as text) for a request.
    """

    answer: Callable[[Request], tuple[int, Any]]
    requests: list[Request] = dataclasses.field(default_factory=list)
    address: str = ""

    def sent(self, method: str, path: str) -> list[Request]:
        """Requests of a method to a path."""
        return [request for request in self.requests if (request.method, request.path) == (method, path)]


@contextlib.contextmanager
def serving(server: Server) -> Iterator[Server]:
    """Runs a server; sets its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def handle_any(self):
            url = urllib.parse.urlsplit(self.path)
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = json.loads(content) if content.startswith(b"{") else None
            query = dict(urllib.parse.parse_qsl(url.query))
            request = Request(self.command, url.path, query, body, {k.lower(): v for k, v in self.headers.items()})
            server.requests.append(request)
            status, answer = server.answer(request)
            page = isinstance(answer, str)
            data = answer.encode() if page else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/html" if page else "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = handle_any

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as found:
        threading.Thread(target=found.serve_forever, args=(0.05,), daemon=True).start()
        server.address = f"http://127.0.0.1:{found.server_port}"
        yield server
        found.shutdown()


class Kfp:
    """Kubeflow Pipelines with one user: experiments, recurring runs of an experiment, and runs.

    Attributes:
      moments: What a run looks like at each look; the last one stays. A state of the run, and of its steps: a state,
        or a state with an error.
    """

    def __init__(self, *moments: tuple[str, dict[str, Any]], workdir: str = "", error: str = ""):
        self.moments, self._error, self._workdir = list(moments), error, workdir
        self.experiments: dict[str, str] = {}
        self.recurring: list[dict[str, Any]] = []
        self._body: dict[str, Any] = {}

    def __call__(self, request: Request) -> tuple[int, Any]:
        """The answer to a request."""
        route = f"{request.method} {request.path.removeprefix('/apis/v2beta1/')}"
        if route == "GET healthz":
            return 200, {"multi_user": False}
        if route == "GET experiments":
            (wanted,) = [p["stringValue"] for p in json.loads(request.query["filter"])["predicates"]]
            found = self.experiments.get(wanted)
            return 200, {"experiments": [{"experiment_id": found, "display_name": wanted}]} if found else {}
        if route == "POST experiments":
            self.experiments[request.body["display_name"]] = "e-1"
            return 200, {**request.body, "experiment_id": "e-1"}
        if route == "GET recurringruns":
            return 200, {"recurringRuns": self.recurring}
        if route == "POST recurringruns":
            self.recurring.append({**request.body, "recurring_run_id": "rr-1"})
            return 200, self.recurring[-1]
        if route == "POST runs":
            self._body = {**request.body, "run_id": "run-1", "created_at": CREATED}
            return 200, self._body
        if route == "GET runs/run-1":
            return 200, self._run(*(self.moments.pop(0) if len(self.moments) > 1 else self.moments[0]))
        return 404, {"error": f"{request.path} not found", "code": 5, "message": f"{request.path} not found"}

    def _run(self, state: str, steps: dict[str, Any]) -> dict[str, Any]:
        details = [detail for name, step in steps.items() for detail in _details(name, step)]
        error = {"error": {"code": 13, "message": self._error}} if self._error else {}
        return {**self._body, "state": state, "run_details": {"task_details": details}, **error}


def _details(name: str, step: Any) -> Iterator[dict[str, Any]]:
    """The three that the server lists for a step: its driver, itself, its executor; a time that is not yet is 1970."""
    state, error = step if isinstance(step, tuple) else (step, "")
    ended = state in ("SUCCEEDED", "FAILED", "CACHED")
    times = {"start_time": CREATED, "end_time": "2026-11-01T10:03:12Z" if ended else EPOCH}
    told = {"state_history": [{"state": state, "error": {"code": 2, "message": error}}]} if error else {}
    yield {"display_name": f"{name}-driver", "state": "SUCCEEDED", "pod_name": f"{name}-1", **times}
    yield {
        "display_name": name,
        "state": "SUCCEEDED" if state == "CACHED" else state,
        "pod_name": f"{name}-2",
        "child_tasks": [{"pod_name": f"{name}-3"}],
        **times,
    }
    executor = "SKIPPED" if state == "CACHED" else state
    yield {"display_name": "executor", "state": executor, "pod_name": f"{name}-3", **times, **told}


class Vertex:
    """Vertex AI: pipeline jobs and schedules of one region.

    Cloud Storage, where the client looks for the bucket of the pipeline root, lets nobody look; the client goes on.

    Attributes:
      moments: As of `Kfp`, in the words of Vertex AI.
    """

    def __init__(self, *moments: tuple[str, dict[str, Any]]):
        self.moments = list(moments)
        self.schedules: list[dict[str, Any]] = []
        self._job: dict[str, Any] = {}

    def __call__(self, request: Request) -> tuple[int, Any]:
        """The answer to a request."""
        route = f"{request.method} {request.path.removeprefix('/v1/projects/p/locations/europe-west4/')}"
        if route == "POST pipelineJobs":
            name = f"projects/p/locations/europe-west4/pipelineJobs/{request.query['pipelineJobId']}"
            self._job = {**request.body, "name": name, "createTime": "2026-11-01T10:00:00.123456789Z"}
            return 200, {**self._job, "state": 1}
        if route.startswith("GET pipelineJobs/") and self._job:
            return 200, self._run(*(self.moments.pop(0) if len(self.moments) > 1 else self.moments[0]))
        if route == "GET schedules":
            return 200, {"schedules": self.schedules}
        if route == "POST schedules":
            self.schedules.append({**request.body, "name": "projects/p/locations/europe-west4/schedules/7", "state": 1})
            return 200, self.schedules[-1]
        if route.startswith("GET schedules/"):
            return 200, self.schedules[0]
        if request.path.startswith("/storage/"):
            return 403, {"error": {"code": 403, "message": "no"}}
        return 404, {"error": {"code": 404, "message": f"{request.path} is not found.", "status": "NOT_FOUND"}}

    def _run(self, state: str, steps: dict[str, Any]) -> dict[str, Any]:
        details = [
            {
                "taskName": name,
                "state": found,
                "startTime": CREATED,
                "endTime": "2026-11-01T10:03:12.5Z",
                "executorDetail": {"containerDetail": {"mainJob": "projects/p/locations/europe-west4/customJobs/5"}},
                **({"error": {"code": 3, "message": error}} if error else {}),
            }
            for name, (found, error) in steps.items()
        ]
        return {**self._job, "state": f"PIPELINE_STATE_{state}", "jobDetail": {"taskDetails": details}}
