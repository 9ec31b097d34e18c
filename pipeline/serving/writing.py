"""Writes a server's configuration for the versions of a run, from what the run has pushed."""

from __future__ import annotations

import dataclasses
import os

from components.registry.records import RegistryError
from components.registry.versions import pushed_folder, standing
from components.storage import files
from pipeline.serving import server_config
from pipeline.serving.labels import CANARY, STABLE, Served, served_versions
from pipeline.serving.memory import ServedMemory, count_memory
from pipeline.serving.server_config import GB
from schemas.serving import ModelCard


@dataclasses.dataclass(frozen=True)
class WrittenConfig:
    """What was written.

    Attributes:
      folder: Where the files are.
      served: The versions and labels.
      memory: What the newest version takes.
      threads: Batches that are computed at a time.
      to_copy: A folder that nobody but the user can bring to where the server looks; empty if there is none.
    """

    folder: str
    served: Served
    memory: ServedMemory
    threads: int
    to_copy: str

    def __str__(self) -> str:
        weights, batch = self.memory.weights / GB, self.memory.batch
        each = f"{batch / GB:.2g} GB a batch" if batch else "a batch unknown, as the card does not describe the network"
        lines = [
            f"versions  {', '.join(one.version for one in self.served.versions)}",
            f"labels    {STABLE} {self.served.stable.version}, {CANARY} {self.served.canary.version}",
            f"memory    {weights:.2g} GB a version, {each}; {self.threads} batch(es) at a time",
            f"written   {self.folder}",
        ]
        if self.to_copy:
            lines.append(f"Copy {self.to_copy} to `pushed` beside the compose file: TensorFlow Serving cannot read it.")
        return "\n".join(lines)


def write_server_config(
    workdir: str, folder: str, *, name: str, base_path: str | None, stable: str, memory_gb: float, image: str
) -> WrittenConfig:
    """Writes model config, batching parameters, monitoring config and compose file.

    Args:
      workdir: Folder of the run, any URI that TensorFlow reads.
      folder: Where the files go, any URI. A model config that is there says where a running server's labels are.
      name: The model's name in the server.
      base_path: Where the server finds the versions; None for the folder in the bucket or ``/models/<name>``.
      stable: The version of the label ``stable``; empty for the one in production.
      memory_gb: Memory of the server, GB.
      image: The server's image.

    Raises:
      RegistryError: If there is no such run, nothing is pushed, or `stable` is no version of it.
      ConfigError: If the model does not fit into the memory, or the model config that is there is none.
    """
    if not files.is_folder(workdir):
        raise RegistryError(f"--workdir {workdir}: no such folder")
    pushed = pushed_folder(workdir)
    models_file = os.path.join(folder, server_config.MODELS)
    labelled = set()
    if files.exists(models_file):
        labelled = server_config.labelled_versions(files.read(models_file).decode(errors="replace"), models_file)
    try:
        served = served_versions(standing(pushed), stable=stable, labelled=labelled)
    except RegistryError as error:
        raise RegistryError(f"--workdir {workdir}: {error}") from error
    path = served.canary.path
    memory = count_memory(path, ModelCard.read(path))
    threads = server_config.fit_threads(memory, len(served.versions), memory_gb)

    remote = "://" in workdir
    # TensorFlow Serving reads Google's buckets itself, and no others.
    base_path = base_path or (pushed if workdir.startswith("gs://") else f"/models/{name}")
    mounted = "./pushed" if remote else os.path.abspath(pushed)
    texts = {
        server_config.BATCHING: server_config.batching_parameters(threads),
        server_config.MONITORING: server_config.monitoring_config(),
        server_config.COMPOSE: server_config.compose_file(
            base_path=base_path, pushed=mounted, memory_gb=memory_gb, image=image
        ),
        # Last, as a running server reads it.
        server_config.MODELS: server_config.model_config(served, name, base_path),
    }
    for file, text in texts.items():
        _write_whole(os.path.join(folder, file), text)
    to_copy = pushed if remote and "://" not in base_path else ""
    return WrittenConfig(folder, served, memory, threads, to_copy)


def _write_whole(path: str, text: str) -> None:
    """Writes a file of which no reader sees half; an object store shows a file once it is whole."""
    written = path if "://" in path else f"{path}.new"
    files.write(written, text.encode())
    if written != path:
        files.rename(written, path)
