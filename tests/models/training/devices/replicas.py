"""What replicas draw, in a process of their own.

Contract: `draw` writes an npz with what layers leave of each replica's values for a state of theirs (``masks``) and for
the same state once more (``again``), and with the loss of many steps on one batch of equal clips (``losses``).
"""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from models.checkpoints.pretrained import build_model
from models.clips.augment import NO_AUGMENTATION, Draws
from models.network.layers import PatchDropout, StochasticDepth, shared_dropout
from models.training.optimizers import build_optimizer
from models.training.steps import train_step
from tests.models.training.runs import CLASSES, use_devices, with_settings

BATCH, STEPS = 4, 600
CONFIG = with_settings(
    model__dropout="0.1",
    model__stochastic_depth="0.2",
    model__num_layers="3",
    # Too low to change a weight: the losses of all steps are draws from one distribution.
    train__optimizer__schedule__base_learning_rate="1e-20",
)


class CountingReduction(tf.distribute.ReductionToOneDevice):
    """Sums over devices as any does, and keeps the sizes of the tensors of each time that it was put into a graph."""

    def __init__(self):
        super().__init__()
        self.sizes: list[list[int]] = []

    def batch_reduce_implementation(self, reduce_op, value_destination_pairs, options):
        """Reduces a list of tensors."""
        self.sizes.append([value.values[0].shape.num_elements() for value, _ in value_destination_pairs])
        return super().batch_reduce_implementation(reduce_op, value_destination_pairs, options)


def masks(strategy: tf.distribute.Strategy) -> tuple[np.ndarray, np.ndarray]:
    """What each replica's layers leave of ones, float32 [replicas, values], twice from the same state."""
    with strategy.scope():
        layers = [shared_dropout(0.5, True), StochasticDepth(0.5), PatchDropout(0.5, first=1)]
    states = [layer.seed_generator.state.value for layer in layers]
    ramp = tf.tile(1.0 + tf.reshape(tf.range(9.0), (1, 1, 9, 1)), (16, 2, 1, 3))

    # As in a step, a function of its own, which is traced for each replica.
    @tf.function
    def leave():
        return tf.concat([tf.reshape(layer(ramp, training=True), [-1]) for layer in layers], 0)

    @tf.function
    def draw():
        return tf.stack(strategy.experimental_local_results(strategy.run(leave)))

    before = [state.numpy() for state in states]
    first, other = draw().numpy(), draw().numpy()
    assert not (first == other).all(axis=1).any()
    for state, value in zip(states, before, strict=True):
        state.assign(value)
    return first, draw().numpy()


def losses(strategy: tf.distribute.Strategy) -> np.ndarray:
    """The loss of each step, float32 [STEPS], where only what is dropped differs between steps."""
    with strategy.scope():
        model = build_model(CONFIG.model, clip_shape=CONFIG.clip.shape, classes=CLASSES)
        rng = np.random.default_rng(0)
        for weight in model.weights:
            weight.assign(rng.normal(scale=0.3, size=weight.shape))
        optimizer = build_optimizer(CONFIG.train.optimizer, STEPS)
        optimizer.build(model.trainable_variables)
    step = train_step(model, optimizer, NO_AUGMENTATION, clipping=CONFIG.train.optimizer)
    share = BATCH // strategy.num_replicas_in_sync
    frames, height, width = CONFIG.clip.shape
    clip = np.random.default_rng(0).integers(0, 255, (frames, height, width, 3)).astype(np.uint8)
    batch = {
        "clip": tf.constant(np.stack([clip] * share)),
        "labels": {"verb": tf.zeros(share, tf.int32)},
        "draws": Draws(tf.zeros((share, 2, CONFIG.clip.crop_size))),
    }

    @tf.function
    def learn():
        found = tf.TensorArray(tf.float32, STEPS)
        for index in tf.range(STEPS):
            metrics = strategy.experimental_local_results(strategy.run(step, args=(batch,)))
            found = found.write(index, metrics[0]["loss"])
        return found.stack()

    return learn().numpy()


def draw(output: Path, count: int) -> None:
    """Sets up so many devices, and writes what they draw."""
    use_devices(count)
    devices = [device.name for device in tf.config.list_logical_devices("CPU")]
    reduction, strategy = CountingReduction(), tf.distribute.get_strategy()
    if len(devices) > 1:
        strategy = tf.distribute.MirroredStrategy(devices, cross_device_ops=reduction)
    keras.utils.set_random_seed(1)
    first, again = masks(strategy)
    found = losses(strategy)
    reduced = [max(sizes) for sizes in reduction.sizes]
    np.savez(output, masks=first, again=again, losses=found, reduced=reduced)
