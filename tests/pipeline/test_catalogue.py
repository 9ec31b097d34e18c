"""The table of recipes."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from models.network.cost import measure_cost
from models.network.vivit import ViViTConfig
from pipeline import recipes
from pipeline.catalogue import figures, section
from pipeline.recipe import heads_of, load_recipe

# Published networks of tests/golden/param_counts.json by recipe.
PUBLISHED = {
    "kinetics400_b": "kinetics400__vivit_base_k400",
    "kinetics400_b_fe": "kinetics400__vivit_base_factorised_encoder",
    "kinetics400_l_fe": "kinetics400__vivit_large_factorised_encoder",
    "kinetics600_l_fe": "kinetics600__vivit_large_factorised_encoder",
    "ssv2_l_fe": "something_something_v2__vivit_large_factorised_encoder",
    "epic_kitchens_l_fe": "epic_kitchens__vivit_large_factorised_encoder",
    "kinetics400_b_fsa": "paper__model3_base_fsa_k400",
    "kinetics400_b_fdp": "paper__model4_base_fdp_k400",
}


@pytest.mark.parametrize("variant", ["factorized_encoder", "spacetime"])
def test_figures_of_a_deep_network_follow_from_shallow_ones(variant):
    config = ViViTConfig(
        variant=variant, tubelet=(2, 8, 8), hidden_size=24, num_layers=3, temporal_layers=4, num_heads=3
    )
    cost = measure_cost(config, clip_shape=(4, 16, 16), heads={"label": 5})
    assert figures(config, (4, 16, 16), {"label": 5}) == (cost.parameters, pytest.approx(cost.gflops))


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_a_published_recipe_has_the_references_parameters_and_flops(name):
    counts = json.loads((Path(__file__).parents[1] / "golden/param_counts.json").read_text())[PUBLISHED[name]]
    recipe = load_recipe(name)
    heads = dict(zip(heads_of(recipe), recipe.data.num_classes, strict=True))
    parameters, gflops = figures(recipe.model, recipe.clip.shape, heads)
    assert parameters == counts["params"]
    assert gflops == pytest.approx(counts["gflops_multiply_add_as_one"], rel=0.01)


@pytest.mark.parametrize(
    ("name", "classes", "millions", "gflops"),
    [
        # Tables of the papers, with their head; VideoPrism's README counts the encoders alone.
        ("videomae_b", 400, 87, 180),
        ("umt_b", 400, 86, 180),
        ("videoprism_b", 0, 114, None),
    ],
)
def test_a_recipe_of_a_video_transformer_has_its_published_size(name, classes, millions, gflops):
    recipe = load_recipe(name)
    model = dataclasses.replace(recipe.model, classifier="gap")
    parameters, ours = figures(model, recipe.clip.shape, {"label": classes or 1})
    assert round(parameters / 1e6) == millions
    assert gflops is None or ours == pytest.approx(gflops, rel=0.01)


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_says_what_it_trains_what_it_costs_what_to_expect_and_how_to_run_it(name):
    for title in ("Trains", "Data", "Cost", "Expect", "Command"):
        assert section(recipes.docstring(name), title), title
