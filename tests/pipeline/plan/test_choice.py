"""Which recipe is taken where none is named."""

import os

import pytest

from components.manifest.reader import read_manifest
from pipeline.plan import choice
from pipeline.plan.choice import fitting_recipe, run_cost
from pipeline.plan.weights import with_network
from pipeline.recipe import load_recipe
from tests.models.checkpoints import image_vits

NETWORK = {"label": 2}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    return f"model.init_from={image_vits.write_safetensors(path, image_vits.hugging_face(image_vits.image_vit()))}"


def network(*settings):
    return with_network(load_recipe("finetune", settings), workdir="")


def manifest(tmp_path, clips=64):
    rows = [f"{n}.mp4,{'run' if n % 2 else 'jump'},{'eval' if n % 8 == 0 else 'train'}" for n in range(clips)]
    path = tmp_path / "videos.csv"
    path.write_text("\n".join(["path,label,split", *rows]))
    return read_manifest(str(path))


@pytest.mark.parametrize("settings", [[], ["model.init_from=null"], ["model.init_from=production"]])
def test_without_pretrained_weights_small_is_trained(tmp_path, settings):
    settings = ["train.seed=1", *settings]
    chosen = fitting_recipe(settings, str(tmp_path), manifest(tmp_path))
    assert (chosen.recipe, chosen.overrides) == ("small", tuple(settings))


def test_pretrained_weights_are_fine_tuned_for_as_long_as_there_is_time(tmp_path, weights, monkeypatch):
    clips = manifest(tmp_path)
    chosen = fitting_recipe([weights], str(tmp_path), clips)
    assert (chosen.recipe, chosen.overrides) == ("finetune", (weights, "train.epochs=8"))
    assert "8 epochs take about 1 min here" in chosen.reason
    others, epoch = run_cost(network(weights), NETWORK, 56, 8)
    monkeypatch.setattr(choice, "_CORE", (others + 3.7 * epoch) / 1200 / len(os.sched_getaffinity(0)))
    shorter = fitting_recipe([weights], str(tmp_path), clips)
    assert shorter.overrides == (weights, "train.epochs=3.5")
    minutes = round(20 * (others + 3.5 * epoch) / (others + 3.7 * epoch))
    assert f"3.5 epochs take about {minutes} min here" in shorter.reason
    monkeypatch.setattr(choice, "_CORE", choice._CORE / 4)
    longer = fitting_recipe([weights], str(tmp_path), clips)
    assert (longer.recipe, longer.overrides) == ("probe", (weights,))
    assert "to fine-tune 56 clips for an epoch takes about" in longer.reason
    asked = fitting_recipe([weights, "train.epochs=30"], str(tmp_path), clips)
    assert (asked.recipe, asked.overrides) == ("finetune", (weights, "train.epochs=30"))


def test_a_handful_of_clips_fits_a_head_alone(tmp_path, weights):
    chosen = fitting_recipe([weights], str(tmp_path), manifest(tmp_path, clips=8))
    assert chosen.recipe == "probe"
    assert "fewer than 5 training clips a class" in chosen.reason


def test_a_step_is_three_passes_less_what_is_frozen_or_left_out(weights):
    whole = ["train.optimizer.frozen_layers=0", "model.patch_dropout=0"]
    others, epoch = run_cost(network(weights, *whole), NETWORK, 10, 0)
    assert epoch == pytest.approx(3 * others)
    _, half = run_cost(network(weights, *whole, "model.patch_dropout=0.5"), NETWORK, 10, 0)
    assert half == pytest.approx(epoch / 2)
    _, frozen = run_cost(network(weights, *whole, "train.optimizer.frozen_layers=1"), NETWORK, 10, 0)
    assert others < frozen < 1.5 * others


def test_a_probe_of_many_clips_and_evaluations_count_as_passes(weights):
    recipe = network(weights, "views.temporal=3")
    one, _ = run_cost(recipe, NETWORK, 1, 0)
    assert run_cost(recipe, NETWORK, 1000, 10)[0] == pytest.approx((512 + 10 * (1 + 3)) * one)
