"""The network: what its config refuses, what it computes, and what training changes about it."""

import dataclasses
import json
from pathlib import Path
from typing import get_args

import keras
import numpy as np
import pytest
import tensorflow as tf

from benchmarks.parity.networks import reference_network
from models.network.encoder import Encoder
from models.network.layers import PatchDropout, StochasticDepth
from models.network.vivit import Variant, ViViTConfig, build_vivit, weights_by_name

GOLDEN = Path(__file__).parents[2] / "golden"
CLIP_SHAPE = (4, 16, 24)
TINY = ViViTConfig(
    variant="spacetime", tubelet=(2, 8, 8), hidden_size=24, num_layers=2, temporal_layers=2, num_heads=2, mlp_dim=32
)
CONFIGS = {
    "spacetime": TINY,
    "factorized_encoder": dataclasses.replace(TINY, variant="factorized_encoder"),
    "average_over_time": dataclasses.replace(TINY, variant="factorized_encoder", temporal_layers=0),
    "factorized_self_attention": dataclasses.replace(TINY, variant="factorized_self_attention", classifier="gap"),
    "factorized_dot_product": dataclasses.replace(TINY, variant="factorized_dot_product", classifier="gmp"),
    "dinov2": dataclasses.replace(
        TINY, variant="factorized_encoder", registers=4, gelu="exact", layer_norm_epsilon=0.01
    ),
    "sampled_frames": dataclasses.replace(TINY, tubelet=(1, 8, 8), sampled_frames=2),
    "videomae": dataclasses.replace(TINY, classifier="gap", fc_norm=1e-5, position_embedding="sinusoidal_1d"),
    "videoprism": dataclasses.replace(
        TINY,
        variant="factorized_encoder",
        spatial_pool=False,
        classifier="attention_pooler",
        attention_logit_cap=5.0,
    ),
    "attentive": dataclasses.replace(TINY, variant="factorized_encoder", temporal_layers=0, classifier="attentive"),
}


def build(config, heads=None, **options):
    """A network with all weights away from zero, so that every part of it matters."""
    keras.utils.set_random_seed(0)
    model = build_vivit(config, clip_shape=CLIP_SHAPE, heads=heads or {"label": 5}, **options)
    for weight in model.trainable_variables:
        weight.assign_add(0.1 * keras.random.normal(weight.shape, seed=1))
    return model


def clips(batch=3):
    return keras.random.uniform((batch, *CLIP_SHAPE, 3), -1, 1, seed=2)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
class TestEveryVariant:
    def test_bfloat16_keeps_weights_and_logits_float32_and_the_result_near(self, config):
        exact, fast = build(config), build(dataclasses.replace(config, dtype="bfloat16"))
        logits = fast(clips())["label"]
        assert logits.dtype == tf.float32
        assert {weight.dtype for weight in fast.weights} == {"float32"}
        difference = np.abs(logits - exact(clips())["label"]).max()
        assert 0 < difference < 0.05

    def test_is_the_same_after_saving_and_loading(self, config, tmp_path):
        model = build(config)
        model.save(tmp_path / "model.keras")
        loaded = keras.saving.load_model(tmp_path / "model.keras")
        np.testing.assert_array_equal(loaded(clips())["label"], model(clips())["label"])

    def test_computing_only_the_first_token_changes_no_logit(self, config):
        all_tokens = build(config, all_tokens=True)
        np.testing.assert_allclose(build(config)(clips())["label"], all_tokens(clips())["label"], atol=2e-6)

    def test_fresh_logits_are_zero(self, config):
        model = build_vivit(config, clip_shape=CLIP_SHAPE, heads={"label": 5})
        assert not np.any(model(clips())["label"])


@pytest.mark.parametrize("variant", [*get_args(Variant), "videoprism"])
def test_compiles_with_xla_to_the_same_logits(variant):
    model = build(CONFIGS[variant])
    compiled = tf.function(model, jit_compile=True)(clips())["label"]
    np.testing.assert_allclose(compiled, model(clips())["label"], atol=1e-5)


@pytest.mark.parametrize("variant", [*get_args(Variant), "videoprism"])
def test_a_training_step_compiles_with_xla(variant):
    depth = 0.0 if variant == "factorized_self_attention" else 0.5
    model = build(dataclasses.replace(CONFIGS[variant], dropout=0.1, attention_dropout=0.1, stochastic_depth=depth))
    variables = [variable.value for variable in model.trainable_variables]

    @tf.function(jit_compile=True)
    def gradients(clip):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.square(model(clip, training=True)["label"]))
        return tape.gradient(loss, variables)

    assert all(np.isfinite(gradient).all() for gradient in gradients(clips()))


def test_heads_are_slices_of_one_projection_in_their_order():
    model = build(TINY, heads={"noun": 3, "verb": 2})
    logits = keras.Model(model.input, model.get_layer("output_projection").output)(clips())
    heads = model(clips())
    np.testing.assert_array_equal(heads["noun"], logits[:, :3])
    np.testing.assert_array_equal(heads["verb"], logits[:, 3:])


