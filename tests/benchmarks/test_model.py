"""The benchmark measures the same network twice."""

import dataclasses
import json
import re
from typing import get_args

import keras
import numpy as np
import pytest

from benchmarks.model import bench_model, describe
from benchmarks.stock_vivit import build_stock_vivit
from models.network.vivit import Variant, ViViTConfig, build_vivit, weights_by_name

SHAPE = {"clip_shape": (4, 16, 24), "heads": {"noun": 3, "verb": 2}}
TINY = ViViTConfig(
    tubelet=(2, 8, 8), hidden_size=24, num_layers=2, temporal_layers=1, num_heads=2, mlp_dim=32, representation_size=7
)


@pytest.mark.parametrize("variant", get_args(Variant))
@pytest.mark.parametrize("order", ["time_space", "space_time"])
def test_stock_layers_compute_the_same_network(variant, order):
    classifier = "token" if variant in ("spacetime", "factorized_encoder") else "gap"
    config = dataclasses.replace(TINY, variant=variant, classifier=classifier, attention_order=order)
    ours, stock = (build(config, **SHAPE) for build in (build_vivit, build_stock_vivit))
    if variant == "factorized_dot_product":
        # Two half attentions, each with its own projection out: the same kernels, one more bias a block.
        assert stock.count_params() == ours.count_params() + config.num_layers * config.hidden_size
        return
    random = np.random.RandomState(0)
    weights = {name: 0.1 * random.randn(*weight.shape) for name, weight in weights_by_name(ours).items()}
    ours.set_weights(list(weights.values()))
    # Stock layers come in the order of the computation, ours have time before space.
    swap = {"_time/": "_space/", "_space/": "_time/"} if order == "space_time" else {}
    stock.set_weights(
        [weights[re.sub("_time/|_space/", lambda axis: swap.get(axis[0], axis[0]), name)] for name in weights]
    )
    clip = keras.random.uniform((2, *SHAPE["clip_shape"], 3), -1, 1, seed=0)
    for head, logits in ours(clip).items():
        np.testing.assert_allclose(stock(clip)[head], logits, atol=1e-5)


def test_reports_both_implementations_and_their_ratio():
    result = bench_model(TINY, **SHAPE, batch=2, mode="train", rounds=2, least_seconds=0)
    assert result["speedup"] == pytest.approx(result["stock"]["seconds"] / result["ours"]["seconds"])
    assert result["ours"]["clips_per_second"] == pytest.approx(2 / result["ours"]["seconds"])
    assert 100 < result["ours"]["peak_rss_mib"] < 4000
    assert json.loads(json.dumps(result))["mode"] == "train"
    assert "as fast as stock Keras layers" in describe(result)
