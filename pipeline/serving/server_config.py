"""The files that TensorFlow Serving is started with, for one model: what to load, how to batch, and a compose file."""

from __future__ import annotations

import yaml
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from pipeline.serving.labels import CANARY, STABLE, Served
from pipeline.serving.memory import CLIPS_AT_A_TIME, ServedMemory
from pipeline.settings import ConfigError

MODELS, BATCHING, MONITORING, COMPOSE = "models.config", "batching.config", "monitoring.config", "compose.yaml"
IMAGE = "tensorflow/serving:2.19.1"
GB = 10**9
# Seconds from one look at the model config to the next.
POLL_SECONDS = 30
# Of the memory: TensorFlow's own, and the frames of requests that wait, some 6 MB a clip of 10 s.
_RESERVED = 2 * GB
_MOST_THREADS, _WAITING_BATCHES = 8, 50
_FOLDER = "/config"


def fit_threads(memory: ServedMemory, versions: int, memory_gb: float) -> int:
    """How many batches fit at a time; one where the batch's memory is unknown.

    Args:
      memory: What the model takes.
      versions: How many versions are loaded; one more is, while it takes the place of another.
      memory_gb: Memory of the server, GB.

    Raises:
      ConfigError: If not even one fits; names what is needed.
    """
    fixed = _RESERVED + (versions + 1) * memory.weights
    if memory.batch is None:
        return 1
    threads = int((memory_gb * GB - fixed) // memory.batch)
    if threads < 1:
        raise ConfigError(
            f"--memory-gb {memory_gb:g} is too little: {versions + 1} versions and one batch need "
            f"{(fixed + memory.batch) / GB:.1f} GB"
        )
    return min(threads, _MOST_THREADS)


def batching_parameters(threads: int) -> str:
    """`tensorflow.serving.BatchingParameters` as text, for so many batches at a time."""
    sizes = range(1, CLIPS_AT_A_TIME + 1)
    lines = [
        f"max_batch_size {{ value: {sizes[-1]} }}",
        "batch_timeout_micros { value: 0 }",
        f"max_enqueued_batches {{ value: {_WAITING_BATCHES} }}",
        f"num_batch_threads {{ value: {threads} }}",
        *(f"allowed_batch_sizes: {size}" for size in sizes),
        "pad_variable_length_inputs: true",
    ]
    return "\n".join(lines) + "\n"


def model_config(served: Served, name: str, base_path: str) -> str:
    """`tensorflow.serving.ModelServerConfig` as text."""
    config = model_server_config_pb2.ModelServerConfig()
    model = config.model_config_list.config.add(name=name, base_path=base_path, model_platform="tensorflow")
    model.model_version_policy.specific.versions.extend(int(one.version) for one in served.versions)
    for label, version in ((STABLE, served.stable), (CANARY, served.canary)):
        model.version_labels[label] = int(version.version)
    return text_format.MessageToString(config)


def labelled_versions(text: str, path: str) -> set[str]:
    """The versions that the labels of a model config are at.

    Raises:
      ConfigError: If it is none; names `path`.
    """
    try:
        config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    except text_format.ParseError as error:
        raise ConfigError(f"{path} is no model config of TensorFlow Serving ({error}): remove it") from error
    return {str(version) for model in config.model_config_list.config for version in model.version_labels.values()}


def monitoring_config() -> str:
    """`tensorflow.serving.MonitoringConfig` as text: Prometheus reads it at the REST port."""
    return 'prometheus_config { enable: true path: "/monitoring/prometheus/metrics" }\n'


def compose_file(*, base_path: str, pushed: str, memory_gb: float, image: str) -> str:
    """A compose file with one server.

    Args:
      base_path: Where the server finds the versions; no volume is needed where it is a URI.
      pushed: The folder on this machine that is mounted there.
      memory_gb: Most memory of the container, GB.
      image: The server's image.
    """
    command = [
        "--port=8500",
        "--rest_api_port=8501",
        f"--model_config_file={_FOLDER}/{MODELS}",
        f"--model_config_file_poll_wait_seconds={POLL_SECONDS}",
        # At its start, labels and the versions that they are at come together.
        "--allow_version_labels_for_unavailable_models=true",
        "--enable_batching=true",
        f"--batching_parameters_file={_FOLDER}/{BATCHING}",
        f"--monitoring_config_file={_FOLDER}/{MONITORING}",
        # A clip of a large network takes more than the default of 30 s on CPUs.
        "--rest_api_timeout_in_ms=300000",
    ]
    volumes = [] if "://" in base_path else [f"{pushed}:{base_path}:ro"]
    service = {
        "image": image,
        # The image's own entry point serves one model without a config.
        "entrypoint": ["/usr/bin/tensorflow_model_server"],
        "command": command,
        "ports": ["8500:8500", "8501:8501"],
        # The folder, not its files: a file that is replaced would stay the old one in the container.
        "volumes": [f".:{_FOLDER}:ro", *volumes],
        "mem_limit": int(memory_gb * GB),
        "restart": "unless-stopped",
    }
    return yaml.safe_dump({"services": {"vivit": service}}, sort_keys=False, width=200)
