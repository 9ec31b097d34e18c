"""What a file does to a spec, on open-source Kubeflow Pipelines and on Vertex."""

import pytest
import yaml
from kfp import components

from kubeflow.cluster.apply import apply_cluster, decoders
from kubeflow.cluster.config import Cluster, Step
from kubeflow.cluster.defaults import needs_of
from pipeline import recipes
from pipeline.recipe import load_recipe
from pipeline.settings import ConfigError

DEMO = load_recipe("demo")


def applied(spec, cluster, backend="kubernetes", accelerator=None):
    return apply_cluster(spec, cluster, backend=backend, needs=needs_of(DEMO, accelerator))


def container(spec, step="Trainer"):
    return spec["deploymentSpec"]["executors"][f"{step}_executor"]["container"]


def test_without_a_file_each_step_has_what_its_recipe_needs(spec):
    assert applied(spec, Cluster()) == {}
    gib = 2**30 / 1e9
    assert container(spec)["resources"] == {
        "cpuLimit": 8.0, "cpuRequest": 8.0, "memoryLimit": 16 * gib, "memoryRequest": 16 * gib,
    }  # fmt: skip
    assert container(spec, "VideoExampleGen")["resources"]["cpuLimit"] == 4.0
    assert "container" not in spec["deploymentSpec"]["executors"]["Weights_executor"]


def test_a_larger_network_needs_more_and_a_few_clips_less():
    trainer = {name: needs_of(load_recipe(name))["Trainer"].memory for name in recipes.names()}
    assert trainer["demo"] == trainer["small"] == trainer["probe"] == trainer["finetune"] == 16
    assert trainer["kinetics400_b"] == trainer["videomae_b"] == 64
    assert trainer["kinetics400_l_fe"] == trainer["epic_kitchens_l_fe"] == 128
    assert needs_of(DEMO)["ImportSchemaGen"] == Step(cpu=1.0, memory=4.0)


def test_the_short_form_gives_the_trainer_all_and_the_steps_that_run_the_network_one():
    needs = needs_of(DEMO, "nvidia.com/gpu:4")
    counts = {name: step.accelerator.count for name, step in needs.items() if step.accelerator}
    assert counts == {"Trainer": 4, "Scorer": 1, "ModelCanary": 1, "Compressor": 1}
    assert needs["Trainer"].accelerator.type == "nvidia.com/gpu"
    for wrong in ("gpu", "nvidia.com/gpu:0", ":1", "nvidia.com/gpu:many"):
        with pytest.raises(ConfigError, match=f"--accelerator {wrong}: wanted TYPE:COUNT"):
            needs_of(DEMO, wrong)
    with pytest.raises(ConfigError, match="name it in a file"):
        needs_of(DEMO, "google.com/tpu:8")


def test_a_step_has_an_image_of_its_own_and_keeps_its_command(spec, cluster):
    applied(spec, cluster("steps: {Trainer: {image: image-cuda}}"))
    assert (container(spec)["image"], container(spec)["command"]) == ("image-cuda", ["train"])
    assert container(spec, "VideoExampleGen")["image"] == "image"


def test_variables_are_added_to_those_of_the_step(spec, cluster):
    container(spec)["env"] = [{"name": "A", "value": "1"}, {"name": "B", "value": "1"}]
    applied(spec, cluster("steps: {Trainer: {environment: {B: '2'}, ephemeral_storage: 5}}"))
    assert {one["name"]: one["value"] for one in container(spec)["env"]} == {"A": "1", "B": "2", "TMPDIR": "/scratch"}


def test_ingest_decodes_as_many_videos_as_its_step_has_cores(cluster):
    needs = needs_of(DEMO)
    assert decoders(Cluster(), "kubernetes", needs) == 4
    assert decoders(cluster("steps: {VideoExampleGen: {cpu: 16}}"), "kubernetes", needs) == 16
    assert decoders(cluster("steps: {VideoExampleGen: {cpu: 500m}}"), "kubernetes", needs) == 1


def test_a_step_that_the_pipeline_does_not_have_names_the_nearest(spec, cluster):
    for part in ("steps: {Traner: {cpu: 1}}", "vertex: {steps: {Traner: {cpu: 1}}}"):
        with pytest.raises(ConfigError, match="unknown step 'Traner'; did you mean 'Trainer'?"):
            applied(spec, cluster(part))
    # An importer has no container.
    with pytest.raises(ConfigError, match="unknown step 'Weights'"):
        applied(spec, cluster("steps: {Weights: {cpu: 1}}"))


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("secrets: {a: {files: /x}, b: {files: /x/}}", "several volumes in the folder '/x'"),
        ("secrets: {a: {files: /x}}, volumes: {a: /y}", "several volumes of the name 'a'"),
        ("volumes: {a: /scratch}, ephemeral_storage: 5", "several volumes in the folder '/scratch'"),
        ("volumes: {a: mnt}", "the folder must begin with /"),
        ("volumes: {team.videos: /mnt}", "mounts 'team.videos'; KFP names the pod's volume after it"),
        ("environment: {A: '1'}, secrets: {s: {environment: {A: a}}}", "several values of the variable 'A'"),
        ("accelerator: {type: NVIDIA_L4}", "Kubernetes wants a resource of its nodes, e.g. nvidia.com/gpu"),
    ],
)
def test_a_pod_that_kubernetes_would_refuse_is_refused_here(keys, words, spec, cluster):
    with pytest.raises(ConfigError, match="Trainer") as error:
        applied(spec, cluster(f"steps: {{Trainer: {{{keys}}}}}"))
    assert words in str(error.value)


