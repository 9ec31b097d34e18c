"""Expected logits: what they allow follows from dtype and device; a weight's digest covers all that it is."""

import json
import os

import keras
import numpy as np
import pytest
import tensorflow as tf

from schemas import serving
from schemas.serving import ExpectedLogits

LOGITS = np.array([[-1.0, 3.0], [0.0, 1.0]], np.float32)


@pytest.mark.parametrize(
    ("dtype", "trained_on", "served_on", "allowed"),
    [
        ("float32", "CPU", "CPU", 1e-4),
        ("float32", "GPU", "CPU", 0.2),
        ("float32", "CPU", "GPU", 0.2),
        ("bfloat16", "CPU", "CPU", 0.2),
        ("bfloat16", "GPU", "GPU", 0.2),
    ],
)
def test_rounding_is_allowed_a_share_of_the_spread_unless_all_is_float32_on_cpus(dtype, trained_on, served_on, allowed):
    expected = ExpectedLogits({}, {}, dtype=dtype, device=trained_on)
    assert expected.tolerance(LOGITS, served_on) == pytest.approx(allowed)
    # Of a head without weights yet, all of whose logits are equal.
    assert expected.tolerance(np.zeros((2, 2), np.float32), served_on) == 1e-4


def test_weights_are_the_same_whatever_their_names_and_order():
    layer = keras.layers.Dense(3)
    layer.build((None, 2))
    kernel, bias = (tf.Variable(weight.numpy()) for weight in layer.weights)
    weights = serving.weights_of([kernel, bias])
    assert weights == serving.weights_of(layer.weights[::-1])
    assert [weight.shape for weight in weights] == [(2, 3), (3,)]


@pytest.mark.parametrize(
    "other",
    [
        tf.Variable([[0.0, 0.0]]),
        tf.Variable([0.0, 1e-45]),
        tf.Variable([0, 0]),
        tf.Variable([0.0, 0.0], dtype=tf.bfloat16),
    ],
    ids=["shape", "last bit", "int32", "bfloat16"],
)
def test_a_weight_of_other_shape_dtype_or_bits_is_another(other):
    assert serving.weights_of([other]) != serving.weights_of([tf.Variable([0.0, 0.0])])


def test_expected_logits_are_read_as_they_were_written(tmp_path):
    written = ExpectedLogits(
        views={"clip": {"verb": [0.5, 1]}},
        centre={"clip": {"verb": [0.25, 2]}},
        dtype="bfloat16",
        device="GPU",
        weights=serving.weights_of([tf.Variable([1.0]), tf.Variable(2.0)]),
    )
    written.write(str(tmp_path))
    assert ExpectedLogits.read(str(tmp_path)) == written


def test_a_file_from_before_dtype_device_and_weights_is_float32_on_a_cpu(tmp_path):
    os.mkdir(tmp_path / "assets.extra")
    (tmp_path / "assets.extra" / "expected_logits.json").write_text(json.dumps({"views": {}, "centre": {}}))
    assert ExpectedLogits.read(str(tmp_path)) == ExpectedLogits({}, {}, "float32", "CPU", None)
