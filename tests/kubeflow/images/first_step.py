"""Runs inside an image, given to its Python: compiles a spec there and executes its first step, on a few videos.

Prints JSON: the tasks whose settings the step has answered with.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from pipeline.demo_data import write_demo_data


def first_invocation(spec, task, parameters, output):
    """What Kubeflow says to the container of a task whose inputs are all the run's parameters."""
    known = spec["root"]["inputDefinitions"]["parameters"]
    given = {name: parameters.get(name, each.get("defaultValue")) for name, each in known.items()}
    inputs = task["inputs"]["parameters"].items()
    values = {name: given[source["componentInputParameter"]] for name, source in inputs}
    return {
        "inputs": {"parameterValues": values, "artifacts": {}},
        "outputs": {"artifacts": {}, "outputFile": str(output)},
    }


if __name__ == "__main__":
    folder = Path(tempfile.mkdtemp())
    manifest, workdir = write_demo_data(folder / "videos", train=24, eval=12), folder / "workdir"
    compiled = ["vivit", "compile", "--recipe", "demo", "--workdir", str(workdir), "--image", "image"]
    subprocess.run([*compiled, "--output", str(folder / "spec.yaml")], check=True, stdout=sys.stderr)
    # The second document is of the platform.
    spec = next(yaml.safe_load_all((folder / "spec.yaml").read_text()))
    (task,) = [each for each in spec["root"]["dag"]["tasks"].values() if not each.get("dependentTasks")]
    label = spec["components"][task["componentRef"]["name"]]["executorLabel"]
    container = spec["deploymentSpec"]["executors"][label]["container"]
    invocation = first_invocation(spec, task, {"data": str(manifest), "batch_size": 8.0}, folder / "output.json")
    words = [*container["command"], *container.get("args", ())]
    command = [json.dumps(invocation) if word == "{{$}}" else word for word in words]
    subprocess.run(command, check=True, stdout=sys.stderr)
    print(json.dumps(sorted(json.loads((folder / "output.json").read_text())["parameterValues"])))
