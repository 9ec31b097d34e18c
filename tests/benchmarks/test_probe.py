"""benchmarks.probe on a tiny network."""

import dataclasses

import pytest

from benchmarks import probe as bench_probe
from models.training.config import ProbeConfig
from tests.models.training.runs import CONFIG


def test_both_grids_are_compared_with_the_pass():
    model = dataclasses.replace(CONFIG.model, temporal_layers=0)
    train = dataclasses.replace(CONFIG.train, probe=ProbeConfig(epochs=2, rates=(1e-3, 1e-2), decays=(0.0, 1.0)))
    times = bench_probe.bench_probe(dataclasses.replace(CONFIG, model=model, train=train), clips=10)
    assert times.heads == 4
    assert min(times.backbone, times.linear, times.attentive) > 0
    ratio = (times.backbone + times.attentive) / times.backbone
    assert times.ratios["attentive_ratio"] == pytest.approx(ratio)
    assert f"{ratio:.2f}x the pass" in bench_probe.describe(times)
