"""benchmarks.memory on tiny networks: what is counted, and that a process takes that."""

import pytest
import tensorflow as tf

from benchmarks import memory
from models.network.vivit import ViViTConfig
from models.training.groups import WeightGroup
from models.training.optimizers import OptimizerConfig

NETWORK = ViViTConfig(variant="spacetime", tubelet=(2, 8, 8), hidden_size=16, num_layers=2, num_heads=2, mlp_dim=64)
STEP = {"clip_shape": (8, 64, 64), "heads": {"label": 3}, "optimizer": OptimizerConfig(name="adamw")}


def test_what_is_live_is_counted_once_and_until_its_last_use():
    with tf.Graph().as_default() as graph:
        given = tf.compat.v1.placeholder(tf.float32, (10, 10))
        product = tf.matmul(given, given)
        same = tf.reshape(product, (100,))
        half = tf.cast(same, tf.bfloat16)
        result = tf.reduce_sum(half)
        operations = graph.get_operations()
        forward = set(operations[: operations.index(product.op) + 1])
        kept, peak = memory.live_bytes(operations, forward, [result])
    # The product, which the cast waits for; with the clip that it is made of, and with its half.
    assert kept == 400
    assert 800 <= peak <= 820


def test_weights_and_optimizer_are_counted():
    counted = memory.count_memory(NETWORK, **STEP)["none"]
    # AdamW has two moments of each weight, a step and a rate.
    assert 2 * counted.weights <= counted.optimizer <= 2 * counted.weights + 64
    assert counted.gradients == counted.weights


def test_frozen_weights_have_no_gradient_whatever_is_computed_again():
    frozen = OptimizerConfig(name="adamw", groups=(WeightGroup("encoderblock_0/", frozen=True),))
    width, inner = NETWORK.hidden_size, NETWORK.mlp_dim
    # Two normalisations; queries, keys, values and what follows them; the MLP.
    block = 4 * width + 4 * (width + 1) * width + (width + 1) * inner + (inner + 1) * width
    for one in memory.count_memory(NETWORK, **{**STEP, "optimizer": frozen}).values():
        assert one.weights - one.gradients == 4 * block


def test_rematerialisation_keeps_less_and_attention_weights_are_kept_once_in_bfloat16():
    float32 = memory.count_memory(NETWORK, **STEP, remats=("none", "attention", "blocks"))
    assert float32["blocks"].kept < float32["attention"].kept < float32["none"].kept
    tokens, layers, heads = 4 * 64 + 1, NETWORK.num_layers, NETWORK.num_heads
    # The clip, and the tokens that enter each block.
    clip, entering = 4 * 8 * 64 * 64 * 3, 4 * tokens * NETWORK.hidden_size * layers
    assert float32["blocks"].kept == pytest.approx(clip + entering, rel=0.02)
    network = ViViTConfig(**{**vars(NETWORK), "dtype": "bfloat16"})
    bfloat16 = memory.count_memory(network, **STEP, remats=("none", "attention"))
    # All blocks but the last, which has one query.
    weights = 2 * (layers - 1) * heads * tokens**2
    assert bfloat16["none"].kept - bfloat16["attention"].kept == pytest.approx(weights, rel=0.02)


def test_clips_fit_or_not():
    counted = memory.StepMemory(weights=10, gradients=10, optimizer=10, kept=30, peak=50, each=40)
    # Nine tenths of the device less 20 of weights and optimizer are 43, 50, 79, and 80.
    assert [counted.clips(bytes_) for bytes_ in (70, 78, 110, 112)] == [0, 1, 1, 2]


def test_the_count_is_what_a_process_takes():
    step = {**STEP, "clip_shape": (8, 128, 128)}
    for remat, counted in memory.count_memory(NETWORK, **step).items():
        measured = memory.measure_memory(NETWORK, **step, remat=remat, batch=memory.MANY)
        # What tracing had taken before may be taken again: some hundred megabytes are not measured to the tenth.
        assert memory.MANY * counted.each == pytest.approx(measured.peak, rel=0.35), remat
