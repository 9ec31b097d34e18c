"""The parameters of a compiled pipeline's run: what may differ from run to run without compiling again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from pipeline.recipe import Recipe, pairs_of
from pipeline.settings import ConfigError


class Parameter(NamedTuple):
    """A parameter of a run.

    Attributes:
      kind: Its type in Kubeflow's specs.
      text: What it means.
      setting: The setting that it is, if it is one.
    """

    kind: str
    text: str
    setting: str = ""


PARAMETERS: Mapping[str, Parameter] = {
    "data": Parameter("STRING", "manifest, folder of classes, or folder that `vivit prepare` has named"),
    "workdir": Parameter("STRING", "folder or bucket of all that runs keep: artifacts, checkpoints, models"),
    "label": Parameter("STRING", "what you call the run, for the reviewer"),
    "epochs": Parameter("NUMBER_DOUBLE", "passes over the training clips", "train.epochs"),
    "batch_size": Parameter("NUMBER_INTEGER", "clips of a training step", "train.batch_size"),
    "learning_rate": Parameter("NUMBER_DOUBLE", "highest rate", "train.optimizer.schedule.base_learning_rate"),
    "init_from": Parameter("STRING", "weights to start from, or `production`; empty: none", "model.init_from"),
    "min_top_1": Parameter("NUMBER_DOUBLE", "top-1 that a model must reach to be pushed", "evaluation.min_top_1"),
    "max_top_1_drop": Parameter(
        "NUMBER_DOUBLE", "how much top-1 it may lose against the model in production", "evaluation.max_top_1_drop"
    ),
    "settings": Parameter("LIST", 'any other settings of the recipe, as ["KEY=VALUE", …]'),
}
_SETTINGS = {parameter.setting: name for name, parameter in PARAMETERS.items() if parameter.setting}


def default_values(recipe: Recipe, overrides: Iterable[str], **given: str) -> dict[str, Any]:
    """Values of a run for which nothing is said.

    Args:
      recipe: With `overrides`.
      overrides: ``key=value`` settings that it was compiled with.
      **given: Values of the parameters that are no settings.
    """
    values: dict[str, Any] = dict(given)
    for name, parameter in PARAMETERS.items():
        if parameter.setting:
            value = _value_of(recipe, parameter.setting)
            values[name] = "" if value is None else value
    values["settings"] = [f"{key}={value}" for key, value in pairs_of(overrides).items() if key not in _SETTINGS]
    return {name: values[name] for name in PARAMETERS}


def definitions(values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What a spec says of its parameters: their types, and `values` as their defaults; data must be given if empty."""
    found = {}
    for name, parameter in PARAMETERS.items():
        found[name] = {"parameterType": parameter.kind, "description": parameter.text}
        if name != "data" or values[name]:
            found[name] |= {"defaultValue": values[name], "isOptional": True}
    return found


def overrides_of(values: Mapping[str, Any]) -> list[str]:
    """The ``key=value`` settings that the parameters of a run make.

    Raises:
      ConfigError: If `settings` has one that is a parameter of its own.
    """
    others = list(values.get("settings") or ())
    for key in pairs_of(others):
        if key in _SETTINGS:
            raise ConfigError(f"settings has {key}: use the parameter {_SETTINGS[key]} of the run instead")
    named = {parameter.setting: values[name] for name, parameter in PARAMETERS.items() if parameter.setting}
    return others + [f"{key}={_text(value)}" for key, value in named.items()]


def _value_of(recipe: Recipe, setting: str) -> Any:
    value: Any = recipe
    for name in setting.split("."):
        value = getattr(value, name)
    return value


def _text(value: Any) -> str:
    """A value as ``--set`` takes it; Kubeflow makes a float of each number, and an empty text is none."""
    if isinstance(value, str):
        return value or "null"
    return json.dumps(int(value) if value == int(value) else value)
