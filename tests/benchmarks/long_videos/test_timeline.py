"""benchmarks.long_videos.timeline: what is planted is in the video, and a run of it is measured."""

import csv

import av
import numpy as np

from benchmarks.long_videos.timeline import bench_timeline, write_planted_video
from benchmarks.score import write_model
from pipeline.recipe import load_recipe
from tests.conftest import TINY


def test_motions_are_where_the_manifest_says_and_nothing_moves_elsewhere(tmp_path):
    video, manifest, count = write_planted_video(tmp_path, 25 / 3600)
    with av.open(video) as container:
        # Means of squares of 20 x 20 pixels, in which the noise is gone.
        frames = np.stack(
            [
                frame.to_ndarray(format="gray").reshape(18, 20, 32, 20).mean(axis=(1, 3))
                for frame in container.decode(video=0)
            ]
        )
    assert len(frames) == 25 * 25
    with open(manifest, newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == count > 1
    changes = np.abs(np.diff(frames, axis=0)).max(axis=(1, 2)) > 3
    inside = np.zeros(len(changes), bool)
    for row in rows:
        inside[round(25 * float(row["start"])) : round(25 * float(row["end"])) - 1] = True
    # Where one stretch ends and the next begins, the picture changes once.
    assert changes[inside].mean() > 0.5
    assert (changes & ~inside).sum() <= 2 * len(rows)


def test_a_run_is_measured(tmp_path):
    model = write_model(load_recipe("demo", TINY), str(tmp_path / "model"))
    costs = bench_timeline(model, hours=15 / 3600)
    # One every 0.4 s, and a last one that ends with the video.
    assert costs.windows == 35
    assert costs.memory > 100e6
    assert costs.command.cpu_seconds > costs.decode.cpu_seconds > 0
    assert costs.ratio.seconds > 1
    assert all(0 <= value <= 1 for value in costs.precision)
