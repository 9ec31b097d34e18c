"""Rematerialisation: parts of the network whose activations the backward pass computes again instead of keeping them.

The second computation reads the same weights and the same states of the random generators, so that it draws the same
dropout masks; gradients are those of the plain backward pass. Names, weights and checkpoints are untouched.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Iterator
from typing import Literal

import keras
import tensorflow as tf

# What is computed again: nothing; the weights of attention, [N, N] a head; or all of a transformer block but its input.
Remat = Literal["none", "attention", "blocks"]

_CURRENT: contextvars.ContextVar[Remat] = contextvars.ContextVar("remat", default="none")


@contextlib.contextmanager
def rematerialise(what: Remat) -> Iterator[None]:
    """While it lasts, the networks that are called in training keep no activations of these parts."""
    token = _CURRENT.set(what)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def recomputes(part: Remat) -> bool:
    """Whether a part is computed again here."""
    return _CURRENT.get() == part


def recompute(layer: keras.layers.Layer, function: Callable[..., tf.Tensor], *tensors: tf.Tensor) -> tf.Tensor:
    """Calls a function of a layer, of which nothing but its arguments is kept for the backward pass.

    Args:
      layer: Holds every weight and every random generator that the function uses.
      function: Takes the tensors and returns one tensor.
      tensors: Of floats.
    """
    trained = layer.trainable_variables
    others = [variable for variable in layer.variables if all(variable is not one for one in trained)]
    learned = len(tensors) + len(trained)
    ends = []

    def compute(inputs, states):
        values = zip([*trained, *others], [*inputs[len(tensors) :], *states], strict=True)
        # A part of a part is not computed a third time.
        with rematerialise("none"), keras.StatelessScope(state_mapping=list(values)) as scope:
            return function(*inputs[: len(tensors)]), [scope.get_current_value(variable) for variable in others]

    # The states are arguments, too: of others, TensorFlow wants gradients in a graph that has variables of its own.
    @tf.custom_gradient
    def run(*arguments):
        inputs, states = arguments[:learned], arguments[learned:]
        output, after = compute(inputs, states)
        ends.extend(None if end is state else end for end, state in zip(after, states, strict=True))

        def gradients(upstream):
            again, again_states = _after(upstream, inputs), _after(upstream, states)
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(again)
                output, _ = compute(again, again_states)
            found = tape.gradient(output, again, upstream, tf.UnconnectedGradients.ZERO)
            return [*found, *(None for _ in states)]

        return output, gradients

    output = run(*tensors, *(tf.convert_to_tensor(variable.value) for variable in [*trained, *others]))
    for variable, end in zip(others, ends, strict=True):
        if end is not None:
            variable.assign(end)
    return output


def _after(upstream: tf.Tensor, tensors) -> list[tf.Tensor]:
    """The same tensors, but computed only after `upstream`, and no common subexpression with what came before.

    XLA takes no notice of control dependencies: it would merge both computations and keep the activations of the first.
    So zero is added, which it cannot know to be zero.
    """
    zero = tf.minimum(tf.abs(tf.reshape(upstream, [-1])[0]), 0)
    return [tensor + tf.cast(zero, tensor.dtype) for tensor in tensors]
