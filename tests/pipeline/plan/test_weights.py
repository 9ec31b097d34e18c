"""Which weights `model.init_from` names: a file, a model, a run, or what is in production."""

from __future__ import annotations

import shutil

import pytest

from components.registry.approval import rollback
from components.registry.candidates import write_candidate
from models.checkpoints.own import WEIGHTS
from pipeline.plan.weights import find_first_weights, locate_weights, with_network
from pipeline.recipe import load_recipe
from pipeline.settings import ConfigError
from tests.components.registry.runs import candidate, put, write_model
from tests.models.checkpoints import image_vits, videomaes, videoprisms


def model(workdir, name):
    """A SavedModel in miniature with a file of its weights."""
    folder = write_model(workdir / "models" / name, name.encode())
    (folder / WEIGHTS).write_text(name)
    return folder


def evaluated(workdir, name, minute):
    """A candidate with a file of its weights."""
    record = candidate(model(workdir, name), made=f"2026-01-01T00:{minute:02}:00+00:00")
    write_candidate(str(workdir), record)
    return record


def weights_in(folder):
    return str(folder / WEIGHTS)


def test_a_file_and_a_folder_that_is_no_model_are_taken_as_they_are(tmp_path):
    (tmp_path / "vit").mkdir()
    (tmp_path / "vit" / "model.safetensors").write_text("theirs")
    for path in (str(tmp_path / "vit"), str(tmp_path / "vit" / "model.safetensors")):
        found = find_first_weights(path, str(tmp_path / "run"))
        assert (found.path, found.words) == (path, path)
        assert found.version


def test_without_the_setting_there_are_none(tmp_path):
    assert find_first_weights(None, str(tmp_path)) == (None, "", "")


def test_a_pushed_version_an_exported_model_and_a_folder_of_versions_have_a_file_of_weights(tmp_path):
    first, second = (put(tmp_path, evaluated(tmp_path, name, minute)) for minute, name in enumerate("ab"))
    pushed = tmp_path / "pushed"
    for folder, expected in (
        (pushed / first, pushed / first),
        (tmp_path / "models" / "a", tmp_path / "models" / "a"),
        (pushed, pushed / second),
    ):
        assert locate_weights(str(folder)).path == weights_in(expected)


def test_of_a_run_the_candidate_that_was_evaluated_last_is_taken(tmp_path):
    evaluated(tmp_path, "a", minute=2)
    evaluated(tmp_path, "b", minute=1)
    put(tmp_path, evaluated(tmp_path, "c", minute=0))
    found = locate_weights(str(tmp_path))
    assert found.path == weights_in(tmp_path / "models" / "a")
    assert found.words.endswith(f"of {tmp_path}, which was evaluated last (2026-01-01T00:02:00+00:00)")


def test_of_a_run_whose_candidates_were_removed_the_version_in_production_is_taken(tmp_path):
    version = put(tmp_path, evaluated(tmp_path, "a", minute=0))
    shutil.rmtree(tmp_path / "candidates")
    assert locate_weights(str(tmp_path)).path == weights_in(tmp_path / "pushed" / version)


def test_production_is_the_version_of_the_workdir_that_was_pushed_and_not_rolled_back(tmp_path):
    workdir = str(tmp_path)
    first = put(tmp_path, evaluated(tmp_path, "a", minute=0))
    before = find_first_weights("production", workdir)
    assert before.path == weights_in(tmp_path / "pushed" / first)
    assert before.words == f"version {first} of this workdir, which is in production"
    put(tmp_path, evaluated(tmp_path, "b", minute=1))
    after = find_first_weights("production", workdir)
    assert after.version != before.version
    # The copy that a rollback makes is the same model: it trains nothing again.
    rollback(workdir, who="Ann", why="worse")
    assert find_first_weights("production", workdir) == before


def test_production_of_a_workdir_without_versions_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match=f"is production, but nothing is in production in {tmp_path}: run once"):
        find_first_weights("production", str(tmp_path))


def test_a_model_of_an_older_release_is_an_error_that_says_what_to_do(tmp_path):
    version = put(tmp_path, candidate(write_model(tmp_path / "models" / "old", b"old")))
    with pytest.raises(ConfigError, match=r"an older release exported it. Train it again .* run `vivit convert`"):
        find_first_weights(str(tmp_path / "pushed" / version), str(tmp_path))


def test_a_candidate_whose_model_was_removed_is_an_error(tmp_path):
    evaluated(tmp_path, "a", minute=0)
    shutil.rmtree(tmp_path / "models")
    with pytest.raises(ConfigError, match=f"its SavedModel is not at {tmp_path}/models/a any more"):
        find_first_weights(str(tmp_path), str(tmp_path))


def test_a_run_that_has_no_model_yet_is_an_error(tmp_path):
    (tmp_path / "pipeline").mkdir()
    with pytest.raises(ConfigError, match="a run that has no model yet: let it finish first"):
        find_first_weights(str(tmp_path), str(tmp_path))


def test_a_path_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match=f"model.init_from is {tmp_path}/no, which cannot be read: No such file"):
        find_first_weights(f"{tmp_path}/no", str(tmp_path))


def test_a_probe_takes_its_network_from_the_weights(tmp_path):
    tensors = image_vits.hugging_face(image_vits.image_vit(registers=2))
    path = image_vits.write_safetensors(tmp_path / "model.safetensors", tensors)
    network = with_network(load_recipe("probe", [f"model.init_from={path}"]), str(tmp_path)).model
    patch = (1, image_vits.PATCH, image_vits.PATCH)
    assert (network.hidden_size, network.num_layers, network.tubelet) == (image_vits.WIDTH, image_vits.LAYERS, patch)
    assert (network.registers, network.gelu, network.classifier) == (2, "exact", "token_and_mean")


def test_an_attentive_pool_stays_above_the_network_of_a_video_transformer(tmp_path):
    path = image_vits.write_safetensors(
        tmp_path / "model.safetensors", videoprisms.hugging_face(videoprisms.videoprism())
    )
    settings = ["model.network=weights", f"model.init_from={path}", "model.classifier=attentive"]
    network = with_network(load_recipe("videoprism_b", settings), str(tmp_path)).model
    assert (network.classifier, network.spatial_pool, network.class_token) == ("attentive", False, False)


def test_a_recipe_takes_the_network_of_a_video_transformer_whole(tmp_path):
    path = image_vits.write_safetensors(tmp_path / "model.safetensors", videomaes.own(videomaes.videomae(frames=1)))
    settings = ["model.network=weights", f"model.init_from={path}", "model.attention_logit_cap=50"]
    network = with_network(load_recipe("videoprism_b", settings), str(tmp_path)).model
    assert (network.variant, network.classifier, network.fc_norm) == ("spacetime", "gap", 1e-6)
    assert (network.hidden_size, network.spatial_pool, network.attention_logit_cap) == (videomaes.WIDTH, True, None)


def test_a_probe_without_weights_is_refused_before_anything_is_read(tmp_path):
    with pytest.raises(ConfigError, match="set model.init_from"):
        with_network(load_recipe("probe"), str(tmp_path))


def test_weights_that_give_no_network_are_named(tmp_path):
    path = tmp_path / "half.safetensors"
    path.write_bytes(b"half")
    with pytest.raises(ConfigError, match=r"model.init_from is \S+half.safetensors, which gives no network"):
        with_network(load_recipe("probe", [f"model.init_from={path}"]), str(tmp_path))