def test_what_the_tubelet_does_not_divide_is_dropped():
    clip = keras.random.uniform((1, 5, 23, 30, 3), -1, 1, seed=3)
    model, inner = (build_vivit(TINY, clip_shape=shape, heads={"label": 5}) for shape in ((5, 23, 30), (4, 16, 24)))
    for weight in model.trainable_variables:
        weight.assign_add(0.1 * keras.random.normal(weight.shape))
    inner.set_weights(model.get_weights())
    np.testing.assert_array_equal(model(clip)["label"], inner(clip[:, :4, :16, :24])["label"])


@pytest.mark.parametrize("classifier", ["token", "gap", "gmp", "gsp", "0"])
def test_each_classifier_reads_what_it_says(classifier):
    model = build(dataclasses.replace(TINY, classifier=classifier), all_tokens=True)
    tokens = model.get_layer("Transformer").output
    probe = keras.Model(model.input, [tokens, model.get_layer("output_projection").input])
    tokens, features = (np.asarray(tensor) for tensor in probe(clips()))
    read = {"gap": tokens.mean(1), "gmp": tokens.max(1), "gsp": tokens.sum(1)}.get(classifier, tokens[:, 0])
    assert tokens.shape[1] == 2 * 2 * 3 + (classifier == "token")
    np.testing.assert_allclose(features, read, atol=1e-5)


class TestStochasticDepth:
    def test_drops_examples_at_its_rate_and_does_not_rescale_the_rest(self):
        branch = np.ones((4000, 2, 3), np.float32)
        kept = np.asarray(StochasticDepth(0.3)(branch, training=True))
        assert set(np.unique(kept)) == {0.0, 1.0}
        assert np.array_equal(kept.min(axis=(1, 2)), kept.max(axis=(1, 2)))
        assert 1 - kept.mean() == pytest.approx(0.3, abs=0.03)

    def test_does_nothing_at_inference(self):
        branch = np.ones((8, 2, 3), np.float32)
        np.testing.assert_array_equal(StochasticDepth(0.9)(branch, training=False), branch)

    def test_grows_linearly_from_the_first_block_to_the_last(self):
        encoder = Encoder("joint", (1, 2, 2), num_layers=4, num_heads=1, mlp_dim=4, stochastic_depth=0.3)
        rates = [block.attention_depth.rate for block in encoder.blocks]
        assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3])

    def test_is_shared_by_all_frames_of_a_clip(self):
        encoder = Encoder("joint", (1, 2, 2), num_layers=2, num_heads=1, mlp_dim=4, stochastic_depth=0.5)
        frames = np.repeat(np.random.RandomState(0).randn(16, 1, 4, 8).astype(np.float32), 3, axis=1)
        encoded = np.asarray(encoder(frames, training=True))
        np.testing.assert_allclose(encoded[:, :1], encoded[:, 1:2], atol=1e-6)
        assert not np.allclose(encoded, encoder(frames, training=False), atol=1e-3)


def test_dropout_in_the_spatial_encoder_is_shared_by_all_frames_of_a_clip():
    rates = {"dropout": 0.5, "attention_dropout": 0.5}
    encoder = Encoder("joint", (1, 2, 2), num_layers=1, num_heads=1, mlp_dim=4, shared_over_time=True, **rates)
    frames = np.repeat(np.random.RandomState(0).randn(2, 1, 4, 8).astype(np.float32), 3, axis=1)
    encoded = np.asarray(encoder(frames, training=True))
    np.testing.assert_allclose(encoded[:, 0], encoded[:, 2], atol=1e-6)
    assert not np.allclose(encoded, encoder(frames, training=False), atol=1e-3)


