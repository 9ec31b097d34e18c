"""The compiled spec, executed as a cluster would: every container command as a subprocess."""

from __future__ import annotations

import json
import multiprocessing
import os
import runpy
import sys
from pathlib import Path

import pytest
import yaml

from kubeflow.compile import compile_recipe
from tests.conftest import TINY, UNGATED

_ROOT = Path(__file__).parents[2]
# A step has a process of its own, as in a container, forked from one that has imported TFX: that takes seconds.
_CONTAINERS = multiprocessing.get_context("forkserver")
_CONTAINERS.set_forkserver_preload(["tfx.v1", "tensorflow_model_analysis"])


class Cluster:
    """Runs the tasks of compiled pipelines in the order of their dependencies, on this machine.

    A task whose container, parameters and input artifacts are those of an earlier run is taken from there, unless its
    caching is off, as Kubeflow does.
    """

    def __init__(self, root: Path):
        self._root, self._runs, self._cache = root, 0, {}

    def run(self, spec: dict) -> set[str]:
        """Runs every task; returns the names of those that were not taken from an earlier run."""
        self._spec, self._artifacts = spec, {}
        self._folder, self._runs = self._root / f"run{self._runs}", self._runs + 1
        self._folder.mkdir(parents=True)
        tasks, done, executed = spec["root"]["dag"]["tasks"], set(), set()
        while len(done) < len(tasks):
            ready = [n for n, t in tasks.items() if n not in done and done.issuperset(t.get("dependentTasks", ()))]
            assert ready, f"the tasks wait for each other: {set(tasks) - done}"
            for name in ready:
                if self._run_task(name, tasks[name]):
                    executed.add(name)
                done.add(name)
        return executed

    def outputs(self, task: str, key: str) -> dict:
        """An output artifact of the last run: uri and metadata."""
        return self._artifacts[task, key]

    def _run_task(self, name: str, task: dict) -> bool:
        component = self._spec["components"][task["componentRef"]["name"]]
        executor = self._spec["deploymentSpec"]["executors"][component["executorLabel"]]
        invocation = self._invocation(name, task, component)
        key = json.dumps([name, executor, invocation["inputs"]], sort_keys=True)
        known = task["cachingOptions"]["enableCache"] and key in self._cache
        if not known:
            self._cache[key] = self._execute(name, executor["container"], invocation)
        self._artifacts |= {(name, output): artifact for output, artifact in self._cache[key].items()}
        return not known

    def _execute(self, name: str, container: dict, invocation: dict) -> dict[str, dict]:
        for step in (container.get("lifecycle", {}).get("preCacheCheck"), container):
            if step:
                self._run_container(name, step, invocation)
        with open(invocation["outputs"]["outputFile"]) as file:
            written = json.load(file)["artifacts"]
        produced = {}
        for key, artifact in invocation["outputs"]["artifacts"].items():
            (found,) = written.get(key, {}).get("artifacts", [{}])
            produced[key] = {**artifact["artifacts"][0], **found}
        return produced

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
                    {"name": f"{name}/{key}", "uri": str(self._folder / name / key), "type": output["artifactType"]}
                ]
            }
            for key, output in component.get("outputDefinitions", {}).get("artifacts", {}).items()
        }
        return {
            "inputs": {"parameterValues": parameters, "artifacts": artifacts},
            "outputs": {"artifacts": outputs, "outputFile": str(self._folder / name / "executor_output.json")},
        }

    def _run_container(self, name: str, step: dict, invocation: dict) -> None:
        command = [json.dumps(invocation) if word == "{{$}}" else word for word in [*step["command"], *step["args"]]]
        log = self._folder / f"{name}.log"
        process = _CONTAINERS.Process(target=_run_command, args=(command, str(self._root), str(log)))
        process.start()
        process.join()
        assert process.exitcode == 0, f"{name} failed:\n{log.read_text()[-4000:]}"


