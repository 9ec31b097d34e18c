"""benchmarks.input on a few small clips."""

import pytest

from benchmarks import input as bench_input
from models.clips.augment import AugmentConfig
from models.clips.sampling import ClipConfig


def test_rates_are_measured_on_the_requested_clips(tmp_path):
    source = bench_input.write_bench_clips(tmp_path, count=8, frames=4, size=(48, 64))
    clip = ClipConfig(num_frames=4, stride=1, min_resize=48, crop_size=40)
    rates = bench_input.bench_input(source, clip=clip, augmentation=AugmentConfig(), batch_size=4, count=40, rounds=1)
    assert rates.clips == 40
    assert rates.cores >= 1
    assert min(rates.pipeline, rates.decode, rates.augment) > 0
    assert rates.share == pytest.approx(rates.pipeline / rates.decode)
    assert -1 < rates.memory_growth < 1
