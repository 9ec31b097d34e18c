"""Attention rollout: what it computes, by whole matrices in NumPy, and where networks look whose attention is known."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from models.network.pooling import FIRST_TOKEN
from models.network.rollout import attention_rollout, can_roll_out
from models.network.vivit import ViViTConfig, build_vivit, weights_by_name
from tests.models.network.naive import NaiveNetwork

CLIP_SHAPE = (6, 16, 24)
GRID = FRAMES, ROWS, COLUMNS = (3, 2, 3)
SPACE = ROWS * COLUMNS
TINY = ViViTConfig(
    variant="spacetime", tubelet=(2, 8, 8), hidden_size=24, num_layers=2, temporal_layers=1, num_heads=2, mlp_dim=32
)
TOKEN, GAP, ATTENTIVE = {"classifier": "token"}, {"classifier": "gap"}, {"classifier": "attentive"}
DINOV2 = {"registers": 3, "gelu": "exact", "layer_norm_epsilon": 1e-2}
VIDEOPRISM = {"variant": "factorized_encoder", "spatial_pool": False, "gelu": "exact", "attention_logit_cap": 3.0}
CONFIGS = {
    "spacetime_token": dataclasses.replace(TINY, **TOKEN),
    "spacetime_gap": dataclasses.replace(TINY, **GAP),
    "spacetime_first": dataclasses.replace(TINY, classifier="0"),
    "factorized_encoder_token": dataclasses.replace(TINY, variant="factorized_encoder", **TOKEN),
    "factorized_encoder_gap": dataclasses.replace(TINY, variant="factorized_encoder", **GAP),
    "spacetime_registers": dataclasses.replace(TINY, **DINOV2, **TOKEN),
    "factorized_encoder_registers": dataclasses.replace(TINY, variant="factorized_encoder", **DINOV2, **TOKEN),
    "factorized_encoder_registers_gap": dataclasses.replace(TINY, variant="factorized_encoder", **DINOV2, **GAP),
    "average_over_time": dataclasses.replace(TINY, variant="factorized_encoder", temporal_layers=0),
    "time_then_space": dataclasses.replace(TINY, variant="factorized_self_attention", **GAP),
    "space_then_time": dataclasses.replace(
        TINY, variant="factorized_self_attention", attention_order="space_time", **GAP
    ),
    "factorized_dot_product": dataclasses.replace(TINY, variant="factorized_dot_product", **GAP),
    "videomae": dataclasses.replace(TINY, gelu="exact", fc_norm=1e-2, **GAP),
    "videoprism": dataclasses.replace(TINY, **VIDEOPRISM, **GAP),
    "videoprism_pooler": dataclasses.replace(TINY, **VIDEOPRISM, classifier="attention_pooler"),
    "spacetime_pooler": dataclasses.replace(TINY, classifier="attention_pooler"),
    "spacetime_attentive": dataclasses.replace(TINY, **ATTENTIVE),
    "frames_attentive": dataclasses.replace(TINY, variant="factorized_encoder", temporal_layers=0, **ATTENTIVE),
    "videoprism_attentive": dataclasses.replace(TINY, **VIDEOPRISM, **ATTENTIVE),
    "self_attention_exact": dataclasses.replace(
        TINY, variant="factorized_self_attention", gelu="exact", layer_norm_epsilon=1e-2, **GAP
    ),
}
MODELS = ("spacetime_token", "factorized_encoder_token", "time_then_space", "factorized_dot_product")
every_config = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)


def build(config, **options):
    """A network with random weights, whose attention is far from uniform."""
    keras.utils.set_random_seed(0)
    model = build_vivit(config, clip_shape=CLIP_SHAPE, heads={"label": 5}, **options)
    for weight in model.trainable_variables:
        weight.assign_add(0.3 * keras.random.normal(weight.shape, seed=1))
    return model


def clips():
    return keras.random.uniform((2, *CLIP_SHAPE, 3), -1, 1, seed=2)


@every_config
def test_is_the_product_of_whole_matrices(config):
    model = build(config)
    features = keras.Model(model.input, model.get_layer("output_projection").input)(clips())
    maps = attention_rollout(model, clips())
    assert maps.dtype == tf.float32
    assert np.ptp(maps) > 0.02, "maps without a difference prove nothing"
    np.testing.assert_allclose(np.sum(maps, axis=(1, 2, 3)), 1, atol=1e-6)
    naive = NaiveNetwork(model, config, GRID)
    for number, clip in enumerate(clips()):
        naive_features, naive_map = naive.rollout(clip)
        np.testing.assert_allclose(features[number], naive_features, atol=1e-4)
        np.testing.assert_allclose(maps[number], naive_map, atol=1e-5)


@pytest.mark.parametrize("name", [name for name, config in CONFIGS.items() if config.classifier in FIRST_TOKEN])
def test_computing_all_tokens_of_the_last_block_changes_nothing(name):
    maps = attention_rollout(build(CONFIGS[name], all_tokens=True), clips())
    np.testing.assert_allclose(attention_rollout(build(CONFIGS[name]), clips()), maps, atol=1e-6)


@pytest.mark.parametrize("name", [*MODELS, "videoprism_pooler"])
def test_bfloat16_is_near(name):
    exact = attention_rollout(build(CONFIGS[name]), clips())
    fast = attention_rollout(build(dataclasses.replace(CONFIGS[name], dtype="bfloat16")), clips())
    assert fast.dtype == tf.float32
    assert 0 < np.abs(fast - exact).max() < 0.02


@pytest.mark.parametrize("name", MODELS)
def test_one_attention_at_a_time_has_its_weights_in_memory(name):
    model = build(CONFIGS[name])
    graph = tf.function(lambda clip: attention_rollout(model, clip)).get_concrete_function(clips()).graph
    # Shares are multiplied by weights, where the forward pass multiplies weights by values.
    products = [operation for operation in graph.get_operations() if operation.type == "BatchMatMulV2"]
    weights = [product.inputs[1].op for product in products if product.inputs[1].op.type == "Softmax"]
    assert len(weights) >= CONFIGS[name].num_layers
    # Those of model 4 are over time and over space.
    parts = 2 if name == "factorized_dot_product" else 1
    for earlier, later in zip(weights, weights[parts:], strict=False):
        assert earlier in ancestors(later)


def ancestors(operation):
    """Operations that must have run before."""
    found, waiting = set(), [operation]
    while waiting:
        one = waiting.pop()
        new = {*(tensor.op for tensor in one.inputs), *one.control_inputs} - found
        found |= new
        waiting += new
    return found


def look_at(model, channels, sharpness=50.0):
    """Sets weights so that all attention goes to the token whose position embedding is set, by channel.

    All other tokens are zero in every layer.

    Args:
      model: Its weights are set.
      channels: Encoder or attention name's part -> the channel of the position embedding that its keys read.
      sharpness: What the queries multiply it with.
    """
    for name, weight in weights_by_name(model).items():
        value = np.zeros(weight.shape, np.float32)
        channel = next((channel for part, channel in channels.items() if part in name), None)
        if "encoderblock" in name and name.endswith("scale"):
            value[:] = 1
        elif name.endswith("query/bias"):
            value[:, 0] = sharpness
        elif name.endswith("key/kernel"):
            value[channel, :, 0] = 1
        weight.assign(value)


def mark(model, encoder, token, channel):
    """Sets the position embedding of a token of an encoder in one channel."""
    table = weights_by_name(model)[f"{encoder}/posembed_input/pos_embedding"]
    value = table.numpy()
    value[0, token, channel] = 1
    table.assign(value)


def after(layers, length, index):
    """Shares of tokens from uniform ones on, where every layer gives half to one token."""
    return 0.5**layers / length + (1 - 0.5**layers) * np.eye(length)[index]


class TestAttentionToOneTubelet:
    """A network that looks at the tubelet of frame 2, row 1, column 0 only."""

    frame, place = 2, 3

    @pytest.mark.parametrize("classifier", ["token", "gap"])
    def test_model_1(self, classifier):
        model = build_vivit(dataclasses.replace(TINY, classifier=classifier), clip_shape=CLIP_SHAPE, heads={"label": 5})
        look_at(model, {"Transformer": 0})
        tubelet = self.frame * SPACE + self.place
        mark(model, "Transformer", tubelet + (classifier == "token"), channel=0)
        # The class token's own share is left out.
        wanted = np.eye(FRAMES * SPACE)[tubelet] if classifier == "token" else after(2, FRAMES * SPACE, tubelet)
        np.testing.assert_allclose(attention_rollout(model, clips())[0], wanted.reshape(GRID), atol=1e-6)

    @pytest.mark.parametrize("classifier", ["token", "gap"])
    def test_model_2(self, classifier):
        config = dataclasses.replace(TINY, variant="factorized_encoder", classifier=classifier)
        model = build_vivit(config, clip_shape=CLIP_SHAPE, heads={"label": 5})
        look_at(model, {"SpatialTransformer": 0, "TemporalTransformer": 1})
        mark(model, "SpatialTransformer", self.place + (classifier == "token"), channel=0)
        mark(model, "TemporalTransformer", self.frame + (classifier == "token"), channel=1)
        if classifier == "token":
            wanted = np.outer(np.eye(FRAMES)[self.frame], np.eye(SPACE)[self.place])
        else:
            wanted = np.outer(after(1, FRAMES, self.frame), after(2, SPACE, self.place))
        np.testing.assert_allclose(attention_rollout(model, clips())[0], wanted.reshape(GRID), atol=1e-6)

    @pytest.mark.parametrize("order", ["time_space", "space_time"])
    def test_model_3(self, order):
        config = dataclasses.replace(CONFIGS["time_then_space"], attention_order=order)
        model = build_vivit(config, clip_shape=CLIP_SHAPE, heads={"label": 5})
        look_at(model, {"Attention_time": 0, "Attention_space": 1})
        mark(model, "Transformer", [self.frame * SPACE + place for place in range(SPACE)], channel=0)
        mark(model, "Transformer", [frame * SPACE + self.place for frame in range(FRAMES)], channel=1)
        wanted = np.outer(after(2, FRAMES, self.frame), after(2, SPACE, self.place))
        np.testing.assert_allclose(attention_rollout(model, clips())[0], wanted.reshape(GRID), atol=1e-6)

    def test_model_4(self):
        model = build_vivit(CONFIGS["factorized_dot_product"], clip_shape=CLIP_SHAPE, heads={"label": 5})
        look_at(model, {"Transformer": 0})
        mark(model, "Transformer", self.frame * SPACE + self.place, channel=0)
        maps = attention_rollout(model, clips()).numpy()
        assert np.unravel_index(maps[0].argmax(), GRID) == (2, 1, 0)
        in_its_frame, at_its_place = maps[0, 2].sum(), maps[0, :, 1, 0].sum()
        assert in_its_frame > 1 / FRAMES
        assert at_its_place > 1 / SPACE


# The first token of classifier "0" keeps what its own residual connection brings.
@pytest.mark.parametrize("name", [name for name, config in CONFIGS.items() if config.classifier != "0"])
def test_uniform_attention_gives_a_uniform_map(name):
    model = build(CONFIGS[name])
    for name, weight in weights_by_name(model).items():
        if "query" in name or name == "attentive/position":
            weight.assign(np.zeros(weight.shape))
    np.testing.assert_allclose(attention_rollout(model, clips()), np.full((2, *GRID), 1 / (FRAMES * SPACE)), atol=1e-6)


def test_a_network_that_looks_at_its_class_token_alone_has_a_uniform_map():
    model = build_vivit(TINY, clip_shape=CLIP_SHAPE, heads={"label": 5})
    look_at(model, {"Transformer": 0}, sharpness=1e4)
    mark(model, "Transformer", 0, channel=0)
    np.testing.assert_allclose(attention_rollout(model, clips()), np.full((2, *GRID), 1 / (FRAMES * SPACE)), atol=1e-6)


def test_another_network_has_no_rollout():
    clip = keras.Input((*CLIP_SHAPE, 3))
    pooled = keras.layers.GlobalAveragePooling3D()(clip)
    assert not can_roll_out(keras.Model(clip, keras.layers.Dense(5)(pooled)))
    assert not can_roll_out(keras.Sequential([keras.layers.Dense(5)]))
    assert can_roll_out(build(TINY))
    assert can_roll_out(keras.models.clone_model(build(TINY)))
