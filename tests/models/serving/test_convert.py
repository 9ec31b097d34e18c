"""A checkpoint of the reference becomes a model that `vivit predict` serves."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from models.checkpoints.readers import read_checkpoint
from pipeline.cli import main
from tests.videos import write_video

GOLDEN = Path(__file__).parents[2] / "golden/models/fe_gap"
CHECKPOINT = GOLDEN / "checkpoint_params_layout_9"
# The sizes of tests/golden/models/fe_gap/config.json.
SIZES = (
    "model.tubelet=[4,8,8]",
    "model.hidden_size=32",
    "model.num_layers=2",
    "model.num_heads=4",
    "model.mlp_dim=64",
    "model.temporal_layers=1",
    "model.temporal_num_heads=2",
    "model.temporal_mlp_dim=48",
    "model.classifier=gap",
    "clip.num_frames=8",
    "clip.stride=1",
    "clip.min_resize=32",
    "clip.crop_size=32",
    "ingest.short_side=32",
    "ingest.fps=10",
)


def convert(output: Path, *more: str) -> int:
    settings = [word for size in SIZES for word in ("--set", size)]
    return main(["convert", str(CHECKPOINT), "--recipe", "kinetics400_b_fe", "--output", str(output), *settings, *more])


@pytest.fixture(scope="module")
def converted(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("converted")
    names = folder / "classes.txt"
    names.write_text("".join(f"action {number}\n" for number in range(11)))
    assert convert(folder / "model", "--classes", str(names)) == 0
    return folder / "model"


def test_its_weights_are_the_checkpoints(converted):
    ours, theirs = read_checkpoint(converted / "weights.npz"), read_checkpoint(CHECKPOINT)
    assert ours.parameters.keys() == theirs.parameters.keys()
    for name, array in theirs.parameters.items():
        np.testing.assert_array_equal(ours.parameters[name], array, err_msg=name)


def test_vivit_predict_serves_it_with_the_given_class_names(converted, tmp_path, capfd):
    rng = np.random.default_rng(0)
    video = write_video(tmp_path / "noise.mp4", rng.integers(0, 255, (12, 40, 48, 3), dtype=np.uint8))
    assert main(["predict", "--json", "--model", str(converted), str(video)]) == 0
    row = json.loads(capfd.readouterr().out)
    ranked = row["heads"]["label"]
    assert {one["class"] for one in ranked} == {f"action {number}" for number in range(11)}
    assert sum(one["probability"] for one in ranked) == pytest.approx(1, abs=1e-5)
    assert np.ptp(row["logits"]["label"]) > 0.01


def test_the_report_names_what_was_loaded(tmp_path, capfd):
    assert convert(tmp_path / "model") == 0
    out = capfd.readouterr().out
    assert f"loaded {len(read_checkpoint(CHECKPOINT).parameters)}\n" in out
    assert "missing 0" in out
    assert "unexpected 0" in out


def test_a_network_of_another_width_is_refused_with_both_shapes(tmp_path, capfd):
    assert convert(tmp_path / "model", "--set", "model.mlp_dim=96") == 1
    out = capfd.readouterr().out
    assert "of shape (64,), the network wants (96,)" in out
    assert not (tmp_path / "model").exists()
