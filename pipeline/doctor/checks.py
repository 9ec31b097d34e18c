"""The checks of `vivit doctor`: each looks at one thing, and says what is missing and what to do."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import json
import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import grpc
from apache_beam.options import pipeline_options
from apache_beam.portability.api import beam_job_api_pb2, beam_job_api_pb2_grpc

from components.storage import files
from components.storage.folders import artifact_store_problem
from pipeline.beam import step_args
from pipeline.doctor.job import run_job, versions
from pipeline.settings import ConfigError

# Its job starts virtual machines.
_COSTLY = "DataflowRunner"


class Finding(NamedTuple):
    """What a check has found.

    Attributes:
      what: What it looked at.
      ok: Whether a run can do with it; None where it was not looked at.
      words: What it is, or what is missing and what to do.
    """

    what: str
    ok: bool | None
    words: str


def check(
    beam: Sequence[str], workdir: str | None, *, job: bool | None = None, patience: float = 10.0
) -> Iterator[Finding]:
    """Looks at all that a run with these options needs.

    Args:
      beam: Beam options, as in `step_args`.
      workdir: Of the run, any URI; None leaves it out.
      job: Whether to run a job of one element; by default unless that starts virtual machines.
      patience: Seconds in which a server must answer.

    Raises:
      ConfigError: If a Beam option is wrong.
    """
    arguments = step_args(beam)
    given = _known_options(beam)
    yield Finding("this machine", True, ", ".join(f"{name} {version}" for name, version in versions().items()))
    folders = {"workdir": workdir, "temp_location": given.get("temp_location")}
    writable = {name: _writable(name, folder) for name, folder in folders.items() if folder}
    yield from writable.values()
    runner = given.get("runner", "")
    if runner == _COSTLY:
        yield from _dataflow(given)
    servers = [_job_server(given["job_endpoint"], patience)] if "job_endpoint" in given else []
    if given.get("environment_type") == "EXTERNAL":
        servers.append(_worker_pool(given.get("environment_config", ""), patience))
    yield from servers
    if not runner:
        return
    if job is False or (job is None and runner == _COSTLY):
        yield Finding("worker", None, "was not looked at: --job starts one")
    elif not workdir or not all(found.ok for found in (writable["workdir"], *servers)):
        wanted = "what is missing above" if workdir else "--workdir"
        yield Finding("worker", None, f"was not looked at: it wants {wanted}")
    else:
        yield _worker(arguments, workdir)


def _known_options(beam: Sequence[str]) -> dict[str, str]:
    """The options by name, which Beam must know."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for options in pipeline_options.PipelineOptions.__subclasses__():
        options._add_argparse_args(parser)
    known = {name.removeprefix("--") for action in parser._actions for name in action.option_strings}
    given = {name: value for name, _, value in (setting.partition("=") for setting in beam)}
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise ConfigError(
                f"--beam {name}: Beam has no such option" + (f"; did you mean {near[0]}?" if near else "")
            )
    return given


def _writable(name: str, folder: str) -> Finding:
    if problem := artifact_store_problem(folder) if name == "workdir" else "":
        return Finding(name, False, problem)
    path = os.path.join(folder, f"vivit-doctor-{uuid.uuid4().hex}")
    try:
        files.write(path, b"written")
        files.remove(path)
    except files.FileError as error:
        return Finding(name, False, f"{folder} cannot be written: {error.reason}")
    return Finding(name, True, f"{folder} can be written")


def _dataflow(given: dict[str, str]) -> Iterator[Finding]:
    for name, why in (
        ("project", "the project that pays"),
        ("region", "where the workers run"),
        ("temp_location", "gs://BUCKET/tmp, which the workers write"),
        ("sdk_container_image", "an image with this project, see docs/images.md"),
    ):
        if name not in given:
            yield Finding(name, False, f"give --beam {name}=…: {why}")


def _job_server(address: str, patience: float) -> Finding:
    def answer(channel: grpc.Channel) -> str:
        stub = beam_job_api_pb2_grpc.JobServiceStub(channel)
        jobs = stub.GetJobs(beam_job_api_pb2.GetJobsRequest(), timeout=patience)
        return f"{address} answers, and knows {len(jobs.job_info)} jobs"

    return _serves("job server", address, patience, answer)


def _worker_pool(address: str, patience: float) -> Finding:
    if not address:
        return Finding("worker pool", False, "give --beam environment_config=HOST:PORT, where it listens")
    return _serves("worker pool", address, patience, lambda channel: f"{address} listens")


def _serves(what: str, address: str, patience: float, answer: Callable[[grpc.Channel], str]) -> Finding:
    with contextlib.closing(grpc.insecure_channel(address)) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=patience)
        except grpc.FutureTimeoutError:
            return Finding(what, False, f"nothing answers at {address} in {patience:g} s: start it, or name another")
        try:
            return Finding(what, True, answer(channel))
        except grpc.RpcError as error:
            return Finding(what, False, f"{address} is no {what} of Beam: {error.code().name}")


def _worker(arguments: list[str], workdir: str) -> Finding:
    """Whether a worker starts, has the same code, and writes where this machine reads."""
    path, what = os.path.join(workdir, f"vivit-doctor-{uuid.uuid4().hex}.json"), "worker"
    try:
        run_job(arguments, path)
    except Exception as error:  # noqa: BLE001 (each runner has its own)
        return Finding(what, False, _why(error))
    if not files.exists(path):
        return Finding(what, False, f"it wrote {path}, which is not here: share the workdir, or take one in a bucket")
    theirs, ours = json.loads(files.read(path)), versions()
    files.remove(path)
    other = [f"{name} {theirs[name]}, not {version}" for name, version in ours.items() if theirs[name] != version]
    if other:
        return Finding(what, False, f"it has {'; '.join(other)}: build its image of this commit, with this lock")
    return Finding(what, True, "starts, has this machine's code and libraries, and writes to the workdir")


def _why(error: Exception) -> str:
    text = str(error)
    if "No module named" in text:
        module = text.partition("No module named")[2].split("\\n")[0].split("\n")[0].strip(" '\"")
        return f"has no module {module}: its image must have this project, see docs/images.md"
    lines = [line for line in text.splitlines() if line.strip()]
    return f"does not do a job: {lines[-1].strip() if lines else type(error).__name__}"
