"""``vivit submit``: its arguments; the work is in kubeflow/submit.

Ends with 0 if what was asked is done (with --wait: if the run succeeded), 1 if the run failed or the server refuses, 2
if it was asked wrongly and nothing was sent, 3 if the time of --timeout is up and the run goes on.
"""

from __future__ import annotations

import argparse
import os
import shlex
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.commands.arguments import Echo, seconds
from pipeline.console import typed_command
from pipeline.settings import ConfigError

if TYPE_CHECKING:
    from kubeflow.submit.service import Service

HELP = "send a compiled pipeline to Kubeflow Pipelines or Vertex AI: once or on a schedule"
_WRONG_USE, _TIME_IS_UP = 2, 3
# Which extra of setup.py has a package.
_EXTRAS = {"kfp": "kubeflow", "google": "vertex"}
# What shapes a new run, with its value where it is not given.
_OF_A_NEW_RUN = {
    "parameters": ("--param", []),
    "name": ("--name", ""),
    "experiment": ("--experiment", ""),
    "pipeline_root": ("--pipeline-root", ""),
    "service_account": ("--service-account", ""),
    "no_cache": ("--no-cache", False),
    "schedule": ("--schedule", None),
}
_ENDPOINT = "KF_PIPELINES_ENDPOINT"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("pipeline", nargs="?", metavar="PIPELINE.yaml", help="what `vivit compile` wrote")
    server = parser.add_mutually_exclusive_group()
    server.add_argument("--host", metavar="URL", help=f"of Kubeflow Pipelines (default: {_ENDPOINT})")
    server.add_argument("--vertex", metavar="PROJECT/REGION", help="Vertex AI, with Google's default credentials")
    parser.add_argument(
        "--param", action="append", default=[], metavar="KEY=VALUE", dest="parameters", help="a parameter of the run"
    )
    parser.add_argument("--name", default="", help="of the run (default: of the pipeline, with the time)")
    parser.add_argument("--experiment", default="", help="with --host: where the run is listed (default: Default)")
    parser.add_argument("--namespace", default="", help="with --host: yours, on a server with several users")
    parser.add_argument(
        "--token-file", default="", metavar="FILE", help="with --host: a bearer token, read for every request"
    )
    parser.add_argument(
        "--pipeline-root",
        default="",
        metavar="URI",
        help="of the server's records of artifacts (default: WORKDIR/kubeflow)",
    )
    parser.add_argument("--service-account", default="", metavar="NAME", help="of the steps (default: the server's)")
    parser.add_argument("--no-cache", action="store_true", help="run every step, whatever an earlier run has made")
    parser.add_argument(
        "--schedule", metavar="CRON", help="run again and again, one at a time: five fields as in crontab, in UTC"
    )
    parser.add_argument("--wait", action="store_true", help="show the steps until the run has ended")
    parser.add_argument("--follow", metavar="RUN", help="wait for a run that was submitted before; sends nothing")
    parser.add_argument("--timeout", type=seconds, metavar="S", help="stop waiting after S seconds; the run goes on")


def main(arguments: argparse.Namespace, echo: Echo) -> int:
    """Submits, schedules or follows; returns the exit status."""
    try:
        return _main(arguments, echo)
    except ConfigError as error:
        echo(f"vivit: {error}")
    # Where another package has a folder google/cloud, what fails is not a module but a name.
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in _EXTRAS:
            raise
        echo(f"vivit: {error}; it is in the extra `{_EXTRAS[error.name.partition('.')[0]]}`")
    return _WRONG_USE


