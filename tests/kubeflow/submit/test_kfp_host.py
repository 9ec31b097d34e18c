"""`vivit submit --host`: kfp's own client against a server that records its requests."""

import datetime
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.kubeflow.submit.conftest import PLATFORM, pipeline_spec
from tests.kubeflow.submit.recording import Kfp, Server

ROOT = Path(__file__).parents[3]
DATA = ("--param", "data=gs://bucket/new.csv")
RUNS, RECURRING = "/apis/v2beta1/runs", "/apis/v2beta1/recurringruns"
DONE = ("SUCCEEDED", {"Prepare": "SUCCEEDED", "Trainer": "SUCCEEDED"})


def test_a_run_is_created_with_its_parameters_its_root_and_both_documents(submit, serve, write_spec):
    server = serve(Server(Kfp(DONE)))
    status, shown = submit(
        *(write_spec(), "--host", server.address, *DATA, "--name", "monday", "--experiment", "clips"),
        *(
            "--param",
            "epochs=3",
            "--param",
            "batch_size=4",
            "--param",
            "mixup=true",
            "--param",
            'limits={"top_1": 0.5}',
        ),
        *("--param", "settings=train.seed=1", "--param", "settings=ingest.fps=8"),
        *("--param", "workdir=gs://other/w/", "--service-account", "trainer"),
    )
    assert status == 0
    (request,) = server.sent("POST", RUNS)
    assert request.body["display_name"] == "monday"
    assert request.body["service_account"] == "trainer"
    assert request.body["runtime_config"] == {
        "parameters": {
            "data": "gs://bucket/new.csv",
            "epochs": 3.0,
            "batch_size": 4,
            "mixup": True,
            "limits": {"top_1": 0.5},
            "settings": ["push.approval=required", "train.seed=1", "ingest.fps=8"],
            "workdir": "gs://other/w/",
        },
        "pipeline_root": "gs://other/w/kubeflow",
    }
    assert request.body["pipeline_spec"]["pipeline_spec"] == pipeline_spec()
    assert request.body["pipeline_spec"]["platform_spec"] == PLATFORM
    (experiment,) = server.sent("POST", "/apis/v2beta1/experiments")
    assert experiment.body["display_name"] == "clips"
    assert request.body["experiment_id"] == "e-1"
    assert f"{server.address}/#/runs/details/run-1" in shown
    assert f"vivit submit --host {server.address} --follow run-1" in shown


def test_a_run_without_more_keeps_the_roots_and_the_caching_of_the_spec(submit, serve, write_spec):
    server = serve(Server(Kfp(DONE)))
    assert submit(write_spec(pipeline_spec()), "--host", server.address, *DATA)[0] == 0
    (request,) = server.sent("POST", RUNS)
    assert request.body["display_name"].startswith("vivit-demo 20")
    assert request.body["runtime_config"]["pipeline_root"] == "gs://bucket/work/kubeflow"
    assert request.body["pipeline_spec"] == pipeline_spec()


def test_no_cache_turns_it_off_for_every_step(submit, serve, write_spec):
    server = serve(Server(Kfp(DONE)))
    root = ("--pipeline-root", "gs://root")
    assert submit(write_spec(pipeline_spec()), "--host", server.address, *DATA, "--no-cache", *root)[0] == 0
    (request,) = server.sent("POST", RUNS)
    tasks = request.body["pipeline_spec"]["root"]["dag"]["tasks"].values()
    assert not any(task["cachingOptions"].get("enableCache") for task in tasks)
    assert request.body["runtime_config"]["pipeline_root"] == "gs://root"


def test_an_experiment_that_exists_is_used(submit, serve, write_spec):
    kfp = Kfp(DONE)
    kfp.experiments["Default"] = "e-7"
    server = serve(Server(kfp))
    assert submit(write_spec(), "--host", server.address, *DATA)[0] == 0
    assert server.sent("POST", RUNS)[0].body["experiment_id"] == "e-7"
    assert not server.sent("POST", "/apis/v2beta1/experiments")


def test_a_schedule_is_a_recurring_run_that_never_runs_twice_at_once(submit, serve, write_spec):
    server = serve(Server(Kfp(DONE)))
    status, shown = submit(write_spec(), "--host", server.address, *DATA, "--schedule", "30 3 * * MON-FRI")
    assert status == 0
    (request,) = server.sent("POST", RECURRING)
    assert request.body["display_name"] == "vivit-demo"
    assert request.body["trigger"] == {"cron_schedule": {"cron": "0 30 3 * * MON-FRI"}}
    assert (request.body["max_concurrency"], request.body["no_catchup"], request.body["mode"]) == (1, True, "ENABLE")
    assert request.body["runtime_config"]["parameters"] == {"data": "gs://bucket/new.csv"}
    assert request.body["pipeline_spec"]["platform_spec"] == PLATFORM
    assert "'0 30 3 * * MON-FRI'" in shown
    assert f"{server.address}/#/recurringrun/details/rr-1" in shown
    assert not server.sent("POST", RUNS)


