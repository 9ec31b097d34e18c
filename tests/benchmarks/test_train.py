"""benchmarks.train on a tiny network."""

import dataclasses

import pytest

from benchmarks import input as bench_input
from benchmarks import train as bench_train
from tests.models.training.runs import CONFIG


def test_the_loop_is_compared_with_its_step(tmp_path):
    config = dataclasses.replace(CONFIG, heads=("label",), storage="jpeg")
    source = bench_input.write_bench_clips(tmp_path, count=8, frames=4, size=(24, 32))
    rates = bench_train.bench_train(config, source, rounds=1, steps=3)
    assert rates.clips_per_second == pytest.approx(rates.steps_per_second * config.train.batch_size)
    assert rates.share == pytest.approx(rates.clips_per_second / rates.bare_clips_per_second)
    assert 0 <= rates.input_wait < 1
