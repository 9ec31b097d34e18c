"""A small pipeline spec, the `vivit submit` command, and servers that record what it sends."""

from __future__ import annotations

import contextlib
import os

import pytest
import yaml

from pipeline.cli import main
from tests.kubeflow.submit.recording import serving

PLATFORM = {"platforms": {"kubernetes": {"deploymentSpec": {"executors": {"Trainer_executor": {}}}}}}


def pipeline_spec(workdir="gs://bucket/work", image="registry/vivit:1"):
    """Two steps, with a parameter of each type."""

    def container(name):
        return {"container": {"image": image, "command": ["python"], "args": ["-m", name, "{{$}}"]}}

    return {
        "pipelineInfo": {"name": "vivit-demo"},
        "schemaVersion": "2.1.0",
        "sdkVersion": "tfx-1.16.0",
        "defaultPipelineRoot": f"{workdir}/kubeflow",
        "components": {name: {"executorLabel": f"{name}_executor"} for name in ("Prepare", "Trainer")},
        "deploymentSpec": {"executors": {f"{name}_executor": container(name) for name in ("Prepare", "Trainer")}},
        "root": {
            "inputDefinitions": {
                "parameters": {
                    "data": {"parameterType": "STRING", "description": "manifest"},
                    "workdir": {"parameterType": "STRING", "defaultValue": workdir},
                    "epochs": {"parameterType": "NUMBER_DOUBLE", "defaultValue": 8.0},
                    "batch_size": {"parameterType": "NUMBER_INTEGER", "isOptional": True},
                    "mixup": {"parameterType": "BOOLEAN", "isOptional": True},
                    "settings": {"parameterType": "LIST", "defaultValue": ["push.approval=required"]},
                    "limits": {"parameterType": "STRUCT", "isOptional": True},
                }
            },
            "dag": {
                "tasks": {
                    "Trainer": {
                        "taskInfo": {"name": "Trainer"},
                        "componentRef": {"name": "Trainer"},
                        "dependentTasks": ["Prepare"],
                        "cachingOptions": {"enableCache": True},
                    },
                    "Prepare": {"taskInfo": {"name": "Prepare"}, "componentRef": {"name": "Prepare"}},
                }
            },
        },
    }


@pytest.fixture
def write_spec(tmp_path):
    """Writes documents, by default the small pipeline and its platform, as a spec; gives its path."""

    def write(*documents, name="pipeline.yaml"):
        path = tmp_path / name
        path.write_text(yaml.safe_dump_all(documents or (pipeline_spec(), PLATFORM)))
        return str(path)

    return write


@pytest.fixture(autouse=True)
def no_settings(tmp_path, monkeypatch):
    """The client finds nothing of this machine's user."""
    kfp = pytest.importorskip("kfp")
    monkeypatch.setattr(kfp.Client, "_LOCAL_KFP_CONTEXT", str(tmp_path / "context.json"))
    for name in [name for name in os.environ if name.startswith("KF_PIPELINES_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def serve():
    """Starts servers; they end with the test."""
    with contextlib.ExitStack() as stack:
        yield lambda server: stack.enter_context(serving(server))


@pytest.fixture
def submit(capfd):
    """Runs `vivit submit`; gives its exit status and what it shows."""

    def run(*arguments):
        status = main(["submit", *map(str, arguments)])
        shown, errors = capfd.readouterr()
        assert errors == ""
        assert "Traceback" not in shown
        return status, shown

    return run
