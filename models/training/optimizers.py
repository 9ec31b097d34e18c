"""Optimisers and the learning-rate schedule of the recipes (spec §5), from frozen configs."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, get_args

import keras
import tensorflow as tf
from keras import ops

from models.training.groups import GroupsConfig, Rule

OptimizerName = Literal["momentum", "adamw"]


@dataclasses.dataclass(frozen=True)
class ScheduleConfig:
    """Linear warm-up times one cosine.

    Attributes:
      base_learning_rate: Highest learning rate.
      warmup: Share of all steps in which the rate grows from 0; the paper's 2.5 of 30 epochs are 2.5 / 30.
      min_rate: Share of the highest rate that the cosine ends at, in [0, 1).
    """

    base_learning_rate: float = 0.1
    warmup: float = 2.5 / 30
    min_rate: float = 0.0

    def __post_init__(self):
        if self.base_learning_rate <= 0:
            raise ValueError(f"ScheduleConfig.base_learning_rate must be above 0, got {self.base_learning_rate}.")
        if not 0 <= self.warmup < 1:
            raise ValueError(f"ScheduleConfig.warmup must be in [0, 1), got {self.warmup}.")
        if not 0 <= self.min_rate < 1:
            raise ValueError(f"ScheduleConfig.min_rate must be in [0, 1), got {self.min_rate}.")


@dataclasses.dataclass(frozen=True)
class OptimizerConfig(GroupsConfig):
    """How weights are updated; the defaults are the reference's for Kinetics. Single weights: see `GroupsConfig`.

    Attributes:
      name: "momentum" (SGD, not Nesterov) or "adamw".
      schedule: Learning rate by step.
      momentum: Of SGD, in [0, 1).
      beta_1, beta_2: AdamW's decay of the mean of gradients and of their squares, in [0, 1).
      epsilon: AdamW's, added to the root of the mean square, above 0.
      weight_decay: Per unit of learning rate, of weights whose name has "kernel" in it; 0 is off.
      max_grad_norm: Gradients are clipped to this global norm by `clip_by_global_norm`; None is off.
      clip_per_replica: Clip each replica's gradient before the mean over all, as the reference does (spec §5).
      ema: Decay of the moving average of weights, in (0, 1); None keeps none.
      ema_warmup: Let the decay grow with step t, min(ema, (1 + t) / (10 + t)), so that short runs forget the first
        weights, too (as `num_updates` of TensorFlow's ExponentialMovingAverage).
    """

    name: OptimizerName = "momentum"
    schedule: ScheduleConfig = ScheduleConfig()
    momentum: float = 0.9
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7
    weight_decay: float = 0.0
    max_grad_norm: float | None = 1.0
    clip_per_replica: bool = False
    ema: float | None = None
    ema_warmup: bool = False

    def __post_init__(self):
        GroupsConfig.__post_init__(self)
        if self.name not in get_args(OptimizerName):
            raise ValueError(f"OptimizerConfig.name must be one of {get_args(OptimizerName)}, got {self.name!r}.")
        for field in ("momentum", "beta_1", "beta_2"):
            if not 0 <= getattr(self, field) < 1:
                raise ValueError(f"OptimizerConfig.{field} must be in [0, 1), got {getattr(self, field)}.")
        if self.epsilon <= 0:
            raise ValueError(f"OptimizerConfig.epsilon must be above 0, got {self.epsilon}.")
        if self.weight_decay < 0:
            raise ValueError(f"OptimizerConfig.weight_decay must be 0 or more, got {self.weight_decay}.")
        if self.max_grad_norm is not None and self.max_grad_norm <= 0:
            raise ValueError(f"OptimizerConfig.max_grad_norm must be above 0 or None, got {self.max_grad_norm}.")
        if self.ema is not None and not 0 < self.ema < 1:
            raise ValueError(f"OptimizerConfig.ema must be in (0, 1) or None, got {self.ema}.")
        if self.ema_warmup and self.ema is None:
            raise ValueError("OptimizerConfig.ema_warmup is of the moving average; set OptimizerConfig.ema as well.")


@keras.saving.register_keras_serializable(package="vivit")
class CompoundSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """base * min(1, s / warmup) * (1 + cos(pi * frac((s - warmup) / (total - int(warmup))))) / 2 at step s from 0.

    The first step has rate 0 (if there is a warm-up), and the cosine starts again after `total_steps`: the reference's
    "constant * cosine_decay * linear_warmup". `warmup_steps` need not be whole. With `min_rate` m, the cosine c in
    [0, 1] is m + (1 - m) * c.
    """

    def __init__(self, base_learning_rate: float, warmup_steps: float, total_steps: int, min_rate: float = 0.0):
        if not 0 <= warmup_steps < total_steps:
            raise ValueError(f"warmup_steps must be in [0, total_steps = {total_steps}), got {warmup_steps}.")
        self.base_learning_rate = base_learning_rate
        self.warmup_steps = warmup_steps
        self.total_steps = total_steps
        self.min_rate = min_rate

    def __call__(self, step):
        """Learning rate, a float32 scalar, at `step`, an integer scalar."""
        step = ops.cast(step, "float32")
        warmup = ops.minimum(1.0, step / self.warmup_steps) if self.warmup_steps else 1.0
        cycle = self.total_steps - int(self.warmup_steps)
        progress = ops.mod(ops.maximum(0.0, step - self.warmup_steps) / cycle, 1.0)
        cosine = 0.5 * (1.0 + ops.cos(math.pi * progress))
        if self.min_rate:
            cosine = self.min_rate + (1.0 - self.min_rate) * cosine
        return self.base_learning_rate * warmup * cosine

    def get_config(self):
        """The constructor's arguments."""
        return {
            "base_learning_rate": self.base_learning_rate,
            "warmup_steps": self.warmup_steps,
            "total_steps": self.total_steps,
            "min_rate": self.min_rate,
        }


class _WeightByWeight:
    """A Keras optimizer's part: each weight has a rate and a decay of its own, and their average may warm up.

    Args:
      kernel_decay: Decay, per unit of learning rate, of weights whose name contains "kernel".
      rates: Factors of the learning rate by a weight's path; 1 where it is not in there.
      decays: In place of `kernel_decay`, by a weight's path; weights that are no kernels have none either way.
      ema_warmup: As in `OptimizerConfig`.
      **kwargs: The optimizer's own.
    """

    def __init__(self, *, kernel_decay=0.0, rates=None, decays=None, ema_warmup=False, **kwargs):
        super().__init__(**kwargs)
        self.kernel_decay, self.rates, self.decays = kernel_decay, rates or {}, decays or {}
        self.ema_warmup = ema_warmup

    def build(self, variables):
        """Looks up the factor and the decay of each variable."""
        if not self.built:
            super().build(variables)
            self._factors = [self.rates.get(variable.path, 1.0) for variable in variables]
            decays = [self.decays.get(variable.path, self.kernel_decay) for variable in variables]
            is_kernel = ["kernel" in variable.name for variable in variables]
            self._decays = [decay if kernel else 0.0 for decay, kernel in zip(decays, is_kernel, strict=True)]

    def _all_reduce_sum_gradients(self, grads_and_vars):
        # Keras would send them all once more between the devices: `update` has averaged them, to clip their mean.
        return grads_and_vars

    def own(self, variable, learning_rate):
        """The rate, a scalar tensor, and the decay, a float, of one variable."""
        index = self._get_variable_index(variable)
        rate, factor = ops.cast(learning_rate, variable.dtype), self._factors[index]
        return rate if factor == 1 else rate * factor, self._decays[index]

    def get_config(self):
        """The constructor's arguments."""
        own = {"kernel_decay": self.kernel_decay, "rates": dict(self.rates), "decays": dict(self.decays)}
        return super().get_config() | own | {"ema_warmup": self.ema_warmup}

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Within, outside of replicas, the weights are their moving average, if there is one."""
        self._swap_averages()
        try:
            yield
        finally:
            self._swap_averages()

    def _swap_averages(self):
        if self.use_ema:
            for variable, average in zip(self._trainable_variables, self._model_variables_moving_average, strict=True):
                value = ops.copy(variable)
                variable.assign(average)
                average.assign(value)

    def _update_model_variables_moving_average(self, trainable_variables):
        if not self.ema_warmup:
            super()._update_model_variables_moving_average(trainable_variables)
            return
        step = ops.cast(self.iterations, "float32")
        decay = ops.minimum(self.ema_momentum, (1 + step) / (10 + step)) * ops.cast(step > 0, "float32")
        for variable, average in zip(trainable_variables, self._model_variables_moving_average, strict=True):
            average.assign(decay * average + (1 - decay) * variable)


@keras.saving.register_keras_serializable(package="vivit")
class Momentum(_WeightByWeight, keras.optimizers.Optimizer):
    """SGD with momentum as the reference's (flax.optim.Momentum): m = momentum * m + g; w -= rate * m.

    `keras.optimizers.SGD` puts the rate into m, which differs as soon as the rate changes. Weights that decay are then
    scaled by 1 - rate * decay (the reference's `explicit_weight_decay`).
    """

    def __init__(self, learning_rate=0.1, momentum=0.9, kernel_decay=0.0, name="momentum", **kwargs):
        super().__init__(learning_rate=learning_rate, kernel_decay=kernel_decay, name=name, **kwargs)
        self.momentum = momentum

    def build(self, variables):
        """Makes one momentum, zero, per variable."""
        if not self.built:
            super().build(variables)
            self.momentums = self.add_optimizer_variables(variables, "momentum")

    def update_step(self, gradient, variable, learning_rate):
        """Updates one variable and its momentum."""
        rate, decay = self.own(variable, learning_rate)
        momentum = self.momentums[self._get_variable_index(variable)]
        with _once_there(gradient):
            self.assign(momentum, ops.add(ops.multiply(momentum, self.momentum), ops.cast(gradient, variable.dtype)))
            self.assign_sub(variable, ops.multiply(momentum, rate))
            if decay:
                self.assign(variable, ops.multiply(variable, 1.0 - rate * decay))

    def get_config(self):
        """The constructor's arguments."""
        return super().get_config() | {"momentum": self.momentum}


@keras.saving.register_keras_serializable(package="vivit")
class AdamW(_WeightByWeight, keras.optimizers.Adam):
    """AdamW (Loshchilov and Hutter, 2019): w -= rate * decay * w, then Adam's update.

    `keras.optimizers.AdamW` computes the same, with one rate and one decay for all weights.
    """

    def update_step(self, gradient, variable, learning_rate):
        """Updates one variable and its moments."""
        rate, decay = self.own(variable, learning_rate)
        if decay:
            # Computed again, as Keras does: sharing it changes the last bit of what a compiled step rounds.
            decay_rate, _ = self.own(variable, self.learning_rate)
            with _once_there(gradient):
                self.assign_sub(variable, variable * decay * decay_rate)
        super().update_step(gradient, variable, rate)


def _once_there(gradient: tf.Tensor) -> contextlib.AbstractContextManager:
    """Within, nothing is computed before the gradient.

    What does not need it, as the momentum times a number, TensorFlow would compute while the forward pass begins, and
    keep for the whole step: the size of all weights.
    """
    return tf.control_dependencies([gradient])


def build_optimizer(
    config: OptimizerConfig, total_steps: int, rules: Mapping[str, Rule] | None = None
) -> keras.optimizers.Optimizer:
    """The optimiser of `config` for a training run of `total_steps`; `update` gives it its gradients.

    Args:
      config: How weights are updated.
      total_steps: Steps of the whole run.
      rules: Of single weights by their paths, from `models.training.groups.apply_groups`; None for the same for all.
    """
    schedule, rules = config.schedule, rules or {}
    rate = CompoundSchedule(schedule.base_learning_rate, schedule.warmup * total_steps, total_steps, schedule.min_rate)
    own = {}
    if config.ema is not None:
        own = {"use_ema": True, "ema_momentum": config.ema, "ema_warmup": config.ema_warmup}
    own |= {
        "kernel_decay": config.weight_decay,
        "rates": {path: rule.rate for path, rule in rules.items() if rule.rate != 1},
        "decays": {path: rule.weight_decay for path, rule in rules.items() if rule.weight_decay is not None},
    }
    if config.name == "momentum":
        return Momentum(rate, config.momentum, **own)
    return AdamW(
        learning_rate=rate, beta_1=config.beta_1, beta_2=config.beta_2, epsilon=config.epsilon, name="adamw", **own
    )


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
