"""One file per recipe; the docstring describes what it trains, its cost and what to expect."""

from __future__ import annotations

import ast
import pkgutil
from pathlib import Path


def names() -> list[str]:
    """Names of the recipes, which are the modules of this package."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def docstring(name: str) -> str:
    """The docstring of a recipe, read without importing TensorFlow."""
    return ast.get_docstring(ast.parse((Path(__file__).parent / f"{name}.py").read_text())) or ""
