"""models.training.optimizers: updates against arithmetic done by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from models.training import optimizers
from models.training.optimizers import OptimizerConfig, ScheduleConfig


def variables():
    return [keras.Variable([1.0, -2.0], name="kernel"), keras.Variable([0.5], name="bias")]


GRADIENTS = [tf.constant([0.4, 0.8]), tf.constant([-1.0])]


def test_momentum_does_not_remember_the_learning_rate():
    kernel, bias = variables()
    optimizer = optimizers.Momentum(optimizers.CompoundSchedule(0.1, 0, 4), 0.9)
    for _ in range(2):
        optimizer.apply(GRADIENTS, [kernel, bias])
    first, second = 0.1, 0.1 * 0.5 * (1 + np.cos(np.pi / 4))
    np.testing.assert_allclose(bias, [0.5 + first + second * 1.9], rtol=1e-6)


def test_explicit_decay_scales_kernels_after_the_update():
    kernel, bias = variables()
    optimizers.Momentum(0.1, 0.9, kernel_decay=0.5).apply(GRADIENTS, [kernel, bias])
    np.testing.assert_allclose(kernel, (np.array([1.0, -2.0]) - 0.1 * GRADIENTS[0]) * 0.95, rtol=1e-6)
    np.testing.assert_allclose(bias, [0.6], rtol=1e-6)


def test_adamw_decays_kernels_alone():
    config = OptimizerConfig(name="adamw", weight_decay=0.1, schedule=ScheduleConfig(0.01, warmup=0.0))
    kernel, bias = variables()
    optimizer = optimizers.build_optimizer(config, total_steps=10)
    optimizer.apply([tf.zeros(2), tf.zeros(1)], [kernel, bias])
    np.testing.assert_allclose(kernel, np.array([1.0, -2.0]) * (1 - 0.01 * 0.1), rtol=1e-6)
    np.testing.assert_array_equal(bias, [0.5])


def test_averaged_weights_are_kept_on_request():
    optimizer = optimizers.build_optimizer(OptimizerConfig(ema=0.5, schedule=ScheduleConfig(0.1, 0.0)), 10)
    kernel, bias = variables()
    optimizer.apply(GRADIENTS, [kernel, bias])
    updated = bias.numpy().copy()
    optimizer.finalize_variable_values([kernel, bias])
    np.testing.assert_allclose(bias, 0.5 * updated + 0.5 * updated, rtol=1e-6)


def test_clipping_scales_to_the_global_norm_and_reports_it():
    clipped, norm = optimizers.clip_by_global_norm([tf.constant([3.0]), tf.constant([4.0])], 1.0)
    assert float(norm) == 5.0
    np.testing.assert_allclose(np.concatenate(clipped), [0.6, 0.8], rtol=1e-6)
    kept, _ = optimizers.clip_by_global_norm([tf.constant([0.3]), tf.constant([0.4])], 1.0)
    np.testing.assert_array_equal(np.concatenate(kept), np.float32([0.3, 0.4]))


def test_optimizers_survive_serialisation():
    optimizer = optimizers.build_optimizer(OptimizerConfig(weight_decay=0.3), 120)
    copy = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert copy.get_config() == optimizer.get_config()


def test_configs_name_what_is_wrong():
    with pytest.raises(ValueError, match="name must be one of .'momentum', 'adamw'., got 'adam'"):
        OptimizerConfig(name="adam")
    with pytest.raises(ValueError, match="warmup must be in .0, 1., got 5"):
        ScheduleConfig(warmup=5)
    with pytest.raises(ValueError, match="max_grad_norm must be above 0 or None, got 0"):
        OptimizerConfig(max_grad_norm=0)
