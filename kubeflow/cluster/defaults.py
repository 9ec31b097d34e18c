"""What each step of a recipe needs, where the team's file does not say."""

from __future__ import annotations

from collections.abc import Mapping

from kubeflow.cluster.config import Accelerator, Step
from pipeline.recipe import Recipe
from pipeline.settings import ConfigError

# (cores, GiB) of the steps that do more than move metadata: of a network of width 512 or less, or a few clips; of one
# of width 1024 or more; and between them.
_SMALL = {
    "Prepare": (2, 8),
    "VideoExampleGen": (4, 8),
    "StatisticsGen": (2, 8),
    "Transform": (4, 8),
    "Trainer": (8, 16),
    "ClipHasher": (4, 8),
    "Scorer": (8, 16),
    "Evaluator": (2, 8),
    "ModelGate": (2, 8),
    "ModelCanary": (4, 8),
    "Compressor": (4, 8),
    "Review": (2, 8),
    "Pusher": (1, 4),
}
_BASE = {
    "Prepare": (4, 16),
    "VideoExampleGen": (8, 16),
    "StatisticsGen": (4, 16),
    "Transform": (8, 32),
    "Trainer": (16, 64),
    "ClipHasher": (8, 16),
    "Scorer": (16, 64),
    "Evaluator": (8, 32),
    "ModelGate": (2, 16),
    "ModelCanary": (4, 16),
    "Compressor": (8, 32),
    "Review": (4, 16),
    "Pusher": (1, 4),
}
_LARGE = {**_BASE, "Trainer": (32, 128), "ModelCanary": (8, 32), "Compressor": (16, 64), "Pusher": (2, 8)}
_OTHERS = Step(cpu=1.0, memory=4.0)
# Those that run the network. The Evaluator reads a table of predictions.
_ACCELERATED = ("Trainer", "Scorer", "ModelCanary", "Compressor")


class Needs(dict[str, Step]):
    """Needs by step; one that is not named only moves metadata."""

    def __missing__(self, step: str) -> Step:
        return _OTHERS


def needs_of(recipe: Recipe, accelerator: str | None = None) -> Mapping[str, Step]:
    """What each step of a recipe needs.

    Args:
      recipe: The recipe, with the network that is trained.
      accelerator: ``TYPE:COUNT`` of the Trainer, e.g. ``nvidia.com/gpu:4``; the other steps that run the network have
        one. None for CPUs.

    Raises:
      ConfigError: If the accelerator is not of that form.
    """
    needs = Needs({name: Step(cpu=float(cpu), memory=float(gib)) for name, (cpu, gib) in _amounts(recipe).items()})
    if accelerator:
        kind, _, count = accelerator.rpartition(":")
        if not kind or not count.isdigit() or int(count) < 1:
            raise ConfigError(f"--accelerator {accelerator}: wanted TYPE:COUNT, e.g. nvidia.com/gpu:1")
        for name in _ACCELERATED:
            try:
                own = Step(accelerator=Accelerator(kind, int(count) if name == "Trainer" else 1))
            except ValueError as error:
                raise ConfigError(f"--accelerator {accelerator}: {error}; name it in a file, --cluster") from error
            needs[name] = own.over(needs[name])
    return needs


def _amounts(recipe: Recipe) -> dict[str, tuple[int, int]]:
    width = recipe.model.hidden_size
    if width >= 1024:
        return _LARGE
    return _SMALL if width <= 512 or recipe.train.probe else _BASE
