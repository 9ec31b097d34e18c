"""The settings of training, in two parts: those that decide the weights, and those that decide only the run."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from models.checkpoints.pretrained import ModelConfig
from models.clips.augment import AugmentConfig
from models.clips.sampling import ClipConfig, ViewsConfig
from models.network.remat import Remat
from models.training.optimizers import OptimizerConfig
from models.training.strategies import StrategyName
from schemas.features import Storage


def _check_positive(config: Any, *fields: str) -> None:
    for field in fields:
        if getattr(config, field) <= 0:
            raise ValueError(f"{field} is {getattr(config, field)}; it must be greater than 0")


@dataclasses.dataclass(frozen=True)
class ProbeConfig:
    """How heads are fitted to features that do not change, see `models.training.probing.probe`.

    Attributes:
      views: Clips of each video, evenly spread in time, whose features are computed.
      epochs: Passes over the features; None is 100 for linear heads, and 12 for attentive ones, which cost more each.
      batch_size: Clips per step; None is 128 for linear heads, and 8 for attentive ones.
      rates, decays: Learning rates and weight decays of AdamW; a head is fitted for each pair.
      holdout: Share of the training clips, whole groups, on which the best head is chosen, in (0, 1).
      clips: Training clips that are enough, whole groups: their features take time, and a head that training goes on
        with need not be the best there is; None for all.
    """

    views: int = 1
    epochs: int | None = None
    batch_size: int | None = None
    rates: tuple[float, ...] = (3e-5, 1e-4, 3e-4, 1e-3)
    decays: tuple[float, ...] = (0.0, 10.0, 30.0, 100.0, 300.0)
    holdout: float = 0.2
    clips: int | None = None

    def __post_init__(self):
        given = (field for field in ("epochs", "batch_size", "clips") if getattr(self, field) is not None)
        _check_positive(self, "views", *given)
        if not self.rates or min(self.rates) <= 0:
            raise ValueError(f"rates is {self.rates}; it must have one value or more, each greater than 0")
        if not self.decays or min(self.decays) < 0:
            raise ValueError(f"decays is {self.decays}; it must have one value or more, each 0 or more")
        if not 0 < self.holdout < 1:
            raise ValueError(f"holdout is {self.holdout}; it must be between 0 and 1")


@dataclasses.dataclass(frozen=True)
class BestConfig:
    """How the best weights are chosen among those that training passes through.

    Attributes:
      holdout: Share of the training clips, whole groups, from which training does not learn, in (0, 1).
      epochs: Epochs between two judgements by the held-out clips.
      patience: Judgements in a row without a better one after which training stops; None trains to the end.
    """

    holdout: float = 0.1
    epochs: float = 1.0
    patience: int | None = None

    def __post_init__(self):
        _check_positive(self, "epochs")
        if not 0 < self.holdout < 1:
            raise ValueError(f"holdout is {self.holdout}; it must be between 0 and 1")
        if self.patience is not None:
            _check_positive(self, "patience")


@dataclasses.dataclass(frozen=True)
class LearningConfig:
    """What the weights depend on.

    Attributes:
      probe: Before training, the head is fitted to the features of the first weights; None starts it at zero.
      standardise: The head sees features standardised by the moments of each batch, which end in its weights: training
        keeps the features of pretrained weights, see `models.training.standardise`.
      best: The best weights by a part of the training clips are kept; None keeps the last.
      epochs: Passes over the training clips; 0, with `probe`, trains nothing but the head.
      batch_size: Clips per step, that is per update of the weights.
      accumulate_steps: Parts of a batch that go through the network one after the other, to save memory; the update is
        by their mean gradient, so that it changes rounding, which clips share a draw of dropout, and the moments of
        `standardise`.
      optimizer: Optimizer and schedule.
      label_smoothing: Share of the target spread over all classes, 0 to 1.
      sampling: "uniform" shows each training clip equally often, "balanced" each class of the first head, and each clip
        within its class; the number of steps stays. A probe sees each clip equally often.
      class_weights: "balanced" weighs each class by the inverse of its number of training clips; a probe weighs all
        alike.
      seed: Seed of initial weights, data order and every draw.
      jit_compile: Compile the step with XLA; on TPUs it always is.
    """

    probe: ProbeConfig | None = None
    standardise: bool = False
    best: BestConfig | None = None
    epochs: float = 30.0
    batch_size: int = 64
    accumulate_steps: int = 1
    optimizer: OptimizerConfig = OptimizerConfig()
    label_smoothing: float = 0.0
    sampling: Literal["uniform", "balanced"] = "uniform"
    class_weights: Literal["balanced"] | None = None
    seed: int = 0
    jit_compile: bool = False

    def __post_init__(self):
        _check_positive(self, "batch_size", "accumulate_steps")
        if self.epochs or not self.probe:
            _check_positive(self, "epochs")
        if self.batch_size % self.accumulate_steps:
            raise ValueError(
                f"batch_size is {self.batch_size}; accumulate_steps {self.accumulate_steps} must divide it evenly"
            )
        if self.sampling == "balanced" and self.class_weights:
            raise ValueError(
                "sampling and class_weights are both 'balanced'; rare classes would count twice: choose one"
            )
        if not 0 <= self.label_smoothing <= 1:
            raise ValueError(f"label_smoothing is {self.label_smoothing}; it must be between 0 and 1")

    def epoch_steps(self, num_clips: int, epochs: float = 1.0) -> int:
        """Steps of some epochs over `num_clips` training clips, at least 1.

        The reference's floor(clips / batch_size) per epoch: the rest of an epoch's clips begins the next epoch.
        """
        return max(1, int((num_clips // self.batch_size) * epochs))

    def total_steps(self, num_clips: int) -> int:
        """Steps of the whole run; 0 where the head alone is fitted."""
        return self.epoch_steps(num_clips, self.epochs) if self.epochs else 0


@dataclasses.dataclass(frozen=True)
class PaceConfig:
    """How a training run goes. It may change between a run and its continuation, and trains nothing again.

    With `strategy`, sums are rounded otherwise; mixup, CutMix, `LearningConfig.standardise` and `clip_per_replica` work
    on each device's share.

    Attributes:
      eval_epochs: Epochs between two evaluations on the centre view.
      checkpoint_steps: Steps between two checkpoints.
      strategy: Devices that train together, see `models.training.strategies.build_strategy`.
      steps_per_execution: Steps that run on the devices before the host looks at them again; more is faster on TPUs.
      elsewhere: Whether the pipeline's Trainer waits for other machines, which ``vivit train`` makes train, and goes on
        with their weights.
      profile_steps: First and last step, counted from 1, of which a trace for TensorBoard's profiler is written; empty
        for none.
      remat: What the backward pass computes again instead of keeping it in memory: nothing with "none", the weights of
        "attention", or all of the transformer "blocks" but their inputs.
    """

    eval_epochs: float = 1.0
    checkpoint_steps: int = 500
    strategy: StrategyName = "auto"
    steps_per_execution: int = 1
    elsewhere: bool = False
    profile_steps: tuple[int, ...] = ()
    remat: Remat = "none"

    def __post_init__(self):
        _check_positive(self, "eval_epochs", "checkpoint_steps", "steps_per_execution")
        steps = self.profile_steps
        if steps and (len(steps) != 2 or not 1 <= steps[0] <= steps[1]):
            raise ValueError(f"profile_steps is {steps}; it must be the first and the last step, from 1 on, e.g. 20,25")


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
