"""Optimisers and the learning-rate schedule of the recipes (spec §5), from frozen configs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Literal, get_args

import keras
import tensorflow as tf
from keras import ops

OptimizerName = Literal["momentum", "adamw"]


@dataclasses.dataclass(frozen=True)
class ScheduleConfig:
    """Linear warm-up times one cosine to zero.

    Attributes:
      base_learning_rate: Highest learning rate.
      warmup: Share of all steps in which the rate grows from 0; the paper's 2.5 of 30 epochs are 2.5 / 30.
    """

    base_learning_rate: float = 0.1
    warmup: float = 2.5 / 30

    def __post_init__(self):
        if self.base_learning_rate <= 0:
            raise ValueError(f"ScheduleConfig.base_learning_rate must be above 0, got {self.base_learning_rate}.")
        if not 0 <= self.warmup < 1:
            raise ValueError(f"ScheduleConfig.warmup must be in [0, 1), got {self.warmup}.")


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """How weights are updated; the defaults are the reference's for Kinetics.

    Attributes:
      name: "momentum" (SGD, not Nesterov) or "adamw".
      schedule: Learning rate by step.
      momentum: Of SGD, in [0, 1).
      weight_decay: Per unit of learning rate, of weights whose name has "kernel" in it; 0 is off.
      max_grad_norm: Gradients are clipped to this global norm by `clip_by_global_norm`; None is off.
      clip_per_replica: Clip each replica's gradient before the mean over all, as the reference does (spec §5).
      ema: Decay of the moving average of weights, in (0, 1); None keeps none.
    """

    name: OptimizerName = "momentum"
    schedule: ScheduleConfig = ScheduleConfig()
    momentum: float = 0.9
    weight_decay: float = 0.0
    max_grad_norm: float | None = 1.0
    clip_per_replica: bool = False
    ema: float | None = None

    def __post_init__(self):
        if self.name not in get_args(OptimizerName):
            raise ValueError(f"OptimizerConfig.name must be one of {get_args(OptimizerName)}, got {self.name!r}.")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"OptimizerConfig.momentum must be in [0, 1), got {self.momentum}.")
        if self.weight_decay < 0:
            raise ValueError(f"OptimizerConfig.weight_decay must be 0 or more, got {self.weight_decay}.")
        if self.max_grad_norm is not None and self.max_grad_norm <= 0:
            raise ValueError(f"OptimizerConfig.max_grad_norm must be above 0 or None, got {self.max_grad_norm}.")
        if self.ema is not None and not 0 < self.ema < 1:
            raise ValueError(f"OptimizerConfig.ema must be in (0, 1) or None, got {self.ema}.")


@keras.saving.register_keras_serializable(package="vivit")
class CompoundSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """base * min(1, s / warmup) * (1 + cos(pi * frac((s - warmup) / (total - int(warmup))))) / 2 at step s from 0.

    The first step has rate 0 (if there is a warm-up), and the cosine starts again after `total_steps`: the reference's
    "constant * cosine_decay * linear_warmup". `warmup_steps` need not be whole.
    """

    def __init__(self, base_learning_rate: float, warmup_steps: float, total_steps: int):
        if not 0 <= warmup_steps < total_steps:
            raise ValueError(f"warmup_steps must be in [0, total_steps = {total_steps}), got {warmup_steps}.")
        self.base_learning_rate = base_learning_rate
        self.warmup_steps = warmup_steps
        self.total_steps = total_steps

    def __call__(self, step):
        """Learning rate, a float32 scalar, at `step`, an integer scalar."""
        step = ops.cast(step, "float32")
        warmup = ops.minimum(1.0, step / self.warmup_steps) if self.warmup_steps else 1.0
        cycle = self.total_steps - int(self.warmup_steps)
        progress = ops.mod(ops.maximum(0.0, step - self.warmup_steps) / cycle, 1.0)
        cosine = 0.5 * (1.0 + ops.cos(math.pi * progress))
        return self.base_learning_rate * warmup * cosine

    def get_config(self):
        """The constructor's arguments."""
        return {
            "base_learning_rate": self.base_learning_rate,
            "warmup_steps": self.warmup_steps,
            "total_steps": self.total_steps,
        }


