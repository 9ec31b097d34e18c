"""A checkpoint of the reference becomes a model that `vivit predict` serves."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from models.checkpoints.architecture import network_of
from models.checkpoints.initialise import InitOptions, initialise_model
from models.checkpoints.own import WEIGHTS, read_weights
from models.checkpoints.pretrained import build_model
from models.checkpoints.readers import read_checkpoint
from models.network.vivit import ViViTConfig, build_vivit
from pipeline.cli import main
from pipeline.plan.weights import with_network
from pipeline.recipe import load_recipe
from tests.models.checkpoints import videomaes, videoprisms
from tests.models.checkpoints.image_vits import write_safetensors
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
    "augment.scale=null",
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
    ours, theirs = read_weights(converted / "1" / WEIGHTS), read_checkpoint(CHECKPOINT)
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


@pytest.fixture(params=["videomae_b", "videoprism_b"])
def video_transformer(request, tmp_path):
    """A recipe, and a checkpoint of its kind with a head of three classes, for clips of 12x12 pixels."""
    if request.param == "videomae_b":
        tensors, config = videomaes.own(videomaes.videomae()), None
    else:
        tensors = videoprisms.hugging_face(videoprisms.videoprism(classifier=True))
        config = {"num_attention_heads": videoprisms.HEADS}
    return request.param, write_safetensors(tmp_path / "model.safetensors", tensors, config)


def test_a_video_transformer_is_served_over_many_views_and_starts_the_next_network(video_transformer, tmp_path, capfd):
    recipe, checkpoint = video_transformer
    frames = 4 if recipe == "videomae_b" else videoprisms.FRAMES
    sizes = ["model.network=weights", "model.tubelet=[1,4,4]", "augment.scale=null", "ingest.short_side=16"]
    sizes += [f"clip.num_frames={frames}", "clip.stride=1", "clip.sampling=dense"]
    sizes += ["clip.min_resize=12", "clip.crop_size=12", "views.temporal=2"]
    settings = [word for size in sizes for word in ("--set", size)]
    output = str(tmp_path / "model")
    assert main(["convert", str(checkpoint), "--recipe", recipe, "--output", output, *settings]) == 0
    assert "missing 0\nunexpected 0\ndiffering 0" in capfd.readouterr().out

    video = write_video(tmp_path / "noise.mp4", np.random.default_rng(0).integers(0, 255, (12, 16, 24, 3), np.uint8))
    assert main(["predict", "--json", "--model", output, str(video)]) == 0
    row = json.loads(capfd.readouterr().out)
    assert np.ptp(row["logits"]["label"]) > 0.01

    # A network of the file's own, with new classes beside one that stays.
    config = with_network(load_recipe(recipe, [*sizes, f"model.init_from={output}"]), str(tmp_path)).model
    config = dataclasses.replace(config, init_from=str(Path(output) / "1" / WEIGHTS))
    clip_shape = (frames, 12, 12)
    model = build_model(config, clip_shape=clip_shape, classes={"label": ["new", "class_001"]})
    source = read_checkpoint(checkpoint)
    first = ViViTConfig(**network_of(source))
    converted = build_vivit(first, clip_shape=clip_shape, heads={"label": 3})
    initialise_model(converted, source, first, clip_shape, InitOptions(restore_head=True))
    clips = np.random.RandomState(1).uniform(-1, 1, (2, *clip_shape, 3)).astype(np.float32)
    np.testing.assert_allclose(model(clips)["label"][:, 1], converted(clips)["label"][:, 1], atol=1e-6)
