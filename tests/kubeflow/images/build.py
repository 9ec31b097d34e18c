"""Builds the last stage of a Dockerfile as a root: a folder for each stage, its instructions executed in it.

A stage that was built from the same before (base, instructions, arguments, copied files) is not built again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.kubeflow.images.context import copy_context
from tests.kubeflow.images.dockerfile import (
    DockerfileError,
    Instruction,
    Stage,
    argument,
    assignments,
    command,
    needed_stages,
    read_stages,
    substitute,
)
from tests.kubeflow.images.root import PATH, make_base, network_environment, run

MIRROR = "http://deb.debian.org/debian"


@dataclasses.dataclass(frozen=True)
class Config:
    """What an image says of its containers."""

    env: Mapping[str, str] = dataclasses.field(default_factory=lambda: {"PATH": PATH})
    user: str = "0:0"
    folder: str = "/"
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()


def build(
    dockerfile: Path,
    context: Path,
    folder: Path,
    arguments: Mapping[str, str],
    *,
    mirror: str = MIRROR,
    echo: Callable[[str], None] = print,
) -> Path:
    """Executes a Dockerfile.

    Args:
      dockerfile: The Dockerfile.
      context: Folder of its build context, with a .dockerignore.
      folder: Where the roots are made: one per base and stage, kept for the next build.
      arguments: Build arguments.
      mirror: Debian mirror.
      echo: Called with each instruction before it is executed.

    Returns:
      The root of the last stage; `load_config` has its config.

    Raises:
      DockerfileError: If something is not understood, or a base cannot be made here.
      subprocess.CalledProcessError: If a step fails.
    """
    stages, outer = read_stages(dockerfile.read_text(), arguments)
    wanted = needed_stages(stages)
    roots: dict[str, Path] = {}
    with tempfile.TemporaryDirectory(dir=folder) as received:
        copy_context(context, Path(received))
        builder = _Builder(roots, Path(received), outer, arguments, echo)
        for stage in wanted:
            source = roots.get(stage.base) or _base(stage.base, folder, mirror)
            root = folder / f"stage-{stage.name}"
            if not stage.instructions:
                # Only another name.
                root = source
            elif (key := builder.key(stage, source)) == _read(root).get("key"):
                echo(f"[{stage.name}] was built before")
            else:
                shutil.rmtree(root, ignore_errors=True)
                _record(root).unlink(missing_ok=True)
                subprocess.run(["cp", "-a", "--reflink=auto", source, root], check=True)
                config = builder.build(stage, root, load_config(source))
                _record(root).write_text(json.dumps({"key": key, "config": dataclasses.asdict(config)}))
            roots[stage.name] = root
    return roots[wanted[-1].name]


def load_config(root: Path) -> Config:
    """The config of a root that `build` has made; a base's is the default."""
    return Config(**_read(root).get("config", {}))


class _Builder:
    """Executes the instructions of a stage."""

    def __init__(self, roots, received: Path, outer, arguments, echo):
        self._roots, self._received, self._outer = roots, received, outer
        self._arguments, self._echo = arguments, echo

    def key(self, stage: Stage, source: Path) -> str:
        """What the stage is made from; the same key, the same root."""
        parts: list = [_read(source).get("key", source.name)]
        for step in stage.instructions:
            parts += [step.keyword, step.value, step.flags]
            if step.keyword == "ARG":
                parts.append(argument(step, self._arguments, {}, self._outer))
            elif step.keyword == "COPY" and step.flags:
                parts.append(_read(self._source(step)).get("key"))
            elif step.keyword == "COPY":
                parts += [_digest(self._received / name.lstrip("/")) for name in step.value.split()[:-1]]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def build(self, stage: Stage, root: Path, config: Config) -> Config:
        """Executes the instructions in a copy of the base; returns the stage's config."""
        known: dict[str, str] = {}
        for step in stage.instructions:
            self._echo(f"[{stage.name}] line {step.line}: {step.keyword} {step.value[:100]}")
            begun = time.monotonic()
            values = {**known, **config.env}
            if step.keyword == "ARG":
                known |= argument(step, self._arguments, values, self._outer)
            elif step.keyword == "RUN":
                env = {"HOME": "/root", **network_environment(), **values}
                words = command(step.value)
                run(root, words, env=env, user=config.user, folder=config.folder)
            elif step.keyword == "COPY":
                self._copy(step, root, values, config.folder)
            else:
                config = self._configured(step, config, values, root)
            if time.monotonic() - begun > 1:
                self._echo(f"    {time.monotonic() - begun:.0f} s")
        return config

    def _configured(self, step: Instruction, config: Config, values: Mapping[str, str], root: Path) -> Config:
        if step.keyword == "ENV":
            return dataclasses.replace(config, env={**config.env, **assignments(step, values)})
        if step.keyword == "WORKDIR":
            folder = str(Path(config.folder, substitute(step.value, values)))
            (root / folder.lstrip("/")).mkdir(parents=True, exist_ok=True)
            return dataclasses.replace(config, folder=folder)
        if step.keyword == "USER":
            user = substitute(step.value, values)
            if not all(part.isdigit() for part in user.split(":")) or user.count(":") != 1:
                raise DockerfileError(
                    f"line {step.line}: USER {user}: wanted numbers, UID:GID, which a cluster can check"
                )
            return dataclasses.replace(config, user=user)
        field = {"ENTRYPOINT": "entrypoint", "CMD": "command"}[step.keyword]
        return dataclasses.replace(config, **{field: tuple(command(step.value))})

    def _copy(self, step: Instruction, root: Path, values: Mapping[str, str], folder: str) -> None:
        *sources, target = substitute(step.value, values).split()
        origin = self._source(step)
        into = root / str(Path(folder, target)).lstrip("/")
        for name in sources:
            source = origin / name.lstrip("/")
            if not source.exists():
                raise DockerfileError(f"line {step.line}: {name} is not in the context; see .dockerignore")
            if source.is_dir() or target.endswith("/") or len(sources) > 1:
                into.mkdir(parents=True, exist_ok=True)
            else:
                into.parent.mkdir(parents=True, exist_ok=True)
            # The contents of a folder are copied, not the folder.
            copied = f"{source}/." if source.is_dir() else source
            subprocess.run(["cp", "-a", "--no-preserve=ownership", copied, into], check=True)

    def _source(self, step: Instruction) -> Path:
        if "from" not in step.flags:
            return self._received
        if step.flags["from"] not in self._roots:
            raise DockerfileError(f"line {step.line}: --from={step.flags['from']} is no stage before this one")
        return self._roots[step.flags["from"]]


def _base(image: str, folder: Path, mirror: str) -> Path:
    root = folder / f"base-{image.partition('@')[0].replace('/', '-').replace(':', '-')}"
    if not root.exists():
        unfinished = root.with_name(f"{root.name}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        make_base(image, unfinished, mirror)
        unfinished.rename(root)
    return root


def _record(root: Path) -> Path:
    return root.with_name(f"{root.name}.json")


def _read(root: Path) -> dict:
    """What is recorded of a root: its key and config; nothing if it is a base, or was never finished."""
    record = _record(root)
    return json.loads(record.read_text()) if root.exists() and record.exists() else {}


def _digest(path: Path) -> list[tuple[str, int, str]]:
    """Names, modes and contents of a file or of a folder's files."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path] if path.exists() else []
    return [
        (str(each.relative_to(path)), each.stat().st_mode, hashlib.sha256(each.read_bytes()).hexdigest())
        for each in files
        if each.is_file()
    ]
