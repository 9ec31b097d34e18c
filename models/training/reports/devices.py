"""What the devices of a training can do at most, and how much memory they have used.

Peaks are dense ones from the vendors' data sheets: NVIDIA's of each GPU (TF32 for float32, which TensorFlow uses where
there is any), and Google Cloud's TPU documentation, per device that TensorFlow sees.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import resource

import keras
import tensorflow as tf

from models.network.cost import measure_cost
from models.training.config import WeightsConfig

_TERA, _GIGA = 1e12, 1e9
# (bfloat16, float32) in 1e12 operations a second, by a pattern of TensorFlow's name of a GPU; 0 where there is none.
# The first match holds.
_GPUS = {
    r"B200": (2250, 1125),
    r"H200": (989, 494),
    r"H100 NVL": (835, 417),
    r"H100 PCIe": (756, 378),
    r"H100|GH200": (989, 494),
    r"A100": (312, 156),
    r"A30\b": (165, 82),
    r"A10\b": (125, 62),
    r"L40S": (362, 183),
    r"L4\b": (121, 60),
    r"V100": (0, 15.7),
    r"T4\b": (0, 8.1),
}
# By the beginning of a TPU's type; it multiplies float32 in bfloat16. A chip of v2 and v3 is two devices.
_TPUS = {"v2": 22.5, "v3": 61.5, "v4": 275, "v5litepod": 197, "v5p": 459, "v6e": 918}


def peak_flops(dtype: str) -> float | None:
    """Additions and multiplications a second that one device of this process can do at most; None if it is not known.

    Args:
      dtype: What the network multiplies in, "float32" or "bfloat16".
    """
    if tf.config.list_logical_devices("TPU"):
        return peak_of("TPU", os.environ.get("TPU_ACCELERATOR_TYPE", ""), dtype)
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return None
    return peak_of("GPU", tf.config.experimental.get_device_details(gpus[0]).get("device_name", ""), dtype)


def peak_speed(model: keras.Model, config: WeightsConfig, replicas: int) -> float | None:
    """Clips a second that so many devices could train at most; None if it is not known.

    What `train.remat` computes again does not count.

    Args:
      model: The network, whose trained weights count backwards.
      config: Its settings.
      replicas: Number of devices.
    """
    if not (peak := peak_flops(config.model.dtype)):
        return None
    heads = {head: logits.shape[-1] for head, logits in model.output.items()}
    cost = measure_cost(config.model, clip_shape=config.clip.shape, heads=heads, all_tokens=False)
    trained = sum(math.prod(variable.shape) for variable in model.trainable_variables)
    # A multiply-add is two operations.
    return peak * replicas / (2 * cost.training(trained) * (1 - config.model.patch_dropout))


def peak_of(kind: str, name: str, dtype: str) -> float | None:
    """As `peak_flops`, of a device with this name: TensorFlow's of a GPU, or the type of a TPU, e.g. "v5litepod-8"."""
    if kind == "TPU":
        peak = _TPUS.get(name.partition("-")[0])
    else:
        known = (peaks for pattern, peaks in _GPUS.items() if re.search(pattern, name))
        peak = next(known, (0, 0))[dtype != "bfloat16"]
    return peak * _TERA if peak else None


def memory_used() -> float | None:
    """The most memory, in GB, that the first accelerator of this process has given out, or this process has taken.

    None where a device does not say.
    """
    for kind in ("TPU", "GPU"):
        if tf.config.list_logical_devices(kind):
            with contextlib.suppress(ValueError, tf.errors.OpError):
                return tf.config.experimental.get_memory_info(f"{kind}:0")["peak"] / _GIGA
            return None
    # Linux counts in KiB.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / _GIGA
