"""The recipes as a table: what each network costs, computed from the network, and what to expect of it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from models.cost import measure_cost
from pipeline import recipes
from pipeline.config import heads_of, load_recipe

# Classes assumed where the data decide; the head is a small part of any network.
_ANY_NUMBER = 10


def catalogue() -> Iterator[str]:
    """One line for the heading, then the lines of each recipe as soon as its network is counted."""
    yield f"{'recipe':24s} {'parameters':>12s} {'GFLOPs/view':>12s} {'views':>6s}  expect"
    for name in recipes.names():
        recipe = load_recipe(name)
        heads = heads_of(recipe)
        classes = dict(zip(heads, recipe.data.num_classes or [_ANY_NUMBER] * len(heads), strict=True))
        cost = measure_cost(recipe.model, clip_shape=recipe.clip.shape, heads=classes)
        expected = section(recipes.docstring(name), "Expect")
        yield f"{name:24s} {cost.parameters:12,d} {cost.gflops:12.2f} {str(recipe.views):>6s}  {expected}"


def section(docstring: str, title: str) -> str:
    """The text of one section of a recipe's docstring, on one line."""
    found = re.search(rf"^{title} +(.*(?:\n +.*)*)", docstring, re.MULTILINE)
    return " ".join(found.group(1).split()) if found else ""
