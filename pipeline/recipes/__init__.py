"""One file per recipe; the docstring says what it trains, what it costs and what to expect."""

from __future__ import annotations

import ast
import pkgutil
from pathlib import Path


def names() -> list[str]:
    """Names of the recipes, which are the modules of this package."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def first_lines() -> dict[str, str]:
    """The first line of each recipe's docstring, read without importing TensorFlow."""
    folder = Path(__file__).parent
    docs = {name: ast.get_docstring(ast.parse((folder / f"{name}.py").read_text())) for name in names()}
    return {name: (doc or "").partition("\n")[0] for name, doc in docs.items()}
