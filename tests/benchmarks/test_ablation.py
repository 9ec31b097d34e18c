"""`vivit ablate`: which variants there are, and that they are trained and scored by the pipeline itself."""

from __future__ import annotations

import pytest

from benchmarks.ablation import Row, ablate, as_table, variants
from models.clips.augment import NO_AUGMENTATION
from pipeline.recipe import load_recipe
from tests.conftest import TINY, TWO_HEADS, UNGATED

USED = (
    "augment.scale=0.9,1.2",
    "clip.min_resize=56",
    "augment.mixup=0.3",
    "model.stochastic_depth=0.2",
    "train.label_smoothing=0.05",
)


def regularisation(recipe):
    """What the variants differ in."""
    return recipe.augment.scale, recipe.model.stochastic_depth, recipe.train.label_smoothing, recipe.augment.mixup


def test_each_variant_adds_one_part_of_the_recipe():
    recipe = load_recipe("demo", USED)
    found = variants(recipe)
    assert found["no augmentation"].augment == NO_AUGMENTATION
    assert [regularisation(variant) for variant in found.values()] == [
        (None, 0.0, 0.0, 0.0),
        ((0.9, 1.2), 0.0, 0.0, 0.0),
        ((0.9, 1.2), 0.2, 0.0, 0.0),
        ((0.9, 1.2), 0.2, 0.05, 0.0),
        ((0.9, 1.2), 0.2, 0.05, 0.3),
    ]
    assert list(found.values())[-1] == recipe


def test_what_a_recipe_does_not_use_is_tried_at_a_usual_rate():
    plain = load_recipe("demo", ["train.label_smoothing=0"])
    *_, full = variants(plain).values()
    assert regularisation(full) == (None, 0.1, 0.1, 0.1)
    assert list(variants(plain))[2:] == ["+ stochastic depth 0.1", "+ label smoothing 0.1", "+ mixup 0.1"]


def test_the_table_has_one_view_next_to_all_of_each_head():
    rows = [Row("plain", {"verb": 0.5, "action": 0.25}, {"verb": 0.75, "action": 1.0})]
    assert as_table(rows, "4x3").splitlines() == [
        "|  | verb, 1x1 | verb, 4x3 | action, 1x1 | action, 4x3 |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| plain | 0.500 | 0.750 | 0.250 | 1.000 |",
    ]


@pytest.mark.end_to_end
def test_a_variant_is_trained_on_the_decoded_clips_scored_and_not_pushed(two_heads_run):
    pushed = two_heads_run.pushed
    mixed = variants(load_recipe("demo", [*TINY, *UNGATED, *TWO_HEADS]))["+ mixup 0.1"]
    said = []
    (row,) = ablate(str(two_heads_run.data), str(two_heads_run.workdir), {"mixed": mixed}, said.append)
    assert row.variant == "mixed"
    for top_1 in (row.one_view, row.all_views):
        assert list(top_1) == ["verb", "noun", "action"]
        assert 0 <= top_1["action"] <= min(top_1["verb"], top_1["noun"]) <= 1
    transform = next(number for number, line in enumerate(said) if "Transform" in line)
    assert said[transform + 1].strip() == "unchanged, from cache"
    assert two_heads_run.pushed == pushed
