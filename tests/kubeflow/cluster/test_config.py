"""A team's file: what it may say, and the words for what it may not."""

import dataclasses
import re
from pathlib import Path

import pytest

from kubeflow.cluster import config
from kubeflow.cluster.config import Cluster, Step, read_cluster
from pipeline.settings import ConfigError

GUIDE = (Path(__file__).parents[3] / "docs" / "cluster.md").read_text()
GROUPS = [one for one in vars(config).values() if dataclasses.is_dataclass(one)]


def refused(text, cluster, *words):
    with pytest.raises(ConfigError) as error:
        cluster(text)
    assert "cluster.yaml" in str(error.value)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize(
    ("text", "key", "near"),
    [
        ("step: {}", "step", "steps"),
        ("steps: {Trainer: {memroy: 8}}", "steps.Trainer.memroy", "steps.Trainer.memory"),
        ("defaults: {node_selectors: {}}", "defaults.node_selectors", "defaults.node_selector"),
        ("vertex: {steps: {Trainer: {cpus: 8}}}", "vertex.steps.Trainer.cpus", "vertex.steps.Trainer.cpu"),
        ("defaults: {tolerations: [{kye: a}]}", "defaults.tolerations[0].kye", "defaults.tolerations[0].key"),
        ("defaults: {secrets: {s: {file: /a}}}", "defaults.secrets.s.file", "defaults.secrets.s.files"),
    ],
)
def test_an_unknown_key_names_the_nearest(text, key, near, cluster):
    refused(text, cluster, f"unknown setting {key!r}; did you mean {near!r}?")


def test_an_unknown_key_that_is_near_to_none_names_all(cluster):
    known = "defaults.secrets.s.environment, defaults.secrets.s.files"
    refused("defaults: {secrets: {s: {env: {A: a}}}}", cluster, f"'defaults.secrets.s.env'; there are {known}")


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("cpu: many", "steps.Trainer: cpu is 'many'; it must be a number of cores"),
        ("cpu: 0", "cpu is 0.0"),
        ("cpu: [1]", "steps.Trainer.cpu is [1]; it must be of type float"),
        ("memory: 64GB", "steps.Trainer: memory is '64GB'; it must be a number of GiB, or a quantity such as 64Gi"),
        ("ephemeral_storage: -1", "ephemeral_storage is '-1"),
        ("timeout: 1 week", "timeout is '1 week'; it must be a number of seconds, or a text such as 90s"),
        ("timeout: 0.5", "timeout is 0.5; it must be one second or more"),
        ("image_pull_policy: Sometimes", "it must be one of 'Always', 'IfNotPresent', 'Never'"),
        ("environment: {OMP_NUM_THREADS: 4}", "steps.Trainer.environment.OMP_NUM_THREADS is 4; it must be of type str"),
        ("environment: [A]", "steps.Trainer.environment is ['A']; it must be an object"),
        ("node_selector: {1: a}", "steps.Trainer.node_selector has the key 1; it must be of type str"),
        ("retries: {}", "steps.Trainer.retries.count is missing"),
        ("retries: {count: 0}", "steps.Trainer.retries: count is 0; it must be 1 or more"),
        ("retries: {count: 1, max_backoff: 2h}", "max_backoff is '2h'; KFP takes at most 1h"),
        ("accelerator: {count: 2}", "steps.Trainer.accelerator.type is missing"),
        ("accelerator: {type: nvidia.com/gpu, count: 0}", "steps.Trainer.accelerator: count is 0"),
        ("accelerator: {type: nvidia.com/gpu, topology: 2x4}", "use node_selector"),
        ("accelerator: {type: google.com/tpu, count: 4}", "wants tpu and topology"),
        ("tolerations: [{operator: Equal, value: a}]", "steps.Trainer.tolerations[0]: key is missing"),
        ("tolerations: [{key: a, operator: Exists, value: b}]", "value goes with operator Equal"),
        ("tolerations: [{key: a, toleration_seconds: 5}]", "toleration_seconds goes with effect NoExecute"),
        ("secrets: {s3-keys: {}}", "steps.Trainer.secrets.s3-keys: nothing of it is used"),
    ],
)
def test_a_value_that_does_not_fit_names_its_key(keys, words, cluster):
    refused(f"steps: {{Trainer: {{{keys}}}}}", cluster, words)


def test_several_machines_are_refused_with_what_to_do_instead(cluster):
    refused("steps: {Trainer: {workers: 4}}", cluster, "steps.Trainer: workers is 4", "one machine", "TPU slice")
    tpu = "accelerator: {type: google.com/tpu, tpu: tpu-v5-lite-podslice, topology: 4x4, count: 4}"
    refused(f"steps: {{Trainer: {{{tpu}}}}}", cluster, "topology 4x4 has 16 chips, but count is 4", "of one host")
    assert cluster("steps: {Trainer: {workers: 1}}").steps["Trainer"].workers == 1


def test_what_is_no_yaml_or_no_mapping_or_there_twice_names_the_file(cluster):
    refused("steps: {", cluster, "line 1")
    refused("[cpu]", cluster, "must hold keys")
    refused("steps:\n  Trainer: {cpu: 1}\n  Trainer: {memory: 2}\n", cluster, "'Trainer' is there twice", "line 3")


def test_a_key_without_a_value_is_not_set(cluster):
    assert cluster("steps:\n  Trainer:\n    cpu:\n") == cluster("steps: {Trainer: {}}")
    assert cluster("# nothing\n") == read_cluster(None) == Cluster()


def test_what_a_step_says_goes_over_the_defaults_and_a_backends_own_over_both(cluster):
    stated = cluster("""
        defaults: {cpu: 2, timeout: 1h, environment: {A: '1', B: '1'}}
        steps: {Trainer: {cpu: 4, environment: {B: '2'}}}
        kubernetes: {defaults: {timeout: 2h}, steps: {Trainer: {cpu: 8}}}
        vertex: {defaults: {memory: 3}}
    """)
    below = Step(cpu=1.0, memory=16.0)
    step = stated.step("Trainer", "kubernetes", below)
    assert step == Step(cpu=8.0, memory=16.0, timeout="2h", environment={"A": "1", "B": "2"})
    step = stated.step("Trainer", "vertex", below)
    assert step == Step(cpu=4.0, memory=3.0, timeout="1h", environment={"A": "1", "B": "2"})
    step = stated.step("Pusher", "kubernetes", below)
    assert step == Step(cpu=2.0, memory=16.0, timeout="2h", environment={"A": "1", "B": "1"})


@pytest.mark.parametrize("group", GROUPS)
def test_every_key_is_in_the_guide(group):
    keys = [field.name for field in dataclasses.fields(group)]
    assert not [key for key in keys if not re.search(rf"^\| `{key}` \|", GUIDE, re.MULTILINE)]


def test_the_guides_examples_can_be_read(cluster):
    examples = re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)
    assert len(examples) >= 2
    for example in examples:
        assert cluster(example) != Cluster()