def test_a_second_schedule_of_the_same_name_is_refused(submit, serve, write_spec):
    server = serve(Server(Kfp(DONE)))
    command = (write_spec(), "--host", server.address, *DATA, "--schedule", "0 3 * * *")
    assert submit(*command)[0] == 0
    status, shown = submit(*command)
    assert status == 1
    assert "has a recurring run 'vivit-demo' already" in shown
    assert submit(*command, "--name", "another")[0] == 0
    assert len(server.sent("POST", RECURRING)) == 2


def test_waiting_shows_each_step_as_it_changes_and_ends_with_0(submit, serve, write_spec):
    server = serve(
        Server(
            Kfp(
                ("PENDING", {}),
                ("RUNNING", {"Prepare": "RUNNING"}),
                ("RUNNING", {"Prepare": "RUNNING"}),
                ("RUNNING", {"Prepare": "CACHED", "Trainer": "RUNNING"}),
                ("SUCCEEDED", {"Prepare": "CACHED", "Trainer": "SUCCEEDED"}),
            )
        )
    )
    path = write_spec(pipeline_spec(workdir="/nowhere/work"))
    status, shown = submit(path, "--host", server.address, *DATA, "--wait")
    assert status == 0
    steps = [line.split() for line in shown.splitlines() if line.startswith(("  Prepare", "  Trainer"))]
    assert steps == [
        ["Prepare", "running"],
        ["Prepare", "from", "cache"],
        ["Trainer", "running"],
        ["Trainer", "succeeded", "3", "min", "12", "s"],
    ]
    assert "The run succeeded: 1 step ran, 1 unchanged from cache, 3 min 12 s in all." in shown
    assert "/nowhere/work/candidates/<id>/review.html" in shown


def test_a_step_that_fails_is_named_with_its_error_and_its_log_and_ends_with_1(submit, serve, write_spec):
    failed = ("FAILED", "This step is in Failed state with this message:\nOOMKilled (exit code 137)")
    server = serve(Server(Kfp(("RUNNING", {"Prepare": "RUNNING"}), ("FAILED", {"Prepare": failed}))))
    status, shown = submit(write_spec(), "--host", server.address, *DATA, "--wait")
    assert status == 1
    assert shown.endswith(
        "  Prepare  failed 3 min 12 s\n"
        "The run failed at Prepare.\n"
        "  Prepare: This step is in Failed state with this message: OOMKilled (exit code 137)\n"
        f"    its log: {server.address}/#/runs/details/run-1, step Prepare, tab Logs\n"
    )


def test_a_run_that_fails_before_a_step_shows_the_servers_reason(submit, serve, write_spec):
    server = serve(Server(Kfp(("FAILED", {}), error="the image cannot be pulled")))
    status, shown = submit(write_spec(), "--host", server.address, *DATA, "--wait")
    assert status == 1
    assert "The run failed before any step did.\n  the image cannot be pulled" in shown


def test_a_run_that_somebody_stopped_has_not_succeeded(submit, serve, write_spec):
    server = serve(Server(Kfp(("CANCELED", {"Prepare": "CANCELED"}))))
    status, shown = submit(write_spec(), "--host", server.address, *DATA, "--wait")
    assert status == 1
    assert "The run was stopped" in shown


def test_the_time_of_a_wait_ends_with_3_and_says_that_the_run_goes_on(submit, serve, write_spec):
    server = serve(Server(Kfp(("RUNNING", {"Prepare": "RUNNING"}))))
    status, shown = submit(write_spec(), "--host", server.address, *DATA, "--wait", "--timeout", "1")
    assert status == 3
    assert "the run has not ended in 1 s, and goes on" in shown
    assert f"vivit submit --host {server.address} --follow run-1" in shown


def test_a_run_is_followed_by_its_id(submit, serve, write_spec):
    server = serve(Server(Kfp(DONE)))
    assert submit(write_spec(pipeline_spec(workdir="/nowhere")), "--host", server.address, *DATA)[0] == 0
    status, shown = submit("--host", server.address, "--follow", "run-1")
    assert status == 0
    assert "Trainer  succeeded 3 min 12 s" in shown
    assert len(server.sent("POST", RUNS)) == 1


def test_a_run_that_there_is_not_cannot_be_followed(submit, serve):
    server = serve(Server(Kfp(DONE)))
    status, shown = submit("--host", server.address, "--follow", "run-9")
    assert (status, shown) == (
        1,
        f"\nvivit: {server.address} refuses (404): /apis/v2beta1/runs/run-9 not found\n",
    )


def test_a_server_that_does_not_answer_for_a_moment_is_asked_again(submit, serve, write_spec):
    kfp, looks = Kfp(DONE), iter((503, 503))

    def answer(request):
        looking = request.method == "GET" and request.path.startswith(RUNS)
        status = next(looks, None) if looking else None
        return (status, "busy") if status else kfp(request)

    server = serve(Server(answer))
    path = write_spec(pipeline_spec(workdir="/nowhere"))
    status, shown = submit(path, "--host", server.address, *DATA, "--wait")
    assert status == 0
    assert shown.count("cannot answer now (503); trying again …") == 1


