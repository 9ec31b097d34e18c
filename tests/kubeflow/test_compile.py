"""What `vivit compile` writes, read as the open backend reads it."""

from __future__ import annotations

import json

import pytest
import yaml
from kfp import components

from kubeflow.compile import compile_recipe
from pipeline import recipes
from pipeline.settings import ConfigError
from tests.kubeflow.open_backend import refusals


@pytest.fixture
def compiled(tmp_path):
    """Compiles a recipe and reads the file."""

    def make(recipe="demo", overrides=(), **arguments):
        path = tmp_path / "pipeline.yaml"
        settings = {"workdir": "gs://bucket/run", "image": "image", "echo": lambda line: None, **arguments}
        compile_recipe(recipe, overrides, output=str(path), **settings)
        return yaml.safe_load(path.read_text())

    return make


@pytest.mark.parametrize("recipe", recipes.names())
def test_the_spec_of_every_recipe_is_one_that_the_open_backend_accepts(recipe, compiled, tmp_path):
    spec = compiled(recipe)
    assert refusals(spec) == []
    assert {kind for executor in spec["deploymentSpec"]["executors"].values() for kind in executor} == {"container"}
    # Hooks, which that backend ignores.
    assert not any("lifecycle" in executor["container"] for executor in spec["deploymentSpec"]["executors"].values())
    assert spec["pipelineInfo"]["name"] == f"vivit-{recipe.replace('_', '-')}"
    assert spec["defaultPipelineRoot"] == "gs://bucket/run/kubeflow"
    loaded = components.load_component_from_file(str(tmp_path / "pipeline.yaml"))
    assert loaded.name == spec["pipelineInfo"]["name"]
    assert set(loaded.component_spec.inputs) == set(spec["root"]["inputDefinitions"]["parameters"])


def test_a_run_has_parameters_with_the_types_and_the_values_that_the_recipe_has(compiled):
    spec = compiled("small", ["train.epochs=7", "clip.stride=3"], data="gs://bucket/m.csv", label="first")
    parameters = spec["root"]["inputDefinitions"]["parameters"]
    kinds = {name: parameter["parameterType"] for name, parameter in parameters.items()}
    assert kinds == {
        "data": "STRING", "workdir": "STRING", "label": "STRING", "init_from": "STRING", "settings": "LIST",
        "epochs": "NUMBER_DOUBLE", "learning_rate": "NUMBER_DOUBLE", "min_top_1": "NUMBER_DOUBLE",
        "max_top_1_drop": "NUMBER_DOUBLE", "batch_size": "NUMBER_INTEGER",
    }  # fmt: skip
    values = {name: parameter["defaultValue"] for name, parameter in parameters.items()}
    assert values == {
        "data": "gs://bucket/m.csv", "workdir": "gs://bucket/run", "label": "first", "init_from": "",
        "settings": ["clip.stride=3"], "epochs": 7, "learning_rate": 5e-4, "min_top_1": 0, "max_top_1_drop": 0.01,
        "batch_size": 16,
    }  # fmt: skip
    assert all(parameter["isOptional"] and parameter["description"] for parameter in parameters.values())


def test_each_step_waits_for_the_first_one_which_makes_its_settings(compiled):
    spec = compiled()
    tasks = spec["root"]["dag"]["tasks"]
    for name, task in tasks.items():
        if name != "Prepare":
            assert "Prepare" in task["dependentTasks"]
            source = {"producerTask": "Prepare", "outputParameterKey": name}
            assert task["inputs"]["parameters"] == {"properties": {"taskOutputParameter": source}}
    written = json.dumps(spec["deploymentSpec"])
    assert "gs://" not in written, "a path of the workdir would stay though a run names another"


def test_what_may_change_behind_its_name_is_looked_at_in_every_run(compiled):
    tasks = compiled()["root"]["dag"]["tasks"]
    assert {name for name, task in tasks.items() if not task["cachingOptions"]["enableCache"]} == {
        "Prepare",
        "Production",
    }


def test_a_workdir_that_is_a_folder_leaves_the_root_to_the_cluster(compiled):
    assert "defaultPipelineRoot" not in compiled(workdir="/mnt/vivit")


def test_each_step_requests_its_resources(compiled):
    executors = compiled(accelerator="nvidia.com/gpu:2")["deploymentSpec"]["executors"]
    resources = {name: executor["container"]["resources"] for name, executor in executors.items()}
    assert resources["Trainer_executor"]["accelerator"] == {"type": "nvidia.com/gpu", "count": "2"}
    assert resources["VideoExampleGen_executor"]["memoryLimit"] == 8 * 2**30 / 1e9
    assert resources["QuarantineGate_executor"]["cpuLimit"] == 1.0


def test_a_teams_file_says_what_each_step_gets(tmp_path):
    spec_file, team, given = tmp_path / "pipeline.yaml", tmp_path / "cluster.yaml", {"workdir": "gs://bucket/run"}
    lines, given = [], {**given, "image": "image", "output": str(spec_file), "cluster": str(team)}
    team.write_text("""
        service_account: vivit-runs
        defaults: {labels: {team: video}}
        steps: {VideoExampleGen: {cpu: 3}, Trainer: {accelerator: {type: nvidia.com/gpu}, retries: {count: 2}}}
    """)
    compile_recipe("demo", echo=lines.append, **given)
    spec, platform = yaml.safe_load_all(spec_file.read_text())
    executors, tasks = spec["deploymentSpec"]["executors"], spec["root"]["dag"]["tasks"]
    assert "--direct_num_workers=3" in executors["VideoExampleGen_executor"]["container"]["args"]
    assert executors["VideoExampleGen_executor"]["container"]["resources"]["cpuLimit"] == 3.0
    assert tasks["Trainer"]["retryPolicy"]["maxRetryCount"] == 2
    configs = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert set(configs) == set(executors)
    assert configs["Trainer_executor"] == {"podMetadata": {"labels": {"team": "video"}}}
    assert components.load_component_from_file(str(spec_file)).platform_spec.platforms["kubernetes"]
    assert any("service account vivit-runs" in line for line in lines)

    with pytest.raises(ConfigError, match="^defaults.labels: Vertex has no labels"):
        compile_recipe("demo", backend="vertex", **given)
    with pytest.raises(ConfigError, match="--accelerator nvidia.com/gpu:1, and .*cluster.yaml names one too"):
        compile_recipe("demo", accelerator="nvidia.com/gpu:1", **given)


def test_each_beam_step_gets_the_runner_and_ingest_its_decoders(compiled):
    executors = compiled(beam=["runner=FlinkRunner", "flink_master=host:8081"])["deploymentSpec"]["executors"]
    for step in ("VideoExampleGen", "StatisticsGen", "Transform", "Evaluator"):
        assert {"--runner=FlinkRunner", "--flink_master=host:8081"} <= set(
            executors[f"{step}_executor"]["container"]["args"]
        )
    assert "--direct_num_workers=4" in executors["VideoExampleGen_executor"]["container"]["args"]
