"""`vivit submit --vertex`: the real google-cloud-aiplatform against a server that records its requests.

The client speaks REST here, to an address of this machine and without credentials; at Google it speaks gRPC. What a
request holds is the same.
"""

import pytest

from tests.kubeflow.submit.conftest import PLATFORM, pipeline_spec
from tests.kubeflow.submit.recording import Server, Vertex

DATA = ("--param", "data=gs://bucket/new.csv")
PLACE = ("--vertex", "p/europe-west4")
HOME = "/v1/projects/p/locations/europe-west4"
RAN = {"Prepare": ("SKIPPED", ""), "Trainer": ("SUCCEEDED", "")}


@pytest.fixture
def vertex(serve, monkeypatch):
    """Vertex AI and Cloud Storage on this machine."""
    aiplatform = pytest.importorskip("google.cloud.aiplatform")
    from google.auth.credentials import AnonymousCredentials

    def start(answer):
        server = serve(Server(answer))
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.address)
        aiplatform.init(api_endpoint=server.address, api_transport="rest", credentials=AnonymousCredentials())
        return server

    yield start
    aiplatform.initializer.global_config.__init__()


def test_a_pipeline_job_is_created_with_its_parameters_and_its_root(submit, vertex, write_spec):
    server = vertex(Vertex(("RUNNING", {})))
    status, shown = submit(
        *(write_spec(), *PLACE, *DATA, "--name", "monday", "--param", "epochs=3", "--param", "settings=train.seed=1"),
        *("--param", "workdir=gs://other/w", "--service-account", "sa@p.iam.gserviceaccount.com"),
    )
    assert status == 0
    (request,) = server.sent("POST", f"{HOME}/pipelineJobs")
    assert request.query["pipelineJobId"].startswith("vivit-demo-20")
    body = request.body
    assert body["displayName"] == "monday"
    assert body["serviceAccount"] == "sa@p.iam.gserviceaccount.com"
    assert body["pipelineSpec"] == pipeline_spec()
    assert body["runtimeConfig"] == {
        "gcsOutputDirectory": "gs://other/w/kubeflow",
        "parameterValues": {
            "data": "gs://bucket/new.csv",
            "epochs": 3.0,
            "settings": ["push.approval=required", "train.seed=1"],
            "workdir": "gs://other/w",
        },
    }
    assert "does not read the second document" in shown
    job = request.query["pipelineJobId"]
    assert f"/locations/europe-west4/pipelines/runs/{job}?project=p" in shown
    assert f"vivit submit --vertex p/europe-west4 --follow {job}" in shown


def test_no_cache_turns_it_off_for_every_step(submit, vertex, write_spec):
    server = vertex(Vertex(("RUNNING", {})))
    assert submit(write_spec(pipeline_spec(), PLATFORM), *PLACE, *DATA, "--no-cache")[0] == 0
    (request,) = server.sent("POST", f"{HOME}/pipelineJobs")
    tasks = request.body["pipelineSpec"]["root"]["dag"]["tasks"].values()
    assert [task["cachingOptions"] for task in tasks] == [{"enableCache": False}] * 2


def test_a_schedule_runs_one_at_a_time_and_has_a_name_of_its_own(submit, vertex, write_spec):
    server = vertex(Vertex(("RUNNING", {})))
    command = (write_spec(), *PLACE, *DATA, "--schedule", "30 3 * * MON")
    status, shown = submit(*command)
    assert status == 0
    (request,) = server.sent("POST", f"{HOME}/schedules")
    assert request.body["cron"] == "30 3 * * MON"
    assert request.body["displayName"] == "vivit-demo"
    assert request.body["maxConcurrentRunCount"] == "1"
    job = request.body["createPipelineJobRequest"]["pipelineJob"]
    assert job["runtimeConfig"]["gcsOutputDirectory"] == "gs://bucket/work/kubeflow"
    assert job["runtimeConfig"]["parameterValues"] == {"data": "gs://bucket/new.csv"}
    assert "/pipelines/schedules/7?project=p" in shown
    status, shown = submit(*command)
    assert status == 1
    assert "has a schedule 'vivit-demo' already" in shown
    assert len(server.sent("POST", f"{HOME}/schedules")) == 1