@keras.saving.register_keras_serializable(package="vivit")
class Momentum(keras.optimizers.Optimizer):
    """SGD with momentum as the reference's (flax.optim.Momentum): m = momentum * m + g; w -= rate * m.

    `keras.optimizers.SGD` puts the rate into m, which differs as soon as the rate changes. Weights whose name contains
    "kernel" are then scaled by 1 - rate * kernel_decay (the reference's `explicit_weight_decay`).
    """

    def __init__(self, learning_rate=0.1, momentum=0.9, kernel_decay=0.0, name="momentum", **kwargs):
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.momentum = momentum
        self.kernel_decay = kernel_decay

    def build(self, variables):
        """Makes one momentum, zero, per variable."""
        if not self.built:
            super().build(variables)
            self.momentums = self.add_optimizer_variables(variables, "momentum")

    def update_step(self, gradient, variable, learning_rate):
        """Updates one variable and its momentum."""
        rate = ops.cast(learning_rate, variable.dtype)
        momentum = self.momentums[self._get_variable_index(variable)]
        self.assign(momentum, ops.add(ops.multiply(momentum, self.momentum), ops.cast(gradient, variable.dtype)))
        self.assign_sub(variable, ops.multiply(momentum, rate))
        if self.kernel_decay and "kernel" in variable.name:
            self.assign(variable, ops.multiply(variable, 1.0 - rate * self.kernel_decay))

    def get_config(self):
        """The constructor's arguments."""
        return super().get_config() | {"momentum": self.momentum, "kernel_decay": self.kernel_decay}


def build_optimizer(config: OptimizerConfig, total_steps: int) -> keras.optimizers.Optimizer:
    """The optimiser of `config` for a training run of `total_steps`; `update` gives it its gradients."""
    schedule = config.schedule
    rate = CompoundSchedule(schedule.base_learning_rate, schedule.warmup * total_steps, total_steps)
    # Of the mean gradients that `update` gives it on every replica, Keras takes the sum once more.
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    own = {"loss_scale_factor": None if replicas == 1 else float(replicas)}
    if config.ema is not None:
        own |= {"use_ema": True, "ema_momentum": config.ema}
    if config.name == "momentum":
        return Momentum(rate, config.momentum, config.weight_decay, **own)
    optimizer = keras.optimizers.AdamW(rate, weight_decay=config.weight_decay, **own)
    optimizer.exclude_from_weight_decay(var_names=["^(?!.*kernel)"])
    return optimizer


def clip_by_global_norm(gradients: Sequence[tf.Tensor], max_norm: float | None) -> tuple[list[tf.Tensor], tf.Tensor]:
    """Scales gradients by max_norm / norm where their global norm reaches it; also returns the norm before."""
    norm = tf.linalg.global_norm(gradients)
    if max_norm is None:
        return list(gradients), norm
    scale = tf.where(norm >= max_norm, max_norm / norm, 1.0)
    return [gradient * scale for gradient in gradients], norm


def update(
    optimizer: keras.optimizers.Optimizer,
    gradients: Sequence[tf.Tensor],
    variables: Sequence[tf.Variable],
    config: OptimizerConfig,
) -> tf.Tensor:
    """Updates `variables` with the mean of the replicas' gradients, clipped before the mean or after it.

    Args:
      optimizer: From `build_optimizer`, built.
      gradients: Those of this replica, whose context must be entered.
      variables: The weights, in the same order.
      config: When and to what norm gradients are clipped.

    Returns:
      The global norm before clipping, a float32 scalar: of the mean, or the mean of the replicas' norms.
    """
    replica = tf.distribute.get_replica_context()
    if config.clip_per_replica:
        gradients, norm = clip_by_global_norm(gradients, config.max_grad_norm)
        gradients, norm = replica.all_reduce(tf.distribute.ReduceOp.MEAN, (gradients, norm))
    else:
        gradients = replica.all_reduce(tf.distribute.ReduceOp.MEAN, gradients)
        gradients, norm = clip_by_global_norm(gradients, config.max_grad_norm)
    optimizer.apply(gradients, variables)
    return norm
