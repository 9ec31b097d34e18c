"""Compiled specs, executed as a cluster would: every container command as it stands, from the spec alone."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from components.gates.smaller_models import read_forms
from kubeflow.compile import compile_recipe
from kubeflow.steps.prepare import prepare_run
from pipeline.settings import ConfigError
from tests.conftest import TINY, UNGATED
from tests.kubeflow.open_backend import OpenBackend, StepFailed


def _compiled(path, workdir, data="", *overrides):
    places = {"output": str(path), "workdir": str(workdir), "data": str(data)}
    compile_recipe("demo", [*TINY, *UNGATED, *overrides], image="image", label="first", **places)
    return yaml.safe_load(path.read_text())


@pytest.mark.end_to_end
def test_one_spec_trains_on_two_manifests_and_the_second_model_is_compared_with_the_first(small_demo, tmp_path):
    workdir, cluster = tmp_path / "bucket", OpenBackend(tmp_path / "cluster")
    spec = _compiled(tmp_path / "pipeline.yaml", workdir, small_demo, "push.smaller=float16", "push.max_smaller_drop=1")
    tasks = set(spec["root"]["dag"]["tasks"])
    assert cluster.run(spec) == tasks
    assert "clips" in cluster.log("Prepare")
    assert cluster.metadata("ModelGate", "blessing")["blessed"] == 1
    assert cluster.metadata("ModelCanary", "blessing")["blessed"] == 1
    (version,) = (workdir / "pushed").iterdir()
    assert (version / "saved_model.pb").exists()
    (form,) = read_forms(str(cluster.location("Compressor", "smaller")))
    assert not form.problems and form.size < form.full_size

    header, *rows = small_demo.read_text().splitlines()
    other = small_demo.with_name("other.csv")
    other.write_text("\n".join([header, *rows[:-1]]) + "\n")
    settings = spec["root"]["inputDefinitions"]["parameters"]["settings"]["defaultValue"]
    second = {
        "data": str(other),
        "label": "second",
        "epochs": 20,
        "settings": [*settings, "train.checkpoint_steps=5", "train.steps_per_execution=5"],
    }
    finished = set(workdir.glob("checkpoints/*"))

    def is_training(task):
        return task == "Trainer" and any(set(workdir.glob("checkpoints/*/checkpoint")))

    with pytest.raises(StepFailed, match="Trainer failed"):
        cluster.run(spec, lose=is_training, **second)
    assert set(workdir.glob("checkpoints/*")) - finished
    # Another machine of the cluster, which shares the workdir alone.
    assert cluster.run(spec, **second) == tasks - {
        "VideoExampleGen", "QuarantineGate", "StatisticsGen", "ImportSchemaGen", "ExampleValidator", "Transform",
        "ClipHasher",
    }  # fmt: skip
    (step,) = re.findall(r"going on from step (\d+)", cluster.log("Trainer"))
    assert 0 < int(step) < 20 * 40 // 8
    assessment = json.loads((cluster.location("ModelGate", "blessing") / "assessment.json").read_text())
    assert assessment["production"] == version.name
    assert len(list((workdir / "pushed").iterdir())) == 2
    records = [json.loads(path.read_text()) for path in (workdir / "candidates").glob("*/record.json")]
    epochs = {record["label"]: record["training"]["config"]["train"]["epochs"] for record in records}
    assert epochs == {"first": 1, "second": 20}


def test_a_manifest_that_cannot_be_used_fails_the_first_step_in_words(small_demo, tmp_path):
    spec = _compiled(tmp_path / "pipeline.yaml", tmp_path / "bucket")
    cluster = OpenBackend(tmp_path / "cluster")
    with pytest.raises(StepFailed, match="Prepare failed"):
        cluster.run(spec, data=str(tmp_path / "nothing.csv"))
    *_, last = cluster.log("Prepare").split("\nvivit: ")
    assert "nothing.csv" in last and "no such file or folder" in last


@pytest.fixture
def values(small_demo, tmp_path):
    """Parameters of a run."""
    spec = _compiled(tmp_path / "pipeline.yaml", tmp_path / "bucket", small_demo)
    return {
        name: parameter["defaultValue"] for name, parameter in spec["root"]["inputDefinitions"]["parameters"].items()
    }


@pytest.mark.parametrize(
    "changed, differ",
    [
        ({"learning_rate": 0.02}, {"Trainer", "Review"}),
        ({"min_top_1": 0.25}, {"ModelGate", "Review"}),
        ({"label": "another"}, {"Review"}),
        ({"settings": ["ingest.fps=5"]}, {"VideoExampleGen", "Trainer", "Review"}),
    ],
)
def test_a_parameter_changes_the_settings_of_the_steps_that_it_means(changed, differ, values):
    before = prepare_run("demo", values)
    changed = {**changed, "settings": values["settings"] + changed.get("settings", [])}
    after = prepare_run("demo", {**values, **changed})
    assert {task for task in before if before[task] != after[task]} == differ


def test_a_prepared_folder_stands_for_the_manifest_that_it_was_made_of(values):
    before = prepare_run("demo", values)
    folder = json.loads(before["VideoExampleGen"])["parameters"]["input_base"]
    after = prepare_run("demo", {**values, "data": folder})
    assert {task for task in before if before[task] != after[task]} == {"Review"}  # It names the source.


def test_a_setting_that_is_a_parameter_is_refused_among_the_others(values):
    with pytest.raises(ConfigError, match="settings has train.epochs: use the parameter epochs of the run"):
        prepare_run("demo", {**values, "settings": ["train.epochs=3"]})


def test_a_run_without_data_says_what_it_wants(values):
    with pytest.raises(ConfigError, match="parameter data is empty"):
        prepare_run("demo", {**values, "data": ""})
