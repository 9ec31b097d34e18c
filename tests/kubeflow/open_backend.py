"""Kubeflow Pipelines' open backend as far as a spec sees it: what it refuses, resolves, hands to containers and caches.

The rules are those of kubeflow/pipelines at 7b70c7b (August 2026), below backend/src/v2: compiler/visitor.go:134 and
compiler/argocompiler/dag.go:349 (containers and importers only), driver/resolver/parameters.go (where a parameter comes
from), component/launcher_v2.go (placeholders; output_metadata.json; artifacts whose local path does not exist are not
copied), cacheutils/cache.go (what makes a task's fingerprint).
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests import processes

# Where artifacts go when neither spec nor run says: a store that TensorFlow cannot read.
_DEFAULT_ROOT = "minio://mlpipeline/v2/artifacts"


class StepFailed(Exception):
    """A container ended with another status than 0."""


def refusals(spec: Mapping[str, Any]) -> list[str]:
    """Why the backend's compiler would refuse a spec."""
    executors, components, found = spec["deploymentSpec"]["executors"], spec["components"], []
    if "root" in components:
        found.append("component name root is reserved")
    for name, component in components.items():
        executor = executors.get(component.get("executorLabel"), {})
        if not {"container", "importer"} & set(executor):
            found.append(f"{name}: non-container and non-importer executor not implemented")
    for name, task in spec["root"]["dag"]["tasks"].items():
        if task["componentRef"]["name"] not in components:
            found.append(f"{name}: cannot find its component")
        if "artifactIterator" in task:
            found.append(f"{name}: artifact iterator not implemented")
        if set(task.get("dependentTasks", ())) - set(spec["root"]["dag"]["tasks"]):
            found.append(f"{name}: depends on a task that is not there")
    return found


class OpenBackend:
    """Runs pipelines on this machine, in the order of their dependencies, each container command as it stands."""

    def __init__(self, folder: Path):
        """Keeps logs and what containers write below `folder`."""
        self._folder, self._runs, self._cache = folder, 0, {}

    def run(
        self, spec: Mapping[str, Any], *, lose: Callable[[str], bool] = lambda task: False, **parameters: Any
    ) -> set[str]:
        """Runs every task; returns the names of those that were not taken from an earlier run.

        Args:
          spec: The pipeline.
          lose: Asked while a task runs whether to kill it, as where its machine is lost.
          **parameters: Of the run; the others have their defaults.
        """
        self._lose = lose
        definitions = spec["root"]["inputDefinitions"]["parameters"]
        assert set(parameters) <= set(definitions), "the run has parameters that the spec does not know"
        self._spec, self._artifacts, self._values = spec, {}, {}
        self._parameters = {
            name: parameters[name] if name in parameters else each["defaultValue"] for name, each in definitions.items()
        }
        self._run_folder, self._runs = self._folder / f"run{self._runs}", self._runs + 1
        self._run_folder.mkdir(parents=True)
        tasks, done, executed = spec["root"]["dag"]["tasks"], set(), set()
        while len(done) < len(tasks):
            ready = [n for n, t in tasks.items() if n not in done and done.issuperset(t.get("dependentTasks", ()))]
            assert ready, f"the tasks wait for each other: {set(tasks) - done}"
            for name in ready:
                if self._run_task(name, tasks[name]):
                    executed.add(name)
                done.add(name)
        return executed

    def location(self, task: str, key: str) -> Path:
        """Where the content of an output artifact of the last run is."""
        return Path(self._artifacts[task, key]["metadata"]["location"])

    def metadata(self, task: str, key: str) -> dict[str, Any]:
        """The metadata of an output artifact of the last run."""
        return self._artifacts[task, key]["metadata"]

    def log(self, task: str) -> str:
        """What the container of a task printed in the last run."""
        return (self._run_folder / f"{task}.log").read_text()

    def _run_task(self, name: str, task: dict) -> bool:
        component = self._spec["components"][task["componentRef"]["name"]]
        container = self._spec["deploymentSpec"]["executors"][component["executorLabel"]]["container"]
        invocation = self._invocation(name, task, component)
        key = json.dumps([name, container, invocation["inputs"]], sort_keys=True)
        known = task["cachingOptions"]["enableCache"] and key in self._cache
        if not known:
            self._cache[key] = self._execute(name, container, invocation)
        artifacts, values = self._cache[key]
        self._artifacts |= {(name, output): artifact for output, artifact in artifacts.items()}
        self._values |= {(name, output): value for output, value in values.items()}
        return not known

    def _execute(self, name: str, container: dict, invocation: dict) -> tuple[dict[str, dict], dict[str, Any]]:
        words = [*container["command"], *container["args"]]
        command = [json.dumps(invocation) if word == "{{$}}" else word for word in words]
        log = self._run_folder / f"{name}.log"
        python, option, *module = command
        assert (python, option) == ("python", "-m")
        # A step has a process of its own, as in a container, and nothing that another container left.
        home = tempfile.mkdtemp(dir=self._run_folder)
        process = processes.start(
            processes.run_module, *module, log=log, folder=self._run_folder,
            # The image has the project installed; here it is on the path.
            HOME=home, TMPDIR=home, PYTHONPATH=str(processes.ROOT),
        )  # fmt: skip
        while process.is_alive():
            process.join(0.05)
            if self._lose(name):
                process.kill()
        if process.exitcode:
            raise StepFailed(f"{name} failed:\n{log.read_text()[-4000:]}")
        with open(invocation["outputs"]["outputFile"]) as file:
            written = json.load(file)
        produced = {}
        for key, artifact in invocation["outputs"]["artifacts"].items():
            (found,) = written.get("artifacts", {}).get(key, {}).get("artifacts", [{}])
            produced[key] = {**artifact["artifacts"][0], **found}
        return produced, written.get("parameterValues", {})

    def _invocation(self, name: str, task: dict, component: dict) -> dict:
        inputs = task.get("inputs", {})
        artifacts = {
            key: {"artifacts": [self._artifacts[_source(value["taskOutputArtifact"], "outputArtifactKey")]]}
            for key, value in inputs.get("artifacts", {}).items()
        }
        root = self._spec.get("defaultPipelineRoot", _DEFAULT_ROOT)
        base = f"{root}/{self._spec['pipelineInfo']['name']}/{self._run_folder.name}/{name}"
        outputs = {
            key: {"artifacts": [{"name": f"{name}/{key}", "uri": f"{base}/{key}", "type": output["artifactType"]}]}
            for key, output in component.get("outputDefinitions", {}).get("artifacts", {}).items()
        }
        output_file = self._run_folder / "containers" / name / "output_metadata.json"
        values = {key: self._value(value) for key, value in inputs.get("parameters", {}).items()}
        return {
            "inputs": {"parameterValues": values, "artifacts": artifacts},
            "outputs": {"artifacts": outputs, "outputFile": str(output_file)},
        }

    def _value(self, source: dict) -> Any:
        if "componentInputParameter" in source:
            value = self._parameters[source["componentInputParameter"]]
        elif "taskOutputParameter" in source:
            value = self._values[_source(source["taskOutputParameter"], "outputParameterKey")]
        else:
            value = source["runtimeValue"]["constant"]
        # A number is a protobuf Value on its way.
        return float(value) if isinstance(value, int) else value


def _source(output: dict, key: str) -> tuple[str, str]:
    return output["producerTask"], output[key]