class TestPatchDropout:
    TOKENS = np.arange(2 * 3 * 9, dtype=np.float32).reshape(2, 3, 9, 1)

    def test_keeps_a_share_of_the_tokens_of_each_frame_and_the_first(self):
        keras.utils.set_random_seed(0)
        kept = np.asarray(PatchDropout(0.5, first=1)(self.TOKENS, training=True))
        assert kept.shape == (2, 3, 5, 1)
        np.testing.assert_array_equal(kept[..., :1, :], self.TOKENS[..., :1, :])
        places = [frozenset((frame[1:, 0] % 9).astype(int)) for clip in kept for frame in clip]
        assert all(len(frame) == 4 and 0 not in frame for frame in places)
        assert len(set(places)) > 1
        np.testing.assert_array_equal(kept // 9, self.TOKENS[..., :5, :] // 9)

    def test_does_nothing_at_inference(self):
        np.testing.assert_array_equal(PatchDropout(0.5, first=1)(self.TOKENS, training=False), self.TOKENS)

    @pytest.mark.parametrize("variant", ["spacetime", "factorized_encoder", "dinov2", "videomae"])
    def test_blocks_see_fewer_tokens_in_training_and_their_gradients_arrive(self, variant):
        model = build(dataclasses.replace(CONFIGS[variant], patch_dropout=0.5))
        with tf.GradientTape() as tape:
            logits = model(clips(), training=True)["label"]
            loss = tf.reduce_sum(logits**2)
        gradients = tape.gradient(loss, [variable.value for variable in model.trainable_variables])
        assert all(np.any(gradient) for gradient in gradients)
        whole = build(CONFIGS[variant])
        whole.set_weights([weight.numpy() for weight in model.weights])
        np.testing.assert_array_equal(model(clips())["label"], whole(clips())["label"])
        assert np.abs(logits - whole(clips())["label"]).max() > 1e-3


@pytest.mark.parametrize("case", ["fe_gap", "fsa_gap_time_space", "spacetime_gap_prelogits"])
def test_fresh_weights_are_distributed_as_the_references(case):
    config, clip_shape, heads = reference_network(json.loads((GOLDEN / "models" / case / "config.json").read_text()))
    keras.utils.set_random_seed(0)
    weights = weights_by_name(build_vivit(config, clip_shape=clip_shape, heads=heads))
    stats = json.loads((GOLDEN / "models" / case / "init_stats.json").read_text())
    for name, expected in stats.items():
        values = weights[name].numpy()
        assert list(values.shape) == expected["shape"], name
        # Within what drawing as few values as these leaves open.
        assert values.std() == pytest.approx(expected["std"], rel=5 / np.sqrt(values.size)), name
        assert values.mean() == pytest.approx(expected["mean"], abs=6 * expected["std"] / np.sqrt(values.size)), name


def test_zero_temporal_attention_starts_as_the_network_without_it():
    config = dataclasses.replace(CONFIGS["factorized_self_attention"], temporal_init="zero")
    weights = weights_by_name(build_vivit(config, clip_shape=CLIP_SHAPE, heads={"label": 5}))
    over_time = [value for name, value in weights.items() if "Attention_time" in name]
    over_space = [value for name, value in weights.items() if "Attention_space" in name and name.endswith("kernel")]
    assert not any(np.any(value) for value in over_time)
    assert all(np.any(value) for value in over_space)


@pytest.mark.parametrize(
    ("field", "value", "others"),
    [
        ("variant", "model 2", {}),
        ("num_heads", 5, {}),
        ("num_heads", 3, {"variant": "factorized_dot_product", "classifier": "gap"}),
        ("classifier", "token", {"variant": "factorized_self_attention"}),
        ("stochastic_depth", 0.2, {"variant": "factorized_self_attention", "classifier": "gap"}),
        ("dropout", 1.0, {}),
        ("tubelet", (2, 16), {}),
        ("tubelet", (2, 16, 16), {"sampled_frames": 8}),
        ("num_layers", 0, {}),
        ("temporal_layers", -1, {}),
        ("registers", -1, {}),
        ("registers", 4, {"variant": "factorized_self_attention", "classifier": "gap"}),
        ("patch_dropout", 1.0, {}),
        ("patch_dropout", 0.5, {"variant": "factorized_dot_product", "classifier": "gap"}),
        ("patch_dropout", 0.5, {"variant": "spacetime", "classifier": "attentive"}),
        ("patch_dropout", 0.5, {"variant": "factorized_encoder", "spatial_pool": False, "classifier": "gap"}),
        ("layer_norm_epsilon", 0.0, {}),
        ("gelu", "relu", {}),
        ("representation_size", 0, {}),
        ("fc_norm", 0.0, {"variant": "spacetime", "classifier": "gap"}),
        ("fc_norm", 1e-6, {"variant": "spacetime", "classifier": "token"}),
        ("fc_norm", 1e-6, {"variant": "factorized_encoder", "classifier": "gap"}),
        ("attention_logit_cap", 0, {}),
        ("spatial_pool", False, {"variant": "spacetime", "classifier": "gap"}),
        ("classifier", "token", {"spatial_pool": False}),
        ("temporal_layers", 0, {"spatial_pool": False, "classifier": "gap"}),
        ("spatial_pool", True, {"classifier": "attention_pooler"}),
        ("temporal_layers", 2, {"classifier": "attentive"}),
        ("representation_size", 8, {"classifier": "attentive", "temporal_layers": 0}),
        ("mlp_dim", 33, {"variant": "spacetime", "classifier": "attention_pooler"}),
    ],
)
def test_a_value_that_is_not_allowed_is_named(field, value, others):
    allowed = {"hidden_size": 24, "num_heads": 2}
    with pytest.raises(ValueError, match="allowed") as refused:
        ViViTConfig(**{**allowed, **others, field: value})
    assert f"ViViTConfig.{field}" in str(refused.value)
    assert repr(value) in str(refused.value)


def test_a_clip_smaller_than_a_tubelet_is_refused_with_both_shapes():
    with pytest.raises(ValueError, match=r"\(4, 7, 24\).*\(2, 8, 8\)"):
        build_vivit(TINY, clip_shape=(4, 7, 24), heads={"label": 5})


def test_no_heads_are_refused():
    with pytest.raises(ValueError, match="heads"):
        build_vivit(TINY, clip_shape=CLIP_SHAPE, heads={})
