"""models.training.optimizers: updates against arithmetic done by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from models.training import optimizers
from models.training.groups import Rule
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


def test_adamw_without_rules_is_keras_own_to_the_last_bit():
    def trained(optimizer, weights):
        for step in range(1, 6):
            optimizer.apply([gradient / step for gradient in GRADIENTS], weights)
        return [weight.numpy() for weight in weights]

    config = OptimizerConfig(name="adamw", weight_decay=0.05, schedule=ScheduleConfig(0.01, warmup=0.2))
    ours = trained(optimizers.build_optimizer(config, 10), variables())
    stock = keras.optimizers.AdamW(optimizers.CompoundSchedule(0.01, 2.0, 10), weight_decay=0.05)
    stock.exclude_from_weight_decay(var_names=["^(?!.*kernel)"])
    for found, wanted in zip(ours, trained(stock, variables()), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_adamw_takes_betas_and_epsilon():
    beta_1, beta_2, epsilon, rate = 0.8, 0.95, 1e-3, 0.01
    config = OptimizerConfig(
        name="adamw", beta_1=beta_1, beta_2=beta_2, epsilon=epsilon, schedule=ScheduleConfig(rate, warmup=0.0)
    )
    _, bias = variables()
    optimizer = optimizers.build_optimizer(config, total_steps=10**9)
    weight, mean, square = 0.5, 0.0, 0.0
    for step, gradient in enumerate((-1.0, 0.3, 0.2), start=1):
        optimizer.apply([tf.constant([gradient])], [bias])
        mean = beta_1 * mean + (1 - beta_1) * gradient
        square = beta_2 * square + (1 - beta_2) * gradient**2
        # Kingma and Ba's second form, with epsilon beside the root that is not corrected.
        size = rate * np.sqrt(1 - beta_2**step) / (1 - beta_1**step)
        weight -= size * mean / (np.sqrt(square) + epsilon)
    np.testing.assert_allclose(bias, [weight], rtol=1e-6)


def test_the_cosine_ends_at_a_share_of_the_highest_rate():
    schedule = optimizers.CompoundSchedule(0.1, 10, 110, min_rate=0.2)
    rates = [float(schedule(step)) for step in (5, 10, 60, 109)]
    end = 0.2 + 0.8 * (1 + np.cos(np.pi * 0.99)) / 2
    np.testing.assert_allclose(rates, [0.05, 0.1, 0.1 * (0.2 + 0.8 / 2), 0.1 * end], rtol=1e-5)


def updated(name, rules, *, decay=0.0, value=0.0):
    """Two weights after three steps with the same gradients, from `value`."""
    config = OptimizerConfig(name=name, weight_decay=decay, schedule=ScheduleConfig(0.01, warmup=0.0))
    weights = [keras.Variable([value] * 2, name=kernel) for kernel in ("kernel_a", "kernel_b")]
    optimizer = optimizers.build_optimizer(config, 10, {w.path: rule for w, rule in zip(weights, rules, strict=True)})
    for step in range(1, 4):
        optimizer.apply([GRADIENTS[0] / step] * 2, weights)
    return [weight.numpy() for weight in weights]


@pytest.mark.parametrize("name", ["momentum", "adamw"])
def test_a_factor_of_the_rate_scales_the_update_exactly(name):
    plain, scaled = updated(name, [Rule(), Rule(rate=0.25)])
    assert np.all(plain)
    np.testing.assert_array_equal(scaled, plain * np.float32(0.25))


@pytest.mark.parametrize("name", ["momentum", "adamw"])
def test_decay_of_its_own_replaces_the_optimizers_and_shrinks_with_the_rate(name):
    own, none = updated(name, [Rule(rate=0.5, weight_decay=0.4), Rule(weight_decay=0.0)], decay=0.1, value=1.0)
    np.testing.assert_array_equal(none, updated(name, [Rule(), Rule()], value=1.0)[0])
    np.testing.assert_allclose(own, updated(name, [Rule(rate=0.5)] * 2, decay=0.4, value=1.0)[0], rtol=1e-6)
    assert np.all(own < updated(name, [Rule(rate=0.5)] * 2, value=1.0)[0])


def test_averaged_weights_are_kept_on_request():
    optimizer = optimizers.build_optimizer(OptimizerConfig(ema=0.5, schedule=ScheduleConfig(0.1, 0.0)), 10)
    kernel, bias = variables()
    optimizer.apply(GRADIENTS, [kernel, bias])
    updated = bias.numpy().copy()
    optimizer.finalize_variable_values([kernel, bias])
    np.testing.assert_allclose(bias, 0.5 * updated + 0.5 * updated, rtol=1e-6)


def test_the_average_warms_up_on_request():
    config = OptimizerConfig(ema=0.7, ema_warmup=True, schedule=ScheduleConfig(0.1, 0.0), max_grad_norm=None)
    optimizer, variable = optimizers.build_optimizer(config, 100), keras.Variable([1.0, 2.0], name="kernel")
    optimizer.build([variable])
    average = 0.0
    for step in range(40):
        optimizer.apply([tf.constant([0.3, -0.1])], [variable])
        decay = min(0.7, (1 + step) / (10 + step)) if step else 0.0
        average = decay * average + (1 - decay) * variable.numpy()
    weights = variable.numpy()
    with optimizer.averaged():
        np.testing.assert_allclose(variable.numpy(), average, rtol=1e-5)
        assert np.abs(average - weights).max() > 0.01
    np.testing.assert_array_equal(variable.numpy(), weights)
    optimizer.finalize_variable_values([variable])
    np.testing.assert_allclose(variable.numpy(), average, rtol=1e-5)


def test_without_an_average_weights_stay_what_they_are():
    optimizer, variable = optimizers.build_optimizer(OptimizerConfig(), 10), keras.Variable([1.0], name="kernel")
    optimizer.build([variable])
    with optimizer.averaged():
        assert variable.numpy() == [1.0]


def test_clipping_scales_to_the_global_norm_and_reports_it():
    clipped, norm = optimizers.clip_by_global_norm([tf.constant([3.0]), tf.constant([4.0])], 1.0)
    assert float(norm) == 5.0
    np.testing.assert_allclose(np.concatenate(clipped), [0.6, 0.8], rtol=1e-6)
    kept, _ = optimizers.clip_by_global_norm([tf.constant([0.3]), tf.constant([0.4])], 1.0)
    np.testing.assert_array_equal(np.concatenate(kept), np.float32([0.3, 0.4]))


def test_optimizers_survive_serialisation():
    for name in ("momentum", "adamw"):
        config = OptimizerConfig(name=name, weight_decay=0.3, schedule=ScheduleConfig(min_rate=0.1))
        optimizer = optimizers.build_optimizer(config, 120, {"a/kernel": Rule(0.5), "b/kernel": Rule(1.0, 0.1)})
        copy = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
        assert copy.get_config() == optimizer.get_config()
        assert (copy.rates, copy.decays, copy.kernel_decay) == ({"a/kernel": 0.5}, {"b/kernel": 0.1}, 0.3)


def test_configs_name_what_is_wrong():
    with pytest.raises(ValueError, match="name must be one of .'momentum', 'adamw'., got 'adam'"):
        OptimizerConfig(name="adam")
    with pytest.raises(ValueError, match="warmup must be in .0, 1., got 5"):
        ScheduleConfig(warmup=5)
    with pytest.raises(ValueError, match="max_grad_norm must be above 0 or None, got 0"):
        OptimizerConfig(max_grad_norm=0)
    with pytest.raises(ValueError, match="min_rate must be in .0, 1., got 1"):
        ScheduleConfig(min_rate=1)
    with pytest.raises(ValueError, match="beta_2 must be in .0, 1., got 1"):
        OptimizerConfig(beta_2=1)
    with pytest.raises(ValueError, match="epsilon must be above 0, got 0"):
        OptimizerConfig(epsilon=0)
    with pytest.raises(ValueError, match="layer_decay must be in .0, 1. or None, got 1.5"):
        OptimizerConfig(layer_decay=1.5)
    with pytest.raises(ValueError, match="head_rate must be above 0, got 0"):
        OptimizerConfig(head_rate=0)
