"""The recipes as a table: what each network costs, computed from the network, and what to expect of it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping

from models.network.cost import measure_cost
from models.network.vivit import ViViTConfig
from pipeline import recipes
from pipeline.recipe import heads_of, load_recipe

# Number of classes assumed where the data set decides; the head is a small part of any network.
_ANY_NUMBER = 10


def catalogue() -> Iterator[str]:
    """One line for the heading, then the lines of each recipe as soon as its network is counted."""
    yield f"{'recipe':24s} {'parameters':>12s} {'GFLOPs/view':>12s} {'views':>6s}  expect"
    for name in recipes.names():
        recipe = load_recipe(name)
        heads = heads_of(recipe)
        classes = dict(zip(heads, recipe.data.num_classes or [_ANY_NUMBER] * len(heads), strict=True))
        if recipe.model.network == "weights":
            cost = f"{'of the weights':>25s}"
        else:
            parameters, gflops = figures(recipe.model, recipe.clip.shape, classes)
            cost = f"{parameters:12,d} {gflops:12.2f}"
        expected = section(recipes.docstring(name), "Expect")
        yield f"{name:24s} {cost} {str(recipe.views):>6s}  {expected}"


def figures(config: ViViTConfig, clip_shape: tuple[int, int, int], heads: Mapping[str, int]) -> tuple[int, float]:
    """Parameters and GFLOPs (1e9 multiply-adds) of a network of any depth.

    The blocks of a stack are alike, so networks of one and two blocks are counted and the rest is extrapolated, in a
    tenth of the time that it takes to build 48 blocks.
    """

    def count(**depth: int) -> tuple[int, float]:
        cost = measure_cost(dataclasses.replace(config, **depth), clip_shape=clip_shape, heads=heads)
        return cost.parameters, cost.gflops

    shallow = {"num_layers": 1}
    if config.variant == "factorized_encoder" and config.temporal_layers:
        shallow["temporal_layers"] = 1
    base = count(**shallow)
    total = base
    for stack in shallow:
        blocks = getattr(config, stack) - 1
        if blocks:
            deeper = count(**{**shallow, stack: 2})
            total = [sum_ + blocks * (two - one) for sum_, two, one in zip(total, deeper, base, strict=True)]
    return int(total[0]), total[1]


def section(docstring: str, title: str) -> str:
    """The text of one section of a recipe's docstring, on one line."""
    found = re.search(rf"^{title} +(.*(?:\n +.*)*)", docstring, re.MULTILINE)
    return " ".join(found.group(1).split()) if found else ""