def _run_command(command: list[str], folder: str, log: str) -> None:
    """Runs ``python -m MODULE ARGUMENTS`` in this process, which only the step uses."""
    python, option, module, *arguments = command
    assert (python, option) == ("python", "-m")
    os.chdir(folder)
    # The image has the project installed; here it is on the path.
    os.environ["PYTHONPATH"] = str(_ROOT)
    with open(log, "a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _output_types(component: dict) -> dict[str, dict]:
    outputs = component.get("outputDefinitions", {}).get("artifacts", {})
    return {key: output["artifactType"] for key, output in outputs.items()}


@pytest.mark.end_to_end
def test_the_compiled_demo_runs_step_by_step_and_the_second_model_is_compared_with_the_first(small_demo, tmp_path):
    workdir, spec_file = tmp_path / "bucket", tmp_path / "pipeline.yaml"

    def spec(*overrides):
        settings = {"output": str(spec_file), "workdir": str(workdir), "image": "image", "data": str(small_demo)}
        compile_recipe("demo", [*TINY, *UNGATED, *overrides], **settings)
        return yaml.safe_load(spec_file.read_text())

    cluster = Cluster(workdir / "root")
    first = cluster.run(spec())
    assert first == set(spec()["root"]["dag"]["tasks"])
    assert cluster.outputs("ModelGate", "blessing")["metadata"]["blessed"] == 1
    assert cluster.outputs("ModelCanary", "blessing")["metadata"]["blessed"] == 1
    (version,) = (workdir / "pushed").iterdir()
    assert (version / "saved_model.pb").exists()

    second = cluster.run(spec("train.seed=1"))
    assert first - second == {
        "VideoExampleGen", "QuarantineGate", "StatisticsGen", "ImportSchemaGen", "ExampleValidator", "Transform",
        "ClipHasher",
    }  # fmt: skip
    with open(Path(cluster.outputs("ModelGate", "blessing")["uri"]) / "assessment.json") as file:
        assessment = json.load(file)
    assert assessment["production"] == version.name
    assert len(list((workdir / "pushed").iterdir())) == 2


def test_each_step_requests_its_resources(tmp_path):
    spec_file = tmp_path / "pipeline.yaml"
    compile_recipe("demo", output=str(spec_file), workdir="gs://bucket/run", image="image", accelerator="gpu:2")
    executors = yaml.safe_load(spec_file.read_text())["deploymentSpec"]["executors"]
    assert executors["Trainer_executor"]["container"]["resources"]["accelerator"] == {"type": "gpu", "count": "2"}
    assert executors["VideoExampleGen_executor"]["container"]["resources"]["memoryLimit"] == 16.0


def test_each_step_reads_the_manifest_that_the_spec_is_compiled_for_and_names_the_code_that_it_runs(tmp_path):
    spec_file, manifest = tmp_path / "pipeline.yaml", "gs://bucket/run/data/manifest-0123456789ab"
    compile_recipe("demo", output=str(spec_file), workdir="gs://bucket/run", image="image", manifest=manifest)
    tasks = yaml.safe_load(spec_file.read_text())["root"]["dag"]["tasks"]
    parameters = {
        name: {key: value["runtimeValue"]["constant"] for key, value in task["inputs"]["parameters"].items()}
        for name, task in tasks.items()
    }
    assert parameters["VideoExampleGen"]["input_base"] == manifest
    assert {parameters[name]["manifest_dir"] for name in ("QuarantineGate", "Scorer", "Review")} == {manifest}
    assert all(task["code"] for task in parameters.values())


def test_production_is_looked_up_in_every_run(tmp_path):
    spec_file = tmp_path / "pipeline.yaml"
    compile_recipe("demo", output=str(spec_file), workdir="gs://bucket/run", image="image")
    tasks = yaml.safe_load(spec_file.read_text())["root"]["dag"]["tasks"]
    assert tasks["Production"]["cachingOptions"] == {"enableCache": False}
    assert tasks["Scorer"]["cachingOptions"] == {"enableCache": True}


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
