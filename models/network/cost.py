"""A network's cost, computed from the network itself: parameters, their shapes, and multiply-adds of a forward pass.

The network is built in a graph that is never run, so that no weight is allocated, however large it is.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import tensorflow as tf

from models.network.vivit import ViViTConfig, build_vivit, weights_by_name


@dataclasses.dataclass(frozen=True)
class Cost:
    """Cost of a network.

    Attributes:
      shapes: Shapes of the weights by the reference's names.
      multiply_adds: Multiply-adds of the matrix products of one clip's forward pass.
    """

    shapes: Mapping[str, tuple[int, ...]]
    multiply_adds: int

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    def training(self, trained: int) -> float:
        """Multiply-adds of one clip's forward and backward pass where so many of the parameters are trained.

        The backward pass multiplies twice: for what came in, and for the weights.
        """
        return (1 + 2 * trained / self.parameters) * self.multiply_adds

    @property
    def gflops(self) -> float:
        """Multiply-adds in 1e9, which is what the paper calls GFLOPs."""
        return self.multiply_adds / 1e9


def measure_cost(
    config: ViViTConfig, *, clip_shape: tuple[int, int, int], heads: Mapping[str, int], all_tokens: bool = True
) -> Cost:
    """Builds a network symbolically and counts.

    Args:
      config, clip_shape, heads: As in `build_vivit`.
      all_tokens: Whether to count the last block in full, as published figures do; see `build_vivit`.
    """
    with tf.Graph().as_default() as graph:
        model = build_vivit(config, clip_shape=clip_shape, heads=heads, all_tokens=all_tokens)
        before = set(graph.get_operations())
        model(tf.zeros((1, *clip_shape, 3)), training=False)
        added = [operation for operation in graph.get_operations() if operation not in before]
        shapes = {name: tuple(weight.shape) for name, weight in weights_by_name(model).items()}
    return Cost(shapes, sum(_multiply_adds(operation) for operation in added))


def _multiply_adds(operation: tf.Operation) -> int:
    """Multiply-adds of one operation: the size of a matrix product times the length that it sums over."""
    if operation.type not in ("MatMul", "BatchMatMulV2"):
        return 0
    return math.prod(operation.outputs[0].shape) * operation.inputs[0].shape[-1]
