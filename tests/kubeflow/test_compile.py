"""The compiled spec, executed as a cluster would: every container command as a subprocess."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from kubeflow.compile import compile_recipe
from tests.conftest import TINY, UNGATED

_ROOT = Path(__file__).parents[2]


class Cluster:
    """Runs the tasks of a compiled pipeline in the order of their dependencies, on this machine."""

    def __init__(self, spec: dict, root: Path):
        self._spec, self._root = spec, root
        self._artifacts: dict[tuple[str, str], dict] = {}
        root.mkdir(parents=True)

    def run(self) -> None:
        """Runs every task."""
        tasks, done = self._spec["root"]["dag"]["tasks"], set()
        while len(done) < len(tasks):
            ready = [n for n, t in tasks.items() if n not in done and done.issuperset(t.get("dependentTasks", ()))]
            assert ready, f"the tasks wait for each other: {set(tasks) - done}"
            for name in ready:
                self._run_task(name, tasks[name])
                done.add(name)

    def outputs(self, task: str, key: str) -> dict:
        """An output artifact: uri and metadata."""
        return self._artifacts[task, key]

    def _run_task(self, name: str, task: dict) -> None:
        component = self._spec["components"][task["componentRef"]["name"]]
        executor = self._spec["deploymentSpec"]["executors"][component["executorLabel"]]
        invocation = self._invocation(name, task, component)
        container = executor["container"]
        for step in (container.get("lifecycle", {}).get("preCacheCheck"), container):
            if step:
                self._run_container(name, step, invocation)
        with open(invocation["outputs"]["outputFile"]) as file:
            written = json.load(file)["artifacts"]
        for key, artifact in invocation["outputs"]["artifacts"].items():
            (produced,) = written.get(key, {}).get("artifacts", [{}])
            self._artifacts[name, key] = {**artifact["artifacts"][0], **produced}

    def _invocation(self, name: str, task: dict, component: dict) -> dict:
        inputs = task.get("inputs", {})
        parameters = {key: value["runtimeValue"]["constant"] for key, value in inputs.get("parameters", {}).items()}
        artifacts = {}
        for key, source in inputs.get("artifacts", {}).items():
            source = source["taskOutputArtifact"]
            found = self._artifacts.get((source["producerTask"], source["outputArtifactKey"]))
            if found:
                artifacts[key] = {"artifacts": [found]}
        outputs = {
            key: {
                "artifacts": [
                    {"name": f"{name}/{key}", "uri": str(self._root / name / key), "type": output["artifactType"]}
                ]
            }
            for key, output in component.get("outputDefinitions", {}).get("artifacts", {}).items()
        }
        return {
            "inputs": {"parameterValues": parameters, "artifacts": artifacts},
            "outputs": {"artifacts": outputs, "outputFile": str(self._root / name / "executor_output.json")},
        }

    def _run_container(self, name: str, step: dict, invocation: dict) -> None:
        filled = [json.dumps(invocation) if arg == "{{$}}" else arg for arg in step["args"]]
        command = [sys.executable if word == "python" else word for word in step["command"]]
        # The image has the project installed; here it is on the path.
        environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
        done = subprocess.run([*command, *filled], cwd=self._root, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{name} failed:\n{done.stderr[-4000:]}"


def _output_types(component: dict) -> dict[str, dict]:
    outputs = component.get("outputDefinitions", {}).get("artifacts", {})
    return {key: output["artifactType"] for key, output in outputs.items()}


@pytest.mark.end_to_end
def test_the_compiled_demo_runs_step_by_step_to_a_pushed_model(small_demo, tmp_path):
    workdir, spec_file = tmp_path / "bucket", tmp_path / "pipeline.yaml"
    compile_recipe(
        "demo",
        [*TINY, *UNGATED],
        output=str(spec_file),
        workdir=str(workdir),
        image="image",
        data=str(small_demo),
        echo=print,
    )
    spec = yaml.safe_load(spec_file.read_text())
    cluster = Cluster(spec, workdir / "root")
    cluster.run()

    assert cluster.outputs("ModelGate", "blessing")["metadata"]["blessed"] == 1
    assert cluster.outputs("ModelCanary", "blessing")["metadata"]["blessed"] == 1
    (version,) = (workdir / "pushed").iterdir()
    assert (version / "saved_model.pb").exists()


def test_each_step_requests_its_resources(tmp_path):
    spec_file = tmp_path / "pipeline.yaml"
    compile_recipe("demo", output=str(spec_file), workdir="gs://bucket/run", image="image", accelerator="gpu:2")
    executors = yaml.safe_load(spec_file.read_text())["deploymentSpec"]["executors"]
    assert executors["Trainer_executor"]["container"]["resources"]["accelerator"] == {"type": "gpu", "count": "2"}
    assert executors["VideoExampleGen_executor"]["container"]["resources"]["memoryLimit"] == 16.0


def test_each_beam_step_gets_the_runner_and_ingest_its_decoders(tmp_path):
    spec_file = tmp_path / "pipeline.yaml"
    beam = ["runner=FlinkRunner", "flink_master=host:8081"]
    compile_recipe("demo", output=str(spec_file), workdir="gs://bucket/run", image="image", beam=beam)
    executors = yaml.safe_load(spec_file.read_text())["deploymentSpec"]["executors"]
    for step in ("VideoExampleGen", "StatisticsGen", "Transform", "Evaluator"):
        assert {"--runner=FlinkRunner", "--flink_master=host:8081"} <= set(
            executors[f"{step}_executor"]["container"]["args"]
        )
    assert "--direct_num_workers=8" in executors["VideoExampleGen_executor"]["container"]["args"]
