"""Which recipe fits a user's own videos where none is named, and why."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import tensorflow as tf

from components.manifest.reader import Manifest
from components.storage.cores import cores
from models.network.cost import measure_cost
from models.training.groups import rules_of
from pipeline.plan.weights import with_network
from pipeline.recipe import PRODUCTION, Recipe, load_recipe, pairs_of

# What a run that nobody has set up computes should not take longer, in seconds: else it trains fewer epochs, in halves,
# or the head alone.
_SECONDS = 20 * 60
_FEWEST_EPOCHS = 1.0
# With fewer training clips a class, a head is all that can be learnt.
_FEWEST_CLIPS = 5
# Multiply-adds a second in float32: of one core of a server's CPU, as measured with ViT-S and ViT-B, and of one GPU.
_CORE, _GPU = 20e9, 5e12


class Choice(NamedTuple):
    """A recipe for a data set.

    Attributes:
      recipe: Its name.
      overrides: ``key=value`` settings, the user's and those chosen here.
      reason: Why, as a part of a sentence.
    """

    recipe: str
    overrides: tuple[str, ...]
    reason: str


def fitting_recipe(overrides: Sequence[str], workdir: str, manifest: Manifest) -> Choice:
    """Chooses: `small` without pretrained weights, else `finetune`, or `probe` where that would take too long.

    Args:
      overrides: The user's ``key=value`` settings.
      workdir: Folder of the run.
      manifest: The data set.

    Raises:
      ConfigError: If a setting is wrong, or the weights cannot be read.
    """
    overrides, given = tuple(overrides), pairs_of(overrides)
    if likely_recipe(overrides) == "small":
        in_production = given.get("model.init_from") == PRODUCTION
        why = "a model in production goes on as it was made" if in_production else "there are no pretrained weights"
        return Choice("small", overrides, why)
    clips, classes = len(manifest.split("train")), {head: len(manifest.classes(head)) for head in manifest.heads}
    if clips < _FEWEST_CLIPS * max(classes.values()):
        few = f"there are pretrained weights, and fewer than {_FEWEST_CLIPS} training clips a class"
        return Choice("probe", overrides, few)
    if "train.epochs" in given:
        return Choice("finetune", overrides, "there are pretrained weights")
    recipe = with_network(load_recipe("finetune", overrides), workdir)
    evaluated = len(manifest.split(recipe.evaluation.split))
    others, epoch = (cost / _speed() for cost in run_cost(recipe, classes, clips, evaluated))
    epochs = min(recipe.train.epochs, math.floor(2 * (_SECONDS - others) / epoch) / 2)
    time = _minutes(others + max(epochs, _FEWEST_EPOCHS) * epoch)
    if epochs < _FEWEST_EPOCHS:
        return Choice("probe", overrides, f"to fine-tune {clips:,} clips for an epoch takes {time} here")
    reason = f"there are pretrained weights; {epochs:g} epochs take {time} here, with what comes before and after"
    return Choice("finetune", (*overrides, f"train.epochs={epochs:g}"), reason)


def likely_recipe(overrides: Sequence[str]) -> str:
    """What `fitting_recipe` will choose unless time or clips are short, by the settings alone."""
    from_scratch = ("null", "None", PRODUCTION)
    return "small" if pairs_of(overrides).get("model.init_from", "null") in from_scratch else "finetune"


def run_cost(recipe: Recipe, classes: Mapping[str, int], clips: int, evaluated: int) -> tuple[float, float]:
    """Multiply-adds of a run's probe and evaluations, and of an epoch of its training.

    Args:
      recipe: Its network is stated.
      classes: Number of classes by head.
      clips, evaluated: Clips that are trained and evaluated.
    """
    cost = measure_cost(recipe.model, clip_shape=recipe.clip.shape, heads=classes, all_tokens=False)
    rules = rules_of(recipe.train.optimizer, cost.shapes)
    trained = sum(tf.TensorShape(shape).num_elements() for name, shape in cost.shapes.items() if not rules[name].frozen)
    step = cost.training(trained) * (1 - recipe.model.patch_dropout)
    # The last evaluation in training, and the Scorer's.
    passes = evaluated * (1 + recipe.views.count)
    if probe := recipe.train.probe:
        passes += min(clips, probe.clips or clips) * probe.views
    return passes * cost.multiply_adds, clips * step


def _speed() -> float:
    """Multiply-adds a second, by what kind of device there is: the same on each run."""
    return _GPU * len(tf.config.list_physical_devices("GPU")) or _CORE * cores()


def _minutes(seconds: float) -> str:
    return f"about {max(1, round(seconds / 60)):,} min"
