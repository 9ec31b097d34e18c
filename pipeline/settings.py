"""Frozen dataclasses to and from plain values: one way for recipes, `--set key=value` and the configs passed to a step.

Contract: a config built here has the declared types all the way down, or a `ConfigError` names the field with its full
dotted path, the value, and what is allowed.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar, Union

Config = TypeVar("Config")


class ConfigError(ValueError):
    """A setting does not exist or has a value that is not allowed."""


def to_json(config: Any) -> str:
    """JSON of a config, with keys in a fixed order."""
    return json.dumps(dataclasses.asdict(config), sort_keys=True)


def from_json(config_type: type[Config], text: str) -> Config:
    """The inverse of `to_json`."""
    return build(config_type, json.loads(text))


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested plain values as ``{"train.steps": "200"}``: dotted keys, and values as JSON."""
    found = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = json.dumps(value, ensure_ascii=False)
    return found


def build(config_type: type[Config], values: Mapping[str, Any], path: str = "") -> Config:
    """Builds a config dataclass from a mapping; fields that are not in it keep their defaults.

    Raises:
      ConfigError: If a key is unknown, or a value does not fit its field.
    """
    hints = typing.get_type_hints(config_type)
    for key in values:
        if key not in hints:
            raise unknown(f"{path}{key}", [path + name for name in hints])
    for field in dataclasses.fields(config_type):
        if field.name not in values and field.default is field.default_factory is dataclasses.MISSING:
            raise ConfigError(f"{path + field.name} is missing")
    fields = {key: _value(hints[key], value, path + key) for key, value in values.items()}
    return _construct(lambda: config_type(**fields), path)


def override(config: Config, settings: Mapping[str, str]) -> Config:
    """Applies ``{"train.steps": "200"}``: dotted keys, and values as JSON or as plain text.

    A group that may be None is turned off by ``null``, and on by any of its settings; the others have their defaults.

    Raises:
      ConfigError: If a key is unknown, or a value does not fit its field.
    """
    return _with(config, {tuple(key.split(".")): text for key, text in settings.items()}, "")


def _with(config: Any, settings: Mapping[tuple[str, ...], str], prefix: str) -> Any:
    """Applies the settings of one group together, as one value may require another."""
    hints = typing.get_type_hints(type(config))
    changes, groups = {}, {}
    for (name, *rest), text in settings.items():
        key = prefix + ".".join((name, *rest))
        if name not in hints:
            raise unknown(prefix + name, [prefix + other for other in hints])
        group = _group(hints[name])
        if rest and not group:
            raise ConfigError(f"{key}: {prefix + name} is a value, not a group of settings")
        turned_off = group is not hints[name] and _parsed(text) is None
        if not rest and group and not turned_off:
            inner = ", ".join(f"{key}.{field.name}" for field in dataclasses.fields(group))
            raise ConfigError(f"{key} is a group of settings; set one of {inner}")
        if rest:
            groups.setdefault(name, {})[tuple(rest)] = text
        else:
            changes[name] = _value(hints[name], _parsed(text), key, text)
    for name, inner in groups.items():
        current = getattr(config, name)
        changes[name] = _with(_group(hints[name])() if current is None else current, inner, f"{prefix}{name}.")
    return _construct(lambda: dataclasses.replace(config, **changes), prefix)


def _group(hint: Any) -> type | None:
    """The dataclass of a group of settings, which may be optional; None for a value."""
    options = typing.get_args(hint) if typing.get_origin(hint) in (Union, types.UnionType) else (hint,)
    return next((option for option in options if dataclasses.is_dataclass(option)), None)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return {"True": True, "False": False, "None": None}.get(text, text.split(",") if "," in text else text)


def _construct(make: typing.Callable[[], Any], path: str) -> Any:
    """Makes a config, which checks itself; turns its errors into `ConfigError`."""
    try:
        return make()
    except ConfigError:
        raise
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{path.rstrip('.')}: {error}" if path else str(error)) from error


def _value(hint: Any, value: Any, path: str, text: str | None = None) -> Any:
    """Checks `value` against a type hint, turning lists into tuples and whole numbers into floats where required."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        options = [option for option in arguments if option is not type(None)]
        return _value(next((option for option in options if option is type(value)), options[0]), value, path, text)
    if origin is Literal:
        if value not in arguments:
            raise ConfigError(f"{path} is {value!r}; it must be one of {', '.join(map(repr, arguments))}")
        return value
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            fields = ", ".join(f'"{field.name}"' for field in dataclasses.fields(hint))
            raise ConfigError(f"{path} is {value!r}; it must be a JSON object {{…}} with the fields {fields}")
        return build(hint, value, path + ".")
    if origin is tuple:
        items = value if isinstance(value, list | tuple) else [value] if value != "" else []
        item_types = [arguments[0]] * len(items) if arguments[-1] is Ellipsis else list(arguments)
        if len(items) != len(item_types):
            raise ConfigError(f"{path} is {value!r}; it must have {len(item_types)} values")
        return tuple(
            _value(
                item_type,
                _parsed(item) if isinstance(item, str) and item_type is not str else item,
                f"{path}[{index}]" if dataclasses.is_dataclass(item_type) else path,
            )
            for index, (item_type, item) in enumerate(zip(item_types, items, strict=True))
        )
    if origin in (dict, Mapping):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{path} is {value!r}; it must be an object {{…}} of keys and values")
        if wrong := [key for key in value if not isinstance(key, arguments[0])]:
            raise ConfigError(f"{path} has the key {wrong[0]!r}; it must be of type {arguments[0].__name__}")
        return {key: _value(arguments[1], item, f"{path}.{key}") for key, item in value.items()}
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise ConfigError(f"{path} is {value}; it must be a finite number")
        return float(value)
    if hint is str and text is not None:
        return text
    if isinstance(hint, type) and isinstance(value, hint) and isinstance(value, bool) == (hint is bool):
        return value
    wanted = getattr(hint, "__name__", str(hint))
    raise ConfigError(f"{path} is {value!r}; it must be of type {wanted}")


def unknown(key: str, known: Sequence[str], kind: str = "setting") -> ConfigError:
    """The error of a name that is not known: with the nearest one that is, or with all."""
    # The group, which they have in common, would make any two of them alike.
    by_name = {name.rpartition(".")[2]: name for name in known}
    near = difflib.get_close_matches(key.rpartition(".")[2], by_name, n=1)
    hint = f"did you mean {by_name[near[0]]!r}?" if near else f"there are {', '.join(known)}"
    return ConfigError(f"unknown {kind} {key!r}; {hint}")
