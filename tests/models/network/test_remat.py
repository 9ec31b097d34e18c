"""models.network.remat: what is computed again is the same, and not kept."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from models.network.remat import rematerialise
from models.network.vivit import ViViTConfig, build_vivit

DRAWN = {"dropout": 0.1, "attention_dropout": 0.1}
SMALL = {"tubelet": (2, 8, 8), "hidden_size": 16, "num_layers": 2, "temporal_layers": 1, "num_heads": 2, "mlp_dim": 32}


def network(**settings):
    """A network with all weights drawn, always the same, and the states of dropout as well."""
    keras.utils.set_random_seed(3)
    model = build_vivit(ViViTConfig(**SMALL, **settings), clip_shape=(4, 16, 16), heads={"label": 3})
    rng = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(rng.normal(size=weight.shape) * 0.1)
    return model


def learner(model, remat, **compiled):
    """The compiled function of the gradients of one batch."""
    variables = [variable.value for variable in model.trainable_variables]

    @tf.function(**compiled)
    def gradients():
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            with rematerialise(remat):
                logits = model(tf.random.stateless_normal((2, 4, 16, 16, 3), (1, 2)), training=True)["label"]
            loss = tf.reduce_mean(tf.nn.log_softmax(logits)[:, 0])
        return tape.gradient(loss, variables)

    return gradients


def learn(model, remat, **compiled):
    """Gradients of the second of two batches, whose draws are other than the first's, and states of the generators."""
    gradients = learner(model, remat, **compiled)
    first, second = ([gradient.numpy() for gradient in gradients()] for _ in range(2))
    assert any((a != b).any() for a, b in zip(first, second, strict=True))
    return second, [variable.numpy() for variable in model.non_trainable_variables]


def assert_same(found, wanted, tolerance):
    """Compares gradients; the tolerance is relative to the largest.

    The bias of the keys has no gradient but what rounding leaves, so that no tensor has a tolerance of its own.
    """
    largest = max(np.abs(gradient).max() for gradient in wanted)
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * largest)


@pytest.mark.parametrize(
    ("settings", "remats"),
    [
        ({"variant": "factorized_encoder", "stochastic_depth": 0.3, "dtype": "float32"}, ["blocks"]),
        ({"variant": "spacetime", "stochastic_depth": 0.3, "dtype": "bfloat16"}, ["blocks", "attention"]),
        ({"variant": "factorized_self_attention", "classifier": "gap"}, ["blocks"]),
        ({"variant": "factorized_dot_product", "classifier": "gap", "dtype": "bfloat16"}, ["attention"]),
    ],
)
def test_gradients_and_draws_are_the_same(settings, remats):
    wanted, states = learn(network(**settings, **DRAWN), "none")
    for remat in remats:
        found, found_states = learn(network(**settings, **DRAWN), remat)
        assert_same(found, wanted, 1e-6)
        np.testing.assert_array_equal(found_states, states)


def test_frozen_weights_of_a_block_have_no_gradient_and_the_others_keep_theirs():
    def frozen(remat):
        model = network(variant="spacetime")
        for weight in model.weights:
            weight.trainable = "encoderblock_0/MultiHead" not in weight.path
        return [gradient.numpy() for gradient in learner(model, remat)()]

    assert_same(frozen("blocks"), frozen("none"), 1e-6)


def test_xla_computes_again_too_with_the_same_result():
    settings = {"variant": "spacetime", "dropout": 0.1}
    plain, blocks = (learner(network(**settings), remat, jit_compile=True) for remat in ("none", "blocks"))
    assert_same(blocks(), plain(), 1e-5)
    # Had it merged both computations, there would be as many.
    products, more = (
        text.count(" dot(") + text.count(" custom-call(")
        for text in (one.experimental_get_compiler_ir()(stage="optimized_hlo") for one in (plain, blocks))
    )
    assert more >= products + 2 * 6


def test_replicas_compute_their_own_blocks_again():
    strategy = tf.distribute.MirroredStrategy([device.name for device in tf.config.list_logical_devices("CPU")])
    found = {}
    for remat in ("none", "blocks"):
        with strategy.scope():
            model = network(variant="spacetime", **DRAWN)
            step = learner(model, remat)
        run = tf.function(lambda step=step: strategy.run(step))
        found[remat] = [strategy.experimental_local_results(gradient)[0].numpy() for gradient in run()]
    assert_same(found["blocks"], found["none"], 1e-6)


def test_the_softmax_in_bfloat16_has_the_gradient_of_the_one_in_float32():
    from models.network.attention import softmax

    scores = tf.random.stateless_normal((2, 5, 7), (1, 2))
    upstream = tf.random.stateless_normal((2, 5, 7), (3, 4))
    found = {}
    for dtype in ("float32", "bfloat16"):
        with tf.GradientTape() as tape:
            tape.watch(scores)
            total = tf.reduce_sum(tf.cast(softmax(scores, dtype), tf.float32) * upstream)
        found[dtype] = tape.gradient(total, scores)
    np.testing.assert_allclose(found["bfloat16"], found["float32"], rtol=0, atol=0.01)
    assert np.abs(found["float32"]).max() > 0.1
