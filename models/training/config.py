"""The settings of training, in two parts: those that decide the weights, and those that decide only the run."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from models.checkpoints.pretrained import ModelConfig
from models.clips.augment import AugmentConfig
from models.clips.sampling import ClipConfig, ViewsConfig
from models.training.optimizers import OptimizerConfig
from models.training.strategies import StrategyName
from schemas.features import Storage


def _check_positive(config: Any, *fields: str) -> None:
    for field in fields:
        if getattr(config, field) <= 0:
            raise ValueError(f"{field} is {getattr(config, field)}; it must be greater than 0")


@dataclasses.dataclass(frozen=True)
class LearningConfig:
    """What the weights depend on.

    Attributes:
      epochs: Passes over the training clips.
      batch_size: Clips per step.
      optimizer: Optimizer and schedule.
      label_smoothing: Share of the target spread over all classes, 0 to 1.
      class_weights: "balanced" weighs each class by the inverse of its number of training clips.
      seed: Seed of initial weights, data order and every draw.
      jit_compile: Compile the step with XLA; on TPUs it always is.
    """

    epochs: float = 30.0
    batch_size: int = 64
    optimizer: OptimizerConfig = OptimizerConfig()
    label_smoothing: float = 0.0
    class_weights: Literal["balanced"] | None = None
    seed: int = 0
    jit_compile: bool = False

    def __post_init__(self):
        _check_positive(self, "epochs", "batch_size")
        if not 0 <= self.label_smoothing <= 1:
            raise ValueError(f"label_smoothing is {self.label_smoothing}; it must be between 0 and 1")

    def epoch_steps(self, num_clips: int, epochs: float = 1.0) -> int:
        """Steps of some epochs over `num_clips` training clips, at least 1.

        The reference's floor(clips / batch_size) per epoch: the rest of an epoch's clips begins the next epoch.
        """
        return max(1, int((num_clips // self.batch_size) * epochs))

    def total_steps(self, num_clips: int) -> int:
        """Steps of the whole run."""
        return self.epoch_steps(num_clips, self.epochs)


@dataclasses.dataclass(frozen=True)
class PaceConfig:
    """How a training run goes. It may change between a run and its continuation, and trains nothing again.

    With `strategy`, sums are rounded otherwise; mixup and `clip_per_replica` work on each device's share of a batch.

    Attributes:
      eval_epochs: Epochs between two evaluations on the centre view.
      checkpoint_steps: Steps between two checkpoints.
      strategy: Devices that train together, see `models.training.strategies.build_strategy`.
      steps_per_execution: Steps that run on the devices before the host looks at them again; more is faster on TPUs.
    """

    eval_epochs: float = 1.0
    checkpoint_steps: int = 500
    strategy: StrategyName = "auto"
    steps_per_execution: int = 1

    def __post_init__(self):
        _check_positive(self, "eval_epochs", "checkpoint_steps", "steps_per_execution")


@dataclasses.dataclass(frozen=True)
class TrainConfig(PaceConfig, LearningConfig):
    """All settings of training, see `LearningConfig` and `PaceConfig`."""

    def __post_init__(self):
        LearningConfig.__post_init__(self)
        PaceConfig.__post_init__(self)


@dataclasses.dataclass(frozen=True)
class WeightsConfig:
    """Everything that the weights of a model depend on, except the clips themselves."""

    heads: tuple[str, ...]
    storage: Storage
    clip: ClipConfig
    augment: AugmentConfig
    model: ModelConfig
    train: LearningConfig


@dataclasses.dataclass(frozen=True)
class TrainerConfig:
    """What the Trainer makes: weights, and a SavedModel of them.

    Attributes:
      weights: What the weights depend on.
      ingest: How frames are stored, for the model's card.
      views: The views that the SavedModel averages.
    """

    weights: WeightsConfig
    ingest: dict[str, Any]
    views: ViewsConfig
