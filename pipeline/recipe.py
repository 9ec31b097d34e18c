"""A recipe: every setting of a run, composed of the configs of the parts that use them.

Recipes are the modules of pipeline/recipes, each with a `RECIPE`; ``--set key=value`` changes single settings.
"""

from __future__ import annotations

import dataclasses
import importlib
import math
from collections.abc import Iterable

from components.evaluation.config import EvaluationConfig, PushConfig
from components.ingest.config import IngestConfig
from components.media.config import DecodeConfig, part
from components.registry.records import RunInfo
from models.checkpoints.pretrained import ModelConfig
from models.clips.augment import AugmentConfig, window_size
from models.clips.sampling import ClipConfig, ViewsConfig
from models.training.config import LearningConfig, PaceConfig, TrainConfig, TrainerConfig, WeightsConfig
from pipeline import recipes, settings
from schemas.features import DEFAULT_HEAD, Storage

# In `model.init_from`: the model in production in the workdir.
PRODUCTION = "production"


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Which parts of the data set are used, and how frames are stored for training.

    Attributes:
      heads: Label heads to train, in the order of the logits; empty for all heads of the manifest.
      num_classes: Class count of each head where the recipe is for one data set; empty where the data set decides.
      slices: Manifest columns to slice metrics by; None for every column without another meaning.
      storage: "jpeg" (decoded when sampled: large sets) or "raw" (decoded once: small sets, fast accelerators).
    """

    heads: tuple[str, ...] = ()
    num_classes: tuple[int, ...] = ()
    slices: tuple[str, ...] | None = None
    storage: Storage = "jpeg"


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Every setting of a run."""

    data: DataConfig = DataConfig()
    ingest: IngestConfig = IngestConfig()
    clip: ClipConfig = ClipConfig()
    views: ViewsConfig = ViewsConfig()
    augment: AugmentConfig = AugmentConfig()
    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    push: PushConfig = PushConfig()

    def __post_init__(self):
        frames, *sides = self.model.tubelet
        _check_covered("clip.num_frames", self.clip.num_frames, frames, self.model.tubelet)
        _check_covered("clip.crop_size", self.clip.crop_size, math.lcm(*sides), self.model.tubelet)
        # Raises ValueError where the smallest frames that augment.scale makes hold no crop.
        window_size(self.clip, self.augment)
        if self.augment.still and self.train.class_weights:
            raise settings.ConfigError(
                "augment.still and train.class_weights exclude each other: weighed by class, a still clip would have "
                "the rarest class as its target; set augment.still=0, or train.sampling=balanced in place of weights"
            )
        if self.train.batch_size % self.augment.repeats:
            raise settings.ConfigError(
                f"train.batch_size is {self.train.batch_size}; augment.repeats {self.augment.repeats} must divide it"
            )

    def weights_config(self, heads: Iterable[str]) -> WeightsConfig:
        """What the weights depend on."""
        return WeightsConfig(
            heads=tuple(heads),
            storage=self.data.storage,
            clip=self.clip,
            augment=self.augment,
            model=self.model,
            train=part(LearningConfig, self.train),
        )

    def trainer_config(self, heads: Iterable[str]) -> TrainerConfig:
        """What the Trainer receives, which is also its fingerprint; `pace` is not part of it."""
        decoding = dataclasses.asdict(part(DecodeConfig, self.ingest))
        return TrainerConfig(self.weights_config(heads), decoding, self.views)

    def starting_from(self, path: str | None) -> Recipe:
        """The same recipe with the file or folder that `model.init_from` names."""
        return dataclasses.replace(self, model=dataclasses.replace(self.model, init_from=path))

    @property
    def pace(self) -> PaceConfig:
        """How the training goes."""
        return part(PaceConfig, self.train)


def _check_covered(setting: str, value: int, step: int, tubelet: Iterable[int]) -> None:
    """Raises ConfigError if tubelets leave a part of the clip unseen, as the network would do without a word."""
    if rest := value % step:
        of = f"model.tubelet={','.join(map(str, tubelet))}"
        nearest = " or ".join(str(fit) for fit in (value - rest, value - rest + step) if fit)
        raise settings.ConfigError(
            f"{setting} is {value}, but {of} wants a multiple of {step}: the network would never see the last {rest}. "
            f"Set it to {nearest}"
        )


def load_recipe(name: str, overrides: Iterable[str] = ()) -> Recipe:
    """Loads a recipe and applies ``key=value`` settings.

    Raises:
      ConfigError: If the recipe or a setting does not exist, or a value does not fit.
    """
    if name not in recipes.names():
        raise settings.ConfigError(f"no recipe {name!r}; there are {', '.join(recipes.names())}")
    return settings.override(importlib.import_module(recipes.module(name)).RECIPE, pairs_of(overrides))


def pairs_of(overrides: Iterable[str]) -> dict[str, str]:
    """``key=value`` settings as a mapping; the last of a key holds.

    Raises:
      ConfigError: If one has no equals sign.
    """
    pairs = {}
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals:
            raise settings.ConfigError(f"--set {text}: wanted key=value, e.g. --set train.steps=200")
        pairs[key.strip()] = value.strip()
    return pairs


def describe(name: str, recipe: Recipe, *, source: str, label: str = "") -> RunInfo:
    """Describes a run of a recipe with its settings."""
    config = dataclasses.asdict(recipe)
    published, used = settings.flat(dataclasses.asdict(load_recipe(name))), settings.flat(config)
    changes = {key: (published[key], used[key]) for key in used if published[key] != used[key]}
    return RunInfo(name, changes, config, source, label, recipe.push.approval)


def heads_of(recipe: Recipe) -> tuple[str, ...]:
    """The heads that a recipe names, or the default head where the data set decides."""
    return recipe.data.heads or (DEFAULT_HEAD,)
