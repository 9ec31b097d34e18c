"""A recipe: every setting of a run, composed of the configs of the parts that use them.

Recipes are the modules of pipeline/recipes, each with a `RECIPE`; ``--set key=value`` changes single settings.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
from collections.abc import Iterable, Iterator, Mapping

from components.evaluation.config import EvaluationConfig, PushConfig
from components.ingest.config import IngestConfig
from components.media.config import DecodeConfig, part
from components.registry.records import RunInfo
from models.checkpoints.pretrained import ModelConfig
from models.clips.augment import AugmentConfig
from models.clips.sampling import ClipConfig, ViewsConfig
from models.training.config import LearningConfig, PaceConfig, TrainConfig, TrainerConfig, WeightsConfig
from pipeline import recipes, settings
from schemas.features import DEFAULT_HEAD, Storage


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

    @property
    def pace(self) -> PaceConfig:
        """How the training goes."""
        return part(PaceConfig, self.train)


def load_recipe(name: str, overrides: Iterable[str] = ()) -> Recipe:
    """Loads a recipe and applies ``key=value`` settings.

    Raises:
      ConfigError: If the recipe or a setting does not exist, or a value does not fit.
    """
    if name not in recipes.names():
        raise settings.ConfigError(f"no recipe {name!r}; there are {', '.join(recipes.names())}")
    pairs = {}
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals:
            raise settings.ConfigError(f"--set {text}: wanted key=value, e.g. --set train.steps=200")
        pairs[key.strip()] = value.strip()
    return settings.override(importlib.import_module(f"{recipes.__name__}.{name}").RECIPE, pairs)


def describe(name: str, recipe: Recipe, *, source: str, label: str = "") -> RunInfo:
    """Describes a run of a recipe with its settings."""
    config = dataclasses.asdict(recipe)
    published, used = (dict(_leaves(values)) for values in (dataclasses.asdict(load_recipe(name)), config))
    changes = {key: (published[key], used[key]) for key in used if published[key] != used[key]}
    return RunInfo(name, changes, config, source, label, recipe.push.approval)


def _leaves(values: Mapping, prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, json.dumps(value)


def heads_of(recipe: Recipe) -> tuple[str, ...]:
    """The heads that a recipe names, or the default head where the data set decides."""
    return recipe.data.heads or (DEFAULT_HEAD,)
