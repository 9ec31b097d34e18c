"""Which devices train together, and what each host reads."""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Sequence
from typing import Literal

import numpy as np
import tensorflow as tf

StrategyName = Literal["auto", "one", "mirrored", "multi_worker", "tpu"]
# Values of TPU_NAME for the TPU of this machine.
_OWN_TPU = ("", "local")


def build_strategy(name: StrategyName = "auto") -> tf.distribute.Strategy:
    """The strategy that trains on this machine's devices, or on a cluster's.

    Args:
      name: "one" device; "mirrored" over all GPUs of this machine (over all CPU devices where there is no GPU);
        "multi_worker" over the machines of the environment variable TF_CONFIG; "tpu" the one of this
        machine. "auto": a TPU where there is one, else the machines of TF_CONFIG, else all GPUs where there are
        several, else one device.

    Raises:
      ValueError: As `check_strategy`, or if a TPU cannot be reached.
    """
    check_strategy(name)
    if name == "auto":
        name = _found()
    if name == "tpu":
        return _tpu()
    if name == "multi_worker":
        return tf.distribute.MultiWorkerMirroredStrategy()
    if name == "mirrored":
        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    return tf.distribute.get_strategy()


def check_strategy(name: StrategyName, devices: str = "/dev") -> None:
    """Looks for what a strategy needs; starts nothing.

    Args:
      name: As in `build_strategy`.
      devices: Folder of this machine's device files.

    Raises:
      ValueError: "tpu" where there is none, or TPU_NAME is that of other machines; "multi_worker" where TF_CONFIG names
        no workers; "mirrored" where there is one device; "auto" or "mirrored" where there is an accelerator that
        TensorFlow does not see.
    """
    tpus = glob.glob(os.path.join(devices, "accel[0-9]*"))
    sees_tpu = bool(tf.config.list_physical_devices("TPU"))
    if name == "multi_worker" and not _workers():
        raise ValueError("strategy 'multi_worker' wants TF_CONFIG with the cluster's workers and this one's task")
    # Newer TPUs are among the devices of vfio, which other devices may use.
    if name == "tpu" and not (tpus or sees_tpu or "TPU_NAME" in os.environ or os.path.exists(f"{devices}/vfio")):
        raise ValueError(
            "strategy 'tpu': no TPU can be reached: this machine has none, and TPU_NAME names none; set strategy 'auto'"
        )
    tpu = os.environ.get("TPU_NAME", "local")
    if tpu not in _OWN_TPU and (name == "tpu" or (name == "auto" and _found() == "tpu")):
        raise ValueError(
            f"strategy {name!r}: TPU_NAME is {tpu!r}, a TPU of other machines. Clips are read by this process: train "
            "on the TPU's own host, with TPU_NAME=local, or set strategy 'one'"
        )
    if name not in ("auto", "mirrored") or _found() in ("tpu", "multi_worker"):
        return
    if tpus and not sees_tpu:
        raise ValueError(
            f"strategy {name!r}: this machine has a TPU ({min(tpus)}) that TensorFlow does not see: install libtpu "
            "with TensorFlow for TPUs and set strategy 'tpu', or set strategy 'one' to train without it"
        )
    gpus = glob.glob(os.path.join(devices, "nvidia[0-9]*"))
    sees_gpu = bool(tf.config.list_physical_devices("GPU"))
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    if gpus and not sees_gpu and not hidden:
        raise ValueError(
            f"strategy {name!r}: this machine has a GPU ({min(gpus)}) that TensorFlow does not see: install "
            "tensorflow[and-cuda] in place of tensorflow, or set strategy 'one' to train on the CPU"
        )
    if name == "mirrored" and not sees_gpu and len(tf.config.list_logical_devices("CPU")) == 1:
        raise ValueError("strategy 'mirrored': this machine has no GPU, and one CPU device; set strategy 'auto'")


def spans_machines(name: StrategyName) -> bool:
    """Whether a strategy is one over several machines, each with a process that trains."""
    return name == "multi_worker" or (name == "auto" and _found() == "multi_worker")


def _found() -> StrategyName:
    if "TPU_NAME" in os.environ or tf.config.list_physical_devices("TPU"):
        return "tpu"
    if len(_workers()) > 1:
        return "multi_worker"
    return "mirrored" if len(tf.config.list_physical_devices("GPU")) > 1 else "one"


def _workers() -> list[str]:
    cluster = json.loads(os.environ.get("TF_CONFIG") or "{}").get("cluster", {})
    return [*cluster.get("chief", []), *cluster.get("worker", [])]


def _tpu() -> tf.distribute.Strategy:
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver("local")
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except (ValueError, tf.errors.OpError) as error:
        raise ValueError(f"strategy 'tpu': no TPU can be reached ({error}); set strategy 'auto'") from error
    return tf.distribute.TPUStrategy(resolver)


def wait_for_all(strategy: tf.distribute.Strategy) -> None:
    """Returns when every process of the strategy is here; at once where there is one.

    Raises:
      tf.errors.OpError: If one is lost.
    """
    of_first(strategy, [np.zeros(1, np.float32)])


def of_first(strategy: tf.distribute.Strategy, values: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The float32 values that the first process of the strategy has, in all of them; each has its own of these shapes.

    Raises:
      tf.errors.OpError: If a process is lost.
    """
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return list(values)

    def in_replica():
        context = tf.distribute.get_replica_context()
        first = context.replica_id_in_sync_group == 0
        own = [tf.where(first, value, tf.zeros_like(value)) for value in values]
        return context.all_reduce(tf.distribute.ReduceOp.SUM, own)

    summed = tf.function(lambda: strategy.run(in_replica), autograph=False)()
    return [strategy.experimental_local_results(value)[0].numpy() for value in summed]


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process writes the outputs of all processes of the strategy."""
    resolver = strategy.cluster_resolver
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy) or resolver is None:
        return True
    return resolver.task_type == "chief" or (resolver.task_id == 0 and "chief" not in resolver.cluster_spec().jobs)


def num_hosts(strategy: tf.distribute.Strategy) -> int:
    """Number of machines that read clips."""
    if isinstance(strategy, tf.distribute.TPUStrategy):
        return strategy.extended.num_hosts
    return len(_workers()) if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy) else 1