def _main(arguments: argparse.Namespace, echo: Echo) -> int:
    _check(arguments)
    if arguments.follow:
        service, words = _service(arguments)
        return _wait(service, arguments.follow, words, arguments, echo)
    from kubeflow.submit import cron
    from kubeflow.submit.spec import load_spec, make_job

    times = ""
    if arguments.schedule is not None:
        times = (cron.five_fields if arguments.vertex else cron.six_fields)(arguments.schedule)
    spec = load_spec(arguments.pipeline)
    job = make_job(
        spec,
        arguments.parameters,
        name=arguments.name or (spec.name if times else f"{spec.name} {time.strftime('%Y-%m-%d %H-%M-%S')}"),
        root=arguments.pipeline_root,
        cache=not arguments.no_cache,
        service_account=arguments.service_account,
    )
    if arguments.vertex and spec.platform:
        echo(f"Vertex AI does not read the second document of {spec.path}, which is for Kubernetes.")
    service, words = _service(arguments)
    if times:
        sent = service.schedule(job, times)
        echo(f"{job.name} is scheduled at {times!r}, one run at a time:\n  {sent.link}")
        return 0
    sent = service.submit(job)
    echo(f"{job.name} is submitted:\n  {sent.link}")
    if arguments.wait:
        return _wait(service, sent.id, words, arguments, echo)
    echo(f"Follow it:\n  {_follow(words, sent.id)}")
    return 0


def _check(arguments: argparse.Namespace) -> None:
    """Refuses options that do not go together."""
    if bool(arguments.pipeline) == bool(arguments.follow):
        raise ConfigError("give either PIPELINE.yaml, or --follow with the id of a run")
    for name, (option, absent) in _OF_A_NEW_RUN.items():
        if arguments.follow and getattr(arguments, name) != absent:
            raise ConfigError(f"{option} is of a new run; leave it out with --follow")
    if arguments.schedule is not None and arguments.wait:
        raise ConfigError("--schedule makes no run that could be waited for; leave out --wait")
    if arguments.timeout is not None and not (arguments.wait or arguments.follow):
        raise ConfigError("--timeout is the time of --wait or --follow; give one of them")
    for name in ("experiment", "namespace", "token_file"):
        if arguments.vertex and getattr(arguments, name):
            raise ConfigError(f"--{name.replace('_', '-')} is of Kubeflow Pipelines; leave it out with --vertex")


def _service(arguments: argparse.Namespace) -> tuple[Service, list[str]]:
    """The server, and the words that name it on a command line."""
    if arguments.vertex:
        from kubeflow.submit.vertex import Vertex

        return Vertex(arguments.vertex), ["--vertex", arguments.vertex]
    host = arguments.host or os.environ.get(_ENDPOINT, "")
    if not host:
        raise ConfigError(f"give --host URL of Kubeflow Pipelines (or {_ENDPOINT}), or --vertex PROJECT/REGION")
    from kubeflow.submit.kfp_host import KfpHost

    words = ["--host", host]
    for option, value in (("--namespace", arguments.namespace), ("--token-file", arguments.token_file)):
        words += [option, value] if value else []
    service = KfpHost(
        host, experiment=arguments.experiment, namespace=arguments.namespace, token_file=arguments.token_file
    )
    return service, words


def _wait(service: Service, run: str, words: Sequence[str], arguments: argparse.Namespace, echo: Echo) -> int:
    """Waits for a run and says what came of it."""
    from kubeflow.submit.outcome import ending, models
    from kubeflow.submit.service import NoAnswerError
    from kubeflow.submit.waiting import TimeIsUpError, wait

    try:
        progress = wait(lambda: service.progress(run), echo, arguments.timeout)
    except TimeIsUpError as error:
        echo(f"vivit: {error}. Follow it:\n  {_follow(words, run)}")
        return _TIME_IS_UP
    except (KeyboardInterrupt, NoAnswerError):
        echo(f"\nThe run goes on by itself. Follow it:\n  {_follow(words, run)}")
        raise
    for line in ending(progress, service.link(run)):
        echo(line)
    if progress.state != "succeeded":
        return 1
    for line in models(progress.workdir, progress.created):
        echo(line)
    return 0


def _follow(words: Sequence[str], run: str) -> str:
    return shlex.join([typed_command(), "submit", *words, "--follow", run])
