"""A recipe starts from a checkpoint with model.init_from."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from models.checkpoints.pretrained import build_model
from models.checkpoints.readers import read_checkpoint
from models.network.vivit import weights_by_name
from models.training.config import TrainerConfig
from pipeline import settings
from pipeline.recipe import load_recipe
from tests.models.checkpoints import image_vits
from tests.models.serving.test_convert import CHECKPOINT, SIZES


def build(*more: str, classes: int = 5):
    recipe = load_recipe("kinetics400_b_fe", [*SIZES, *more])
    names = [f"class {number}" for number in range(classes)]
    return build_model(recipe.model, clip_shape=recipe.clip.shape, classes={"label": names})


def test_the_encoder_is_the_checkpoints_and_the_head_is_new(caplog):
    with caplog.at_level(logging.INFO, logger="vivit.train"):
        weights = weights_by_name(build(f"model.init_from={CHECKPOINT}"))
    theirs = read_checkpoint(CHECKPOINT).parameters
    for name, weight in weights.items():
        if name.startswith("output_projection/"):
            assert not np.any(weight.numpy()), name
        else:
            np.testing.assert_array_equal(weight.numpy(), theirs[name], err_msg=name)
    assert "initialised 2\n  output_projection/kernel\n  output_projection/bias" in caplog.text


def test_it_travels_to_the_trainer_with_its_options():
    recipe = load_recipe("demo", [f"model.init_from={CHECKPOINT}", "model.init.positions=resize"])
    sent = settings.from_json(TrainerConfig, settings.to_json(recipe.trainer_config(["verb"])))
    assert sent.weights.model.init_from == str(CHECKPOINT)
    assert sent.weights.model.init.positions == "resize"


def test_dinov2_needs_no_more_than_its_file_and_a_network_of_its_sizes(tmp_path: Path):
    weights = image_vits.image_vit()
    path = image_vits.write_safetensors(tmp_path / "dinov2s.safetensors", image_vits.hugging_face(weights))
    sizes = {"hidden_size": 128, "num_layers": 2, "num_heads": 2, "mlp_dim": 96, "tubelet": [2, 4, 4]}
    sized = [f"model.{field}={value}" for field, value in sizes.items()]
    ours = weights_by_name(build("model.classifier=token", *sized, f"model.init_from={path}"))
    np.testing.assert_array_equal(ours["cls_SpatialTransformer"].numpy()[0, 0], weights["class"])
    positions = ours["SpatialTransformer/posembed_input/pos_embedding"].numpy()
    np.testing.assert_array_equal(positions[0, 0], weights["positions"][0])


def test_patterns_of_weights_that_may_be_missing_are_settings():
    recipe = load_recipe("demo", ['model.init.allow_missing=["*/pos_embedding","cls"]'])
    assert recipe.model.init.allow_missing == ("*/pos_embedding", "cls")


def test_a_missing_checkpoint_is_named():
    with pytest.raises(FileNotFoundError, match="no/such/file"):
        build("model.init_from=no/such/file")


def test_a_file_that_is_no_checkpoint_is_refused_by_name(tmp_path: Path):
    path = tmp_path / "weights.npz"
    path.write_bytes(b"PK\x03\x04 and then nothing")
    with pytest.raises(ValueError, match=str(path)):
        build(f"model.init_from={path}")
