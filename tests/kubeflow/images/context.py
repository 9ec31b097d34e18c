"""The build context: the files that .dockerignore lets through."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from tests.kubeflow.images.dockerfile import DockerfileError


def ignored(path: str, patterns: list[str]) -> bool:
    """Whether .dockerignore keeps a path out: the last pattern that fits it, or a folder above it, decides.

    Args:
      path: Path in the context, with slashes.
      patterns: Lines of the file. ``*``, ``?`` and ``**/`` are understood, and ``!`` in front.

    Raises:
      DockerfileError: If a pattern is not understood.
    """
    parts = path.split("/")
    above = ["/".join(parts[: count + 1]) for count in range(len(parts))]
    decision = False
    for pattern in patterns:
        kept, pattern = pattern.startswith("!"), pattern.lstrip("!").strip("/")
        if any(_expression(pattern).fullmatch(candidate) for candidate in above):
            decision = not kept
    return decision


def copy_context(source: Path, target: Path) -> None:
    """Copies what .dockerignore lets through, files only, as a daemon would receive it."""
    lines = (source / ".dockerignore").read_text().splitlines()
    patterns = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    # A folder that is kept out may have files that are let through; none of ours has.
    for folder in sorted(source.iterdir()):
        if not ignored(folder.name, patterns):
            for path in [folder] if folder.is_file() else sorted(folder.rglob("*")):
                name = path.relative_to(source)
                if path.is_file() and not ignored(name.as_posix(), patterns):
                    (target / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(path, target / name)


def _expression(pattern: str) -> re.Pattern:
    if "[" in pattern or "**" in pattern.removeprefix("**/"):
        raise DockerfileError(f".dockerignore: pattern {pattern!r} is not understood here")
    text = re.escape(pattern.removeprefix("**/")).replace(r"\*", "[^/]*").replace(r"\?", "[^/]")
    return re.compile(f"(.*/)?{text}" if pattern.startswith("**/") else text)
