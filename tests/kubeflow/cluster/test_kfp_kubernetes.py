"""Every key lands where kfp and kfp-kubernetes write the same wish: as recorded, and with the libraries themselves."""

import collections
import json
import os
import subprocess
from pathlib import Path

import pytest

from kubeflow.cluster.apply import apply_cluster
from kubeflow.cluster.config import Step

FOLDER = Path(__file__).parent
GOLDEN = json.loads((FOLDER / "golden_kfp_kubernetes.json").read_text())
# Each wish of with_kfp_kubernetes.py as keys of a step.
KEYS = {
    "cpu": "cpu: 16",
    "cpu in thousandths": "cpu: 500m",
    "memory": "memory: 64",
    "memory in megabytes": "memory: 500M",
    "accelerator": "accelerator: {type: nvidia.com/gpu, count: 2}",
    "tpu": "accelerator: {type: google.com/tpu, count: 8, tpu: tpu-v5-lite-podslice, topology: 2x4}",
    "retries": "retries: {count: 3, backoff: 2m, factor: 1.5, max_backoff: 30m}",
    "environment": "environment: {OMP_NUM_THREADS: '4'}",
    "node_selector": "node_selector: {pool: videos}",
    "tolerations": """
      tolerations:
      - {key: nvidia.com/gpu, operator: Exists, effect: NoSchedule}
      - {key: spot, operator: Equal, value: 'true', effect: NoExecute, toleration_seconds: 300}""",
    "secrets": """
      secrets:
        s3-keys: {environment: {AWS_ACCESS_KEY_ID: id, AWS_SECRET_ACCESS_KEY: key}}
        gcp-key: {files: /var/secrets/gcp}""",
    "config_maps": """
      config_maps:
        proxies: {environment: {HTTPS_PROXY: https}}
        certificates: {files: /etc/ssl/team}""",
    "volumes": "volumes: {videos: /mnt/videos}",
    "image_pull_secrets": "image_pull_secrets: [registry, mirror]",
    "image_pull_policy": "image_pull_policy: Always",
    "timeout": "timeout: 12h",
    "labels": "labels: {team: video}",
    "annotations": "annotations: {sidecar.istio.io/inject: 'false'}",
    "shared_memory": "shared_memory: 8",
    "ephemeral_storage": "ephemeral_storage: 200",
    "storage_class": "{ephemeral_storage: 200Gi, storage_class: fast}",
    "the cluster's storage_class": "{ephemeral_storage: 200Gi, storage_class: default}",
}


@pytest.fixture(scope="session")
def live():
    """What the libraries write in the Python that the environment variable names."""
    python = os.environ.get("PYTHON_WITH_KFP_KUBERNETES")
    if not python:
        pytest.skip("wants kfp-kubernetes in the Python that PYTHON_WITH_KFP_KUBERNETES names")
    command = [python, str(FOLDER / "with_kfp_kubernetes.py")]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def ours(keys, cluster, spec):
    """What keys add to a spec: to a step's container, its task and the platform spec."""
    stated = cluster("steps:\n  Trainer:\n    " + keys)
    others = apply_cluster(spec, stated, backend="kubernetes", needs=collections.defaultdict(Step))
    container = spec["deploymentSpec"]["executors"]["Trainer_executor"]["container"]
    added = {key: container.get(key) for key in ("resources", "env")}
    added["retryPolicy"] = spec["root"]["dag"]["tasks"]["Trainer"].get("retryPolicy")
    if others:
        added["kubernetes"] = others["platforms"]["kubernetes"]["deploymentSpec"]["executors"]["Trainer_executor"]
    return {key: value for key, value in added.items() if value}


def theirs(written):
    """What the libraries add, without KFP's later names of the resources: every backend takes the first ones too."""
    resources = {key: value for key, value in written.get("resources", {}).items() if not key.startswith("resource")}
    if "accelerator" in resources:
        resources["accelerator"] = {key: resources["accelerator"][key] for key in ("type", "count")}
    return {**written, "resources": resources} if resources else written


def contains(whole, part):
    """Whether every key of a part, all the way down, has its value in the whole."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(key in whole and contains(whole[key], part[key]) for key in part)
    if isinstance(part, list):
        return len(whole) == len(part) and all(map(contains, whole, part))
    return whole == part


@pytest.mark.parametrize("wish", KEYS)
def test_a_key_lands_where_the_libraries_were_seen_to_write_it(wish, cluster, spec):
    assert ours(KEYS[wish], cluster, spec) == theirs(GOLDEN["wishes"][wish])


@pytest.mark.parametrize("wish", KEYS)
def test_a_key_lands_where_the_libraries_write_it(wish, cluster, spec, live):
    if wish not in live["wishes"]:
        pytest.skip(f"kfp-kubernetes {live['versions']['kfp-kubernetes']} has no {wish}")
    mine, written = ours(KEYS[wish], cluster, spec), theirs(live["wishes"][wish])
    if live["versions"]["kfp-kubernetes"].startswith("1."):
        # Names were not yet parameters.
        assert contains(mine, written)
    else:
        assert mine == written


def test_every_key_of_a_step_but_its_image_and_workers_is_a_wish():
    compared = {key for key in Step.keys() if any(f"{key}:" in keys for keys in KEYS.values())}  # noqa: SIM118
    assert set(Step.keys()) - compared == {"image", "workers"}


def test_the_recorded_file_has_every_wish():
    assert set(GOLDEN["wishes"]) == set(KEYS)
