"""benchmarks.score on a tiny network."""

import pytest

from benchmarks.score import bench_score
from pipeline.recipe import load_recipe
from tests.conftest import TINY


def test_scoring_is_compared_with_its_network(tmp_path):
    rates = bench_score(load_recipe("demo", TINY), tmp_path, clips=3, rounds=1)
    # Two views in time, three in space, and the centre view.
    assert (rates.clips, rates.views) == (3, 7)
    assert rates.share == pytest.approx(rates.scoring / rates.network)