VERTEX = {
    "cpu": "cpu: 8",
    "memory": "memory: 52",
    "accelerator": "accelerator: {type: NVIDIA_H100_80GB, count: 8}",
    "workers": "workers: 1",
    "image": "image: image-cuda",
    "environment": "environment: {A: '1'}",
    "retries": "retries: {count: 2}",
}
NOT_ON_VERTEX = {
    "ephemeral_storage": "ephemeral_storage: 5",
    "storage_class": "storage_class: fast",
    "shared_memory": "shared_memory: 8",
    "image_pull_policy": "image_pull_policy: Always",
    "image_pull_secrets": "image_pull_secrets: [registry]",
    "secrets": "secrets: {s3-keys: {files: /keys}}",
    "config_maps": "config_maps: {proxies: {files: /proxies}}",
    "volumes": "volumes: {videos: /mnt}",
    "node_selector": "node_selector: {pool: videos}",
    "tolerations": "tolerations: [{key: spot}]",
    "labels": "labels: {team: video}",
    "annotations": "annotations: {team: video}",
    "timeout": "timeout: 12h",
}


def test_every_key_lands_on_vertex_or_is_refused():
    assert {*VERTEX, *NOT_ON_VERTEX} == set(Step.keys())
    assert not {*VERTEX} & {*NOT_ON_VERTEX}


def test_on_vertex_the_limits_choose_the_machine_and_accelerators_have_its_names(spec, cluster):
    stated = cluster(f"steps: {{Trainer: {{{', '.join(VERTEX.values())}}}}}")
    assert applied(spec, stated, "vertex") == {}
    assert container(spec) == {
        "command": ["train"],
        "env": [{"name": "A", "value": "1"}],
        "image": "image-cuda",
        "resources": {
            "accelerator": {"type": "NVIDIA_H100_80GB", "count": "8"},
            "cpuLimit": 8.0,
            "memoryLimit": 52 * 2**30 / 1e9,
        },
    }
    retries = spec["root"]["dag"]["tasks"]["Trainer"]["retryPolicy"]
    assert retries == {
        "maxRetryCount": 2, "backoffDuration": "60s", "backoffFactor": 2.0, "backoffMaxDuration": "3600s",
    }  # fmt: skip


@pytest.mark.parametrize("key", NOT_ON_VERTEX)
def test_a_key_without_a_place_on_vertex_is_refused_unless_it_is_for_kubernetes(key, spec, cluster):
    keys = f"steps: {{Trainer: {{{NOT_ON_VERTEX[key]}}}}}"
    words = f"^steps.Trainer.{key}: Vertex has no {key}; remove it, or put it under kubernetes.steps.Trainer$"
    with pytest.raises(ConfigError, match=words):
        applied(spec, cluster(keys), "vertex")
    with pytest.raises(ConfigError, match=f"^vertex.steps.Trainer.{key}: Vertex has no {key}; remove it$"):
        applied(spec, cluster(f"vertex: {{{keys}}}"), "vertex")
    assert applied(spec, cluster(f"kubernetes: {{{keys}}}"), "vertex") == {}


def test_an_accelerator_that_vertex_does_not_know_names_the_nearest(spec):
    with pytest.raises(ConfigError, match="'NVIDIA_L40', which Vertex does not know; did you mean 'NVIDIA_L4'?"):
        applied(spec, Cluster(), "vertex", "NVIDIA_L40:1")
    with pytest.raises(ConfigError, match="there are .*NVIDIA_TESLA_T4, .*NVIDIA_L4"):
        applied(spec, Cluster(), "vertex", "gpu:1")


def test_the_kfp_sdk_loads_what_was_written(spec, cluster):
    keys = "cpu: 8, memory: 16, accelerator: {type: nvidia.com/gpu}, retries: {count: 1}, timeout: 1h, labels: {a: b}"
    platform = applied(spec, cluster(f"defaults: {{{keys}}}"))
    spec |= {"schemaVersion": "2.1.0", "sdkVersion": "kfp-2.5.0", "pipelineInfo": {"name": "vivit-demo"}}
    loaded = components.load_component_from_text(yaml.safe_dump_all([spec, platform]))
    assert loaded.platform_spec.platforms["kubernetes"].deployment_spec.executors["Trainer_executor"]
