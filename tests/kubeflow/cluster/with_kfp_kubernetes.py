"""Prints, as JSON, what the libraries kfp and kfp-kubernetes write for each wish; for the Python that has them.

`python with_kfp_kubernetes.py > golden_kfp_kubernetes.json` makes the golden file again. A wish that the installed
version cannot express is left out.
"""

import json
import sys
import tempfile
from importlib import metadata
from pathlib import Path

import yaml
from kfp import compiler, dsl, kubernetes

_TPU = {"gke-tpu-accelerator": "tpu-v5-lite-podslice", "gke-tpu-topology": "2x4"}
WISHES = {
    "cpu": lambda task: task.set_cpu_limit("16").set_cpu_request("16"),
    "cpu in thousandths": lambda task: task.set_cpu_limit("500m").set_cpu_request("500m"),
    "memory": lambda task: task.set_memory_limit("64Gi").set_memory_request("64Gi"),
    "memory in megabytes": lambda task: task.set_memory_limit("500M").set_memory_request("500M"),
    "accelerator": lambda task: task.set_accelerator_type("nvidia.com/gpu").set_accelerator_limit(2),
    "tpu": lambda task: [
        task.set_accelerator_type("google.com/tpu").set_accelerator_limit(8),
        *(kubernetes.add_node_selector(task, f"cloud.google.com/{key}", value) for key, value in _TPU.items()),
    ],
    "retries": lambda task: task.set_retry(
        3, backoff_duration="120s", backoff_factor=1.5, backoff_max_duration="1800s"
    ),
    "environment": lambda task: task.set_env_variable("OMP_NUM_THREADS", "4"),
    "node_selector": lambda task: kubernetes.add_node_selector(task, "pool", "videos"),
    "tolerations": lambda task: [
        kubernetes.add_toleration(task, key="nvidia.com/gpu", operator="Exists", effect="NoSchedule"),
        kubernetes.add_toleration(task, "spot", "Equal", "true", "NoExecute", 300),
    ],
    "secrets": lambda task: [
        kubernetes.use_secret_as_env(task, "s3-keys", {"id": "AWS_ACCESS_KEY_ID", "key": "AWS_SECRET_ACCESS_KEY"}),
        kubernetes.use_secret_as_volume(task, "gcp-key", "/var/secrets/gcp"),
    ],
    "config_maps": lambda task: [
        kubernetes.use_config_map_as_env(task, "proxies", {"https": "HTTPS_PROXY"}),
        kubernetes.use_config_map_as_volume(task, "certificates", "/etc/ssl/team"),
    ],
    "volumes": lambda task: kubernetes.mount_pvc(task, "videos", "/mnt/videos"),
    "image_pull_secrets": lambda task: kubernetes.set_image_pull_secrets(task, ["registry", "mirror"]),
    "image_pull_policy": lambda task: kubernetes.set_image_pull_policy(task, "Always"),
    "timeout": lambda task: kubernetes.set_timeout(task, 43200),
    "labels": lambda task: kubernetes.add_pod_label(task, "team", "video"),
    "annotations": lambda task: kubernetes.add_pod_annotation(task, "sidecar.istio.io/inject", "false"),
    "shared_memory": lambda task: kubernetes.empty_dir_mount(task, "shared-memory", "/dev/shm", "Memory", "8Gi"),
    "ephemeral_storage": lambda task: [
        task.set_env_variable("TMPDIR", "/scratch"),
        kubernetes.empty_dir_mount(task, "scratch", "/scratch", size_limit="200Gi"),
    ],
    "storage_class": lambda task: [
        task.set_env_variable("TMPDIR", "/scratch"),
        kubernetes.add_ephemeral_volume(task, "scratch", "/scratch", ["ReadWriteOnce"], "200Gi", "fast"),
    ],
    "the cluster's storage_class": lambda task: [
        task.set_env_variable("TMPDIR", "/scratch"),
        kubernetes.add_ephemeral_volume(task, "scratch", "/scratch", ["ReadWriteOnce"], "200Gi"),
    ],
}


@dsl.container_component
def trainer():
    return dsl.ContainerSpec(image="image", command=["train"])


def written(wish) -> dict:
    """What a wish adds to a pipeline of one step: to its container, its task and the platform spec."""

    @dsl.pipeline(name="wish")
    def pipeline():
        wish(trainer())

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "wish.yaml"
        compiler.Compiler().compile(pipeline, str(file))
        spec, *others = yaml.safe_load_all(file.read_text())
    container = spec["deploymentSpec"]["executors"]["exec-trainer"]["container"]
    added = {key: container.get(key) for key in ("resources", "env")}
    added["retryPolicy"] = spec["root"]["dag"]["tasks"]["trainer"].get("retryPolicy")
    for platform in others:
        added["kubernetes"] = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]["exec-trainer"]
    return {key: value for key, value in added.items() if value}


def main() -> None:
    versions = {name: metadata.version(name) for name in ("kfp", "kfp-kubernetes")}
    results = {}
    for name, wish in WISHES.items():
        try:
            results[name] = written(wish)
        except AttributeError as error:
            print(f"{name}: {error}", file=sys.stderr)
    lines = (f'  "{name}": {json.dumps(result, sort_keys=True)}' for name, result in results.items())
    print(f'{{\n "versions": {json.dumps(versions)},\n "wishes": {{\n{{}}\n }}\n}}'.replace("{}", ",\n".join(lines)))


if __name__ == "__main__":
    main()