REFUSED = {"error": "rbac", "code": 7, "message": "User 'kim' is not authorized to create runs"}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((401, "log in"), "does not know you (401). Give a token that is valid now with --token-file"),
        ((403, REFUSED), "(403): User 'kim' is not authorized to create runs. Ask for a role in your namespace"),
        ((404, "<html>nothing</html>"), "answers as Kubeflow Pipelines 2 (404); check --host"),
        ((400, {"message": "A namespace is\nrequired"}), "refuses (400): A namespace is required"),
        ((500, "<html>oh</html>"), "cannot answer now (500)"),
        ((200, "<html>Log in to Kubeflow</html>"), "it may be a page to log in"),
    ],
    ids=["401", "403", "404", "400", "500", "page"],
)
def test_what_a_server_refuses_is_one_line_in_words(submit, serve, write_spec, answer, said):
    server = serve(Server(lambda request: answer))
    begin = time.monotonic()
    status, shown = submit(write_spec(), "--host", server.address, *DATA)
    assert status == 1
    assert time.monotonic() - begin < 10
    (line,) = shown.split("\n")[1:-1]
    assert line.startswith("vivit: ")
    assert server.address in line
    assert said in line


def test_a_server_that_is_not_there_is_one_line_in_words(submit, write_spec):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    begin = time.monotonic()
    status, shown = submit(write_spec(), "--host", address, *DATA)
    assert status == 1
    assert time.monotonic() - begin < 10
    (line,) = shown.split("\n")[1:-1]
    assert line.startswith(f"vivit: {address} does not answer: Failed to establish a new connection: ")
    assert line.endswith("refused")


def test_a_token_is_read_from_its_file_for_every_request(submit, serve, write_spec, tmp_path):
    token = tmp_path / "token"
    token.write_text("first")
    kfp = Kfp(("RUNNING", {}), DONE)

    def answer(request):
        if request.method == "POST" and request.path == RUNS:
            token.write_text("second")
        return kfp(request)

    server = serve(Server(answer))
    command = (write_spec(pipeline_spec(workdir="/nowhere")), "--host", server.address, "--namespace", "kim")
    assert submit(*command, *DATA, "--token-file", token, "--wait")[0] == 0
    tokens = [request.headers.get("authorization") for request in server.requests]
    assert (tokens[0], tokens[-1]) == ("Bearer first", "Bearer second")
    assert server.sent("GET", "/apis/v2beta1/experiments")[0].query["namespace"] == "kim"
    assert server.sent("POST", "/apis/v2beta1/experiments")[0].body["namespace"] == "kim"


def test_the_host_and_its_pages_may_stand_in_the_clients_variables(submit, serve, write_spec, monkeypatch):
    server = serve(Server(Kfp(DONE)))
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", server.address)
    monkeypatch.setenv("KF_PIPELINES_UI_ENDPOINT", "https://ui/")
    status, shown = submit(write_spec(), *DATA)
    assert status == 0
    assert "https://ui/#/runs/details/run-1" in shown
    assert server.sent("POST", RUNS)


def test_ctrl_c_leaves_the_run_and_says_how_to_follow_it(serve, write_spec):
    server = serve(Server(Kfp(("RUNNING", {"Prepare": "RUNNING"}))))
    command = [sys.executable, "-m", "pipeline.cli", "submit", write_spec(), "--host", server.address, *DATA, "--wait"]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=-1,
        stderr=-1,
        text=True,
        # A shell has its background jobs, and what they start, ignore the signal.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        while not server.sent("GET", f"{RUNS}/run-1"):
            assert process.poll() is None
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        shown, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "The run goes on by itself. Follow it:" in shown
    assert f"submit --host {server.address} --follow run-1" in shown
    assert errors == "vivit: stopped\n"
    assert {request.method for request in server.requests if request.path.startswith(f"{RUNS}/")} == {"GET"}


def test_a_run_has_its_workdir_and_when_it_was_made_and_a_step_no_time_before_its_end(serve, write_spec):
    from kubeflow.submit.kfp_host import KfpHost
    from kubeflow.submit.spec import load_spec, make_job

    host = KfpHost(serve(Server(Kfp(("RUNNING", {"Prepare": "SUCCEEDED", "Trainer": "RUNNING"})))).address)
    run = host.submit(make_job(load_spec(write_spec()), ["data=x", "workdir=gs://w"], name="n"))
    found = host.progress(run.id)
    assert found.created == datetime.datetime(2026, 11, 1, 10, tzinfo=datetime.timezone.utc)
    assert found.workdir == "gs://w"
    assert [(step.name, step.state, step.seconds) for step in found.steps] == [
        ("Prepare", "succeeded", 192),
        ("Trainer", "running", None),
    ]
