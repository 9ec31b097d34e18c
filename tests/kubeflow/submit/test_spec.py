"""What `vivit submit` refuses before it sends anything: status 2, one line, no request."""

import pytest
import yaml

from tests.kubeflow.submit.conftest import PLATFORM, pipeline_spec
from tests.kubeflow.submit.recording import Kfp, Server

DATA = ("--param", "data=gs://bucket/new.csv")


@pytest.fixture
def refusal(submit, serve):
    """The line that is shown of a command that sends nothing."""
    server = serve(Server(Kfp(("SUCCEEDED", {}))))

    def refused(*arguments):
        status, shown = submit(*arguments, "--host", server.address)
        assert status == 2
        assert not server.requests
        (line,) = shown.splitlines()
        assert line.startswith("vivit: ")
        return line

    return refused


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["epoch=3"], "unknown parameter 'epoch'; did you mean 'epochs'?"),
        (["zzz=3"], "unknown parameter 'zzz'; there are batch_size, data, epochs, limits, mixup, settings, workdir"),
        (["epochs"], "--param epochs: wanted KEY=VALUE"),
        (["epochs=many"], "parameter epochs is 'many'; it must be a number (NUMBER_DOUBLE)"),
        (["epochs=nan"], "parameter epochs is 'nan'; it must be a number (NUMBER_DOUBLE)"),
        (["batch_size=2.5"], "parameter batch_size is '2.5'; it must be a whole number (NUMBER_INTEGER)"),
        (["mixup=maybe"], "parameter mixup is 'maybe'; it must be true or false (BOOLEAN)"),
        (
            ["settings=[1"],
            """parameter settings is '[1'; it must be an item, or a JSON list such as ["a"] (LIST)""",
        ),
        (["limits=[1]"], """parameter limits is '[1]'; it must be a JSON object such as {"a": 1} (STRUCT)"""),
        (["epochs=1", "epochs=2"], "parameter epochs is given twice"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_parameter_that_does_not_fit(refusal, write_spec, words, said):
    given = [word for text in words for word in ("--param", text)]
    assert refusal(write_spec(), *DATA, *given) == f"vivit: {said}"


def test_a_parameter_without_a_default_must_be_given(refusal, write_spec):
    assert refusal(write_spec()) == "vivit: parameter data has no default; give it with --param"


@pytest.mark.parametrize(
    ("spec", "advice"),
    [
        (pipeline_spec(image="YOUR-REGISTRY/vivit-tfx:latest"), "compile the pipeline with --image"),
        (pipeline_spec(workdir="gs://YOUR-BUCKET/vivit"), "give --param workdir=… here, or compile"),
    ],
    ids=["image", "workdir"],
)
def test_a_placeholder_that_is_left(refusal, write_spec, spec, advice):
    line = refusal(write_spec(spec), *DATA)
    assert " is a placeholder; " in line
    assert advice in line


def test_a_placeholder_that_a_parameter_replaces_is_none(submit, serve, write_spec):
    server = serve(Server(Kfp(("SUCCEEDED", {}))))
    path = write_spec(pipeline_spec(workdir="gs://YOUR-BUCKET/vivit"))
    assert submit(path, *DATA, "--param", "workdir=gs://mine/w", "--host", server.address)[0] == 0


def test_a_file_that_there_is_not(refusal, tmp_path):
    assert refusal(tmp_path / "no.yaml", *DATA).endswith("no.yaml: No such file or directory")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "is not YAML: "),
        ("", "is not a pipeline spec; `vivit compile` writes one"),
        ("recipe: demo", "is not a pipeline spec; `vivit compile` writes one"),
        (yaml.safe_dump({**pipeline_spec(), "rooot": {}}), 'has no field named "rooot"'),
        (yaml.safe_dump_all([pipeline_spec(), {"platform": {}}]), 'has no field named "platform"'),
        (yaml.safe_dump_all([pipeline_spec(), PLATFORM, PLATFORM]), "has 3 YAML documents"),
        (
            yaml.safe_dump({"pipelineInfo": {"name": "demo"}, "root": None}),
            "has no pipelineInfo.name or no task in root.dag",
        ),
    ],
    ids=["no YAML", "empty", "a recipe", "a field", "a field of the platform", "documents", "no task"],
)
def test_a_file_that_is_no_spec(refusal, tmp_path, text, said):
    path = tmp_path / "pipeline.yaml"
    path.write_text(text)
    line = refusal(path, *DATA)
    assert str(path) in line
    assert said in line


def test_a_name_that_the_client_does_not_read(refusal, write_spec):
    assert refusal(write_spec(name="pipeline.json"), *DATA).endswith("ends with .yaml or .yml")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--wait", "--schedule", "0 3 * * *"], "--schedule makes no run that could be waited for"),
        (["--timeout", "3"], "--timeout is the time of --wait or --follow"),
        (["--follow", "run-1"], "give either PIPELINE.yaml, or --follow"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_options_that_do_not_go_together(refusal, write_spec, arguments, said):
    assert said in refusal(write_spec(), *DATA, *arguments)


def test_what_is_of_a_new_run_is_not_for_one_that_runs(refusal):
    assert "--param is of a new run" in refusal("--follow", "run-1", *DATA)


def test_no_server(submit, write_spec):
    status, shown = submit(write_spec(), *DATA)
    assert status == 2
    assert shown.startswith("vivit: give --host URL of Kubeflow Pipelines (or KF_PIPELINES_ENDPOINT), or --vertex ")