def test_waiting_shows_the_steps_and_ends_with_0(submit, vertex, write_spec):
    vertex(
        Vertex(
            ("PENDING", {}),
            ("RUNNING", {"Prepare": ("SKIPPED", ""), "Trainer": ("RUNNING", "")}),
            ("SUCCEEDED", RAN),
        )
    )
    spec = pipeline_spec(workdir="gs://bucket/work")
    spec["root"]["inputDefinitions"]["parameters"]["workdir"]["defaultValue"] = "/nowhere/work"
    status, shown = submit(write_spec(spec), *PLACE, *DATA, "--wait")
    assert status == 0
    steps = [" ".join(line.split()) for line in shown.splitlines() if line.startswith(("  Prepare", "  Trainer"))]
    assert steps == ["Prepare from cache", "Trainer running", "Trainer succeeded 3 min 12 s"]
    assert "1 step ran, 1 unchanged from cache" in shown


def test_a_step_that_fails_is_named_with_its_error_and_its_log(submit, vertex, write_spec):
    vertex(Vertex(("FAILED", {"Prepare": ("FAILED", "Job failed: exit status 1")})))
    status, shown = submit(write_spec(), *PLACE, *DATA, "--wait")
    assert status == 1
    assert shown.endswith(
        "The run failed at Prepare.\n"
        "  Prepare: Job failed: exit status 1\n"
        "    its log: gcloud ai custom-jobs stream-logs projects/p/locations/europe-west4/customJobs/5\n"
    )


def test_a_run_is_followed_by_its_id(submit, vertex, write_spec):
    server = vertex(Vertex(("CANCELLED", RAN)))
    assert submit(write_spec(), *PLACE, *DATA)[0] == 0
    status, shown = submit(*PLACE, "--follow", server.sent("POST", f"{HOME}/pipelineJobs")[0].query["pipelineJobId"])
    assert status == 1
    assert "The run was stopped" in shown


@pytest.mark.parametrize(
    ("code", "said"),
    [
        # The client tries to renew the credentials.
        (401, "does not know you: Anonymous credentials cannot be refreshed. Run `gcloud auth application-default"),
        (403, "no. The role is Vertex AI User, and Service Account User of the account of the steps"),
        (400, "refuses (400): "),
    ],
)
def test_what_vertex_refuses_is_one_line_in_words(submit, vertex, write_spec, code, said):
    vertex(lambda request: (code, {"error": {"code": code, "message": "no."}}))
    status, shown = submit(write_spec(pipeline_spec()), *PLACE, *DATA)
    assert status == 1
    (line,) = shown.split("\n")[1:-1]
    assert line.startswith("vivit: Vertex AI in p/europe-west4 ")
    assert said in line


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--vertex", "p"), "--vertex p: wanted PROJECT/REGION"),
        (("--vertex", "p/europe-west44"), "unknown region of Vertex AI 'europe-west44'; did you mean 'europe-west4'?"),
        ((*PLACE, "--experiment", "e"), "--experiment is of Kubeflow Pipelines; leave it out with --vertex"),
        ((*PLACE, "--schedule", "5 0 3 * * *"), "Vertex AI knows no seconds"),
        (
            (*PLACE, "--param", "workdir=s3://bucket/w"),
            "s3://bucket/w/kubeflow; Vertex AI keeps artifacts at gs://",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_is_asked_wrongly_sends_nothing(submit, vertex, write_spec, arguments, said):
    server = vertex(Vertex(("RUNNING", {})))
    status, shown = submit(write_spec(pipeline_spec()), *DATA, *arguments)
    assert status == 2
    assert said in shown
    assert not server.requests
