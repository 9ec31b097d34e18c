"""The times of a schedule: fields of cron, checked here and written as each server reads them."""

from __future__ import annotations

import re

from pipeline.settings import ConfigError

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
# Name, least, most, and the names of the values from the least on.
_FIELDS = (
    ("second", 0, 59, ()),
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of the month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of the week", 0, 6, _DAYS),
)
_ITEM = re.compile(r"(\*|\?|(\w+)(?:-(\w+))?)(?:/(\d+))?")


def six_fields(text: str) -> str:
    """The fields with a second in front, as Kubeflow Pipelines reads them; five fields are at second 0.

    Raises:
      ConfigError: If it is no schedule.
    """
    fields = text.split()
    if len(fields) == 5:
        fields.insert(0, "0")
    if len(fields) != 6:
        raise ConfigError(
            f"--schedule {text!r} has {len(fields)} fields; it must have five (minute, hour, day of the month, month, "
            "day of the week), or six with the second in front"
        )
    if not fields[0].isdecimal():
        raise ConfigError(f"--schedule {text!r}: the second is {fields[0]!r}; it must be one number")
    for value, (name, least, most, names) in zip(fields, _FIELDS, strict=True):
        for item in value.split(","):
            if not _fits(item, least, most, names):
                named = f" or {names[0]} to {names[-1]}" if names else ""
                raise ConfigError(
                    f"--schedule {text!r}: the {name} is {value!r}; it must be *, {least} to {most}{named}, "
                    "a list of them, a range such as 1-5, or steps such as */15"
                )
    return " ".join(fields)


def five_fields(text: str) -> str:
    """The fields without a second, as Vertex AI reads them.

    Raises:
      ConfigError: If it is no schedule, or one with seconds.
    """
    second, *fields = six_fields(text).split()
    if int(second):
        raise ConfigError(f"--schedule {text!r}: Vertex AI knows no seconds; give five fields")
    return " ".join(fields).replace("?", "*")


def _fits(item: str, least: int, most: int, names: tuple[str, ...]) -> bool:
    found = _ITEM.fullmatch(item)
    if not found or (found[4] and not int(found[4])):
        return False
    ends = [_number(end, least, names) for end in (found[2], found[3]) if end]
    return all(end is not None and least <= end <= most for end in ends) and ends == sorted(ends)


def _number(text: str, least: int, names: tuple[str, ...]) -> int | None:
    if text.isdecimal():
        return int(text)
    return names.index(text.upper()) + least if text.upper() in names else None
