"""A model that we exported starts another: the same network exactly, another one by class names and token grids."""

from __future__ import annotations

import dataclasses
import logging
import typing

import numpy as np
import pytest

from models.checkpoints.own import WEIGHTS, read_weights, write_weights
from models.checkpoints.pretrained import ModelConfig, build_model
from models.clips.sampling import CENTRE_VIEW, ClipConfig
from models.network.vivit import Variant, ViViTConfig, build_vivit, weights_by_name
from models.serving.export import ServedModel
from schemas import serving

CLIP = ClipConfig(num_frames=4, stride=1, min_resize=16, crop_size=16)
CLASSES = {"verb": ["open", "shut"], "noun": ["cup", "door", "jar"]}
KERNEL, BIAS = "output_projection/kernel", "output_projection/bias"


def config_of(variant="factorized_encoder", **changes):
    classifier = "token" if variant in ("spacetime", "factorized_encoder") else "gap"
    sizes = {"tubelet": (2, 8, 8), "hidden_size": 8, "num_layers": 2, "temporal_layers": 1, "num_heads": 2}
    return ModelConfig(variant=variant, **sizes | {"mlp_dim": 12, "classifier": classifier} | changes)


def arrays(model):
    return {name: weight.numpy() for name, weight in weights_by_name(model).items()}


def trained(config, classes=CLASSES, clip=CLIP):
    """A network of which every weight was drawn."""
    heads = {head: len(names) for head, names in classes.items()}
    model, random = build_vivit(config, clip_shape=clip.shape, heads=heads), np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(random.normal(size=weight.shape))
    return model


def written(folder, model, config, classes=CLASSES, clip=CLIP):
    path = folder / "weights.safetensors"
    with path.open("wb") as file:
        write_weights(file, model, network=config, clip_shape=clip.shape, classes=classes)
    return path


def started(path, config=None, classes=CLASSES, clip=CLIP):
    """Weights of a network that starts from a file."""
    config = dataclasses.replace(config or config_of(), init_from=str(path))
    return arrays(build_model(config, clip_shape=clip.shape, classes=classes))


@pytest.fixture
def log(caplog):
    caplog.set_level(logging.INFO, logger="vivit.train")
    return caplog


@pytest.fixture(scope="module")
def model():
    return trained(config_of())


@pytest.fixture
def file(tmp_path, model):
    return written(tmp_path, model, config_of())


VIDEOMAE = {"classifier": "gap", "fc_norm": 1e-5, "position_embedding": "sinusoidal_1d", "gelu": "exact"}
VIDEOPRISM = {"spatial_pool": False, "classifier": "attention_pooler", "attention_logit_cap": 50.0}


@pytest.mark.parametrize(
    "config",
    [
        *(config_of(variant, num_layers=1) for variant in typing.get_args(Variant)),
        config_of("spacetime", **VIDEOMAE),
        config_of("factorized_encoder", **VIDEOPRISM),
        config_of("factorized_encoder", classifier="attentive", temporal_layers=0),
    ],
)
def test_an_exported_model_starts_the_same_network_bit_by_bit(config, tmp_path, log):
    model = trained(config)
    card = serving.ModelCard(CLASSES, (1, 1), ingest={}, config={})
    served = ServedModel(model, clip=CLIP, views=CENTRE_VIEW, classes=CLASSES)
    served.save(str(tmp_path), card, serving.ExpectedLogits({}, {}), config)
    path = tmp_path / WEIGHTS
    assert vars(read_weights(path).network).items() <= vars(config).items()
    copies = started(path, config)
    for name, array in arrays(model).items():
        np.testing.assert_array_equal(copies[name], array, err_msg=name)
    assert f"loaded {len(copies)}\ninitialised 0\nmissing 0\nunexpected 0" in log.text


def test_the_file_says_what_its_weights_mean(file):
    read = read_weights(file)
    assert read.classes == CLASSES
    assert read.clip_shape == CLIP.shape
    assert read.network == ViViTConfig(
        **{field.name: getattr(config_of(), field.name) for field in dataclasses.fields(ViViTConfig)}
    )
    assert {array.dtype for array in read.parameters.values()} == {np.dtype("float32")}


def test_the_same_model_gives_the_same_bytes(tmp_path, file, model):
    other = tmp_path / "again"
    other.mkdir()
    init = dataclasses.replace(config_of(), init_from="elsewhere")
    assert written(other, model, init).read_bytes() == file.read_bytes()


def test_classes_that_stay_keep_their_part_of_the_head_by_name(file, model, log):
    classes = {"verb": ["shut", "turn", "open"], "noun": ["jar", "cup"]}
    heads, was = started(file, classes=classes), arrays(model)
    for name in (KERNEL, BIAS):
        expected = np.stack([was[name][..., 1], 0 * was[name][..., 0], *np.moveaxis(was[name], -1, 0)[[0, 4, 2]]], -1)
        np.testing.assert_array_equal(heads[name], expected)
    assert "head verb keeps 2 of 2 classes, new 'turn'; head noun keeps 2 of 3 classes, gone 'door'" in log.text


