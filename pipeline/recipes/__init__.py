"""One file per recipe; the docstring describes what it trains, its cost and what to expect."""

from __future__ import annotations

import ast
import pkgutil
from pathlib import Path


def names() -> list[str]:
    """Names of the recipes, which are the modules of this package and of those inside."""
    return sorted(_modules())


def module(name: str) -> str:
    """The module of a recipe."""
    return _modules()[name]


def docstring(name: str) -> str:
    """The docstring of a recipe, read without importing TensorFlow."""
    path = Path(__file__).parent.joinpath(*module(name).removeprefix(f"{__name__}.").split("."))
    return ast.get_docstring(ast.parse(path.with_suffix(".py").read_text())) or ""


def _modules() -> dict[str, str]:
    """Modules by the names of their recipes."""
    found = pkgutil.walk_packages(__path__, f"{__name__}.")
    return {one.name.rpartition(".")[2]: one.name for one in found if not one.ispkg}
