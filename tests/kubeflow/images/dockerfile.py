"""Reads a Dockerfile: its stages, and what each instruction says once the build arguments are filled in.

Contract: what is not understood is refused with its line; nothing is skipped. Understood are FROM, ARG, ENV, RUN, COPY
(with --from), WORKDIR, USER, ENTRYPOINT and CMD, as in Docker's reference, without heredocs and the flags of RUN.
"""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
from collections.abc import Iterator, Mapping

KEYWORDS = ("FROM", "ARG", "ENV", "RUN", "COPY", "WORKDIR", "USER", "ENTRYPOINT", "CMD")
FLAGS = {"COPY": ("from",)}
_VARIABLE = re.compile(r"\\\$|\$(?:(\w+)|\{(\w+)(?:(:[-+])([^{}]*))?\})")


class DockerfileError(ValueError):
    """A Dockerfile says what is wrong, or what is not understood here."""


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One instruction, with the line that it begins on."""

    line: int
    keyword: str
    value: str
    flags: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Stage:
    """A stage: its name or number, the image or stage it begins with, and its instructions."""

    name: str
    base: str
    instructions: tuple[Instruction, ...]


def read_instructions(text: str) -> Iterator[Instruction]:
    """Yields the instructions of a Dockerfile.

    Raises:
      DockerfileError: If a line is not understood.
    """
    lines = enumerate(text.splitlines(), start=1)
    for number, line in lines:
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        value = line.strip()
        while value.endswith("\\"):
            _, line = next(lines, (0, ""))
            # A comment may stand between the lines of an instruction.
            value = value if line.lstrip().startswith("#") else value[:-1] + line.rstrip()
        yield _instruction(number, value)


def read_stages(text: str, arguments: Mapping[str, str]) -> tuple[list[Stage], dict[str, str]]:
    """Reads a Dockerfile's stages.

    Args:
      text: The Dockerfile.
      arguments: Build arguments.

    Returns:
      The stages, and the values of the arguments before the first one.

    Raises:
      DockerfileError: If a line is not understood, or a build argument is nowhere declared.
    """
    stages: list[Stage] = []
    known: dict[str, str] = {}
    declared = set()
    for instruction in read_instructions(text):
        if instruction.keyword == "ARG":
            declared.add(instruction.value.partition("=")[0])
        if instruction.keyword == "FROM":
            base, name = _base_and_name(instruction, str(len(stages)))
            stages.append(Stage(name, substitute(base, known), ()))
        elif stages:
            stages[-1] = dataclasses.replace(stages[-1], instructions=(*stages[-1].instructions, instruction))
        elif instruction.keyword == "ARG":
            known |= argument(instruction, arguments, known)
        else:
            raise DockerfileError(f"line {instruction.line}: {instruction.keyword} before the first FROM")
    if not stages:
        raise DockerfileError("no FROM")
    for name in arguments:
        if name not in declared:
            raise DockerfileError(f"build argument {name} is not declared; known: {', '.join(sorted(declared))}")
    return stages, known


def needed_stages(stages: list[Stage]) -> list[Stage]:
    """The last stage and those that it is made from, in the order of the file; no other is built."""
    by_name = {stage.name: stage for stage in stages}
    wanted, found = [stages[-1].name], set()
    while wanted:
        name = wanted.pop()
        if name in by_name and name not in found:
            found.add(name)
            sources = [step.flags["from"] for step in by_name[name].instructions if "from" in step.flags]
            wanted += [by_name[name].base, *sources]
    return [stage for stage in stages if stage.name in found]


def argument(
    instruction: Instruction, arguments: Mapping[str, str], known: Mapping[str, str], outer: Mapping[str, str] = {}
) -> dict[str, str]:
    """What an ARG instruction declares: the build argument, else its default, else the value before the first FROM."""
    name, has_default, default = instruction.value.partition("=")
    if name in arguments:
        return {name: arguments[name]}
    if has_default:
        return {name: substitute(_unquote(default), known)}
    return {name: outer[name]} if name in outer else {}


def assignments(instruction: Instruction, known: Mapping[str, str]) -> dict[str, str]:
    """The variables of an ENV instruction.

    Raises:
      DockerfileError: If it is not of the form ``NAME=VALUE …``.
    """
    pairs = [word.partition("=") for word in shlex.split(instruction.value)]
    if not all(equals for _, equals, _ in pairs):
        raise DockerfileError(f"line {instruction.line}: wanted ENV NAME=VALUE, found {instruction.value!r}")
    return {name: substitute(value, known) for name, _, value in pairs}


def command(value: str) -> list[str]:
    """The words of a RUN, CMD or ENTRYPOINT: its JSON list, else a shell with the text."""
    if value.startswith("["):
        return json.loads(value)
    return ["/bin/sh", "-c", value]


def substitute(text: str, values: Mapping[str, str]) -> str:
    """Fills in ``$NAME``, ``${NAME}``, ``${NAME:-default}`` and ``${NAME:+alternative}``; unknown names are empty."""

    def value(match: re.Match) -> str:
        if match.group(0) == r"\$":
            return "$"
        found = values.get(match.group(1) or match.group(2), "")
        if match.group(3) == ":-":
            return found or match.group(4)
        if match.group(3) == ":+":
            return match.group(4) if found else ""
        return found

    return _VARIABLE.sub(value, text)


def _instruction(line: int, text: str) -> Instruction:
    keyword, *rest = text.split(maxsplit=1)
    keyword, value = keyword.upper(), rest[0] if rest else ""
    if keyword not in KEYWORDS:
        raise DockerfileError(f"line {line}: {keyword} is not understood here; known: {', '.join(KEYWORDS)}")
    if "<<" in value and keyword in ("RUN", "COPY"):
        raise DockerfileError(f"line {line}: heredocs are not understood here")
    flags = {}
    while match := re.match(r"--([a-z-]+)(?:=(\S+))?\s+", value):
        if match.group(1) not in FLAGS.get(keyword, ()):
            raise DockerfileError(f"line {line}: --{match.group(1)} of {keyword} is not understood here")
        flags[match.group(1)] = match.group(2)
        value = value[match.end() :]
    if not value:
        raise DockerfileError(f"line {line}: {keyword} without a value")
    return Instruction(line, keyword, value, flags)


def _base_and_name(instruction: Instruction, number: str) -> tuple[str, str]:
    words = instruction.value.split()
    if len(words) == 3 and words[1].upper() == "AS":
        return words[0], words[2]
    if len(words) == 1:
        return words[0], number
    raise DockerfileError(f"line {instruction.line}: wanted FROM IMAGE [AS NAME], found {instruction.value!r}")


def _unquote(text: str) -> str:
    return "".join(shlex.split(text))