def test_a_renamed_head_starts_afresh_and_the_other_stays(file, model, log):
    heads, was = started(file, classes={"thing": CLASSES["noun"], "verb": CLASSES["verb"]}), arrays(model)
    for name in (KERNEL, BIAS):
        assert not heads[name][..., :3].any()
        np.testing.assert_array_equal(heads[name][..., 3:], was[name][..., :2])
    assert "head thing is new; head verb keeps 2 of 2 classes; head noun is gone" in log.text


def test_more_frames_and_a_larger_crop_interpolate_the_positions_alone(file, model, log):
    other, was = started(file, clip=ClipConfig(num_frames=8, stride=1, min_resize=24, crop_size=24)), arrays(model)
    space, time = (f"{axis}Transformer/posembed_input/pos_embedding" for axis in ("Spatial", "Temporal"))
    for name, array in was.items():
        if name not in (space, time):
            np.testing.assert_array_equal(other[name], array, err_msg=name)
    # The class token, then corners on corners: 2x2 to 3x3, and 2 to 4.
    np.testing.assert_array_equal(other[space][:, 0], was[space][:, 0])
    np.testing.assert_allclose(other[space][0, [1, 3, 7, 9]], was[space][0, 1:], atol=1e-6)
    np.testing.assert_allclose(other[space][0, 5], was[space][0, 1:].mean(axis=0), atol=1e-6)
    np.testing.assert_array_equal(other[time][:, 0], was[time][:, 0])
    between = was[time][0, 1] + np.array([[0], [1], [2], [3]]) / 3 * (was[time][0, 2] - was[time][0, 1])
    np.testing.assert_allclose(other[time][0, 1:], between, atol=1e-6)
    assert f"{space}: interpolated from (1, 2, 2) to (1, 3, 3)" in log.text
    assert f"{time}: interpolated from (2, 1, 1) to (4, 1, 1)" in log.text


def test_as_many_tokens_on_another_grid_are_interpolated_too(tmp_path):
    config = config_of("spacetime")
    model = trained(config)
    path = written(tmp_path, model, config)
    wide = ClipConfig(num_frames=16, stride=1, min_resize=8, crop_size=8)
    (name,) = (name for name in arrays(model) if name.endswith("pos_embedding"))
    was, now = arrays(model)[name], started(path, config, clip=wide)[name]
    assert was.shape == now.shape
    # 2x2x2 to 8x1x1: first frame's and last frame's first corner.
    np.testing.assert_allclose(now[0, [0, 1, 8]], was[0, [0, 1, 5]], atol=1e-6)


def test_another_variant_of_the_family_takes_what_fits(tmp_path, log):
    path = written(tmp_path, trained(config_of("spacetime")), config_of("spacetime"))
    started(path, config_of("spacetime", classifier="gap"))
    assert "missing 0" in log.text
    assert "unexpected 1\n  cls" in log.text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tubelet": (2, 4, 4)}, r"embedding/kernel.*\(2, 8, 8, 3, 8\), the network wants \(2, 4, 4, 3, 8\)"),
        ({"mlp_dim": 16}, r"MlpBlock_0/Dense_0.*\(12,\), the network wants \(16,\)"),
        ({"num_layers": 3}, "model.num_layers: .*weights.safetensors has 2 blocks, the network wants 3"),
        ({"temporal_layers": 2}, "model.temporal_layers: .*weights.safetensors has 1 blocks, the network wants 2"),
        ({"representation_size": 4}, r"output_projection/kernel.*\(8, 5\), the network wants \(4, 5\)"),
    ],
)
def test_another_size_is_refused_with_both(file, changes, message):
    with pytest.raises(ValueError, match=message):
        started(file, config_of(**changes))


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_a_part_of_a_file_is_refused_by_name(file, share):
    whole = file.read_bytes()
    file.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match=f"^{file}: "):
        read_weights(file)


@pytest.mark.parametrize(
    ("good", "bad", "message"),
    [
        (b'"cup\\"', b'"cup\\\\', "metadata is damaged"),
        (b'"noun\\"', b'"verb\\"', "metadata names 3 classes, output_projection/bias has shape"),
        (b'\\"num_layers\\"', b'\\"num_layerz\\"', "of a newer release: .*num_layerz"),
        (b'"clip_shape"', b'"clip_shapf"', "metadata is damaged"),
    ],
)
def test_false_metadata_is_refused_by_name(file, good, bad, message):
    whole = file.read_bytes()
    assert good in whole
    file.write_bytes(whole.replace(good, bad))
    with pytest.raises(ValueError, match=f"^{file}: .*{message}"):
        read_weights(file)


def test_weights_that_are_not_finite_are_refused_by_name(file):
    file.write_bytes(file.read_bytes()[:-4] + np.float32(np.nan).tobytes())
    with pytest.raises(ValueError, match=f"^{file}: .*: wanted float32 and finite values"):
        read_weights(file)
