"""The memory of a training step, counted in its graph, and checked against the peak of a process that runs it.

Counted is the graph of the step itself: forward pass, backward pass, update. It is walked in the order in which it was
made; an operation's outputs are there from then on until their last use. No weight is allocated for it.
"""

from __future__ import annotations

import collections
import dataclasses
import math
import multiprocessing
import time
from collections.abc import Mapping, Sequence, Set

import keras
import tensorflow as tf

from benchmarks.quiet import quiet
from components.storage.memory import keep_memory_flat, reuse_memory
from models.network.remat import Remat, rematerialise
from models.network.vivit import ViViTConfig, build_vivit
from models.training import losses
from models.training.groups import apply_groups
from models.training.optimizers import OptimizerConfig, build_optimizer, update

GB = 10**9
DEVICES = (16, 24, 40, 80)
# Clips of a batch in which a clip's share is counted.
MANY = 16
# Of a device, what is left to the runtime: its context, workspaces of matrix products, fragmentation.
_RESERVED = 0.1
# Outputs that are their input, under another name or shape.
_ALIASES = {
    *("Identity", "IdentityN", "Reshape", "Squeeze", "ExpandDims", "StopGradient", "PreventGradient"),
    *("ReadVariableOp", "EnsureShape"),
}
# Operations that write into the buffer of an input whose last use they are.
_IN_PLACE = {
    *("AddV2", "Add", "AddN", "Sub", "Mul", "RealDiv", "Maximum", "Minimum", "Neg", "Square", "Pow", "Softmax"),
    *("Tanh", "TanhGrad", "Sigmoid", "Rsqrt", "RsqrtGrad", "Sqrt", "Exp", "Erf", "BiasAdd", "SelectV2"),
    "SquaredDifference",
}


@dataclasses.dataclass(frozen=True)
class StepMemory:
    """Bytes of a training step on one device.

    Attributes:
      weights, gradients, optimizer: Of the weights, of the gradients of those that train, and of the optimizer's state.
      kept: What the backward pass needs of the forward pass, for each clip.
      peak: The most that is there at once besides weights and optimizer, with one clip.
      each: The same for each of many clips, where gradients weigh less than activations.
    """

    weights: int
    gradients: int
    optimizer: int
    kept: int
    peak: int
    each: int

    def clips(self, device: float) -> int:
        """Clips at once on a device of so many bytes, of which a tenth is left to the runtime."""
        room = device * (1 - _RESERVED) - self.weights - self.optimizer
        return 0 if room < self.peak else max(1, int(room // self.each))


def count_memory(
    config: ViViTConfig,
    *,
    clip_shape: tuple[int, int, int],
    heads: Mapping[str, int],
    optimizer: OptimizerConfig,
    remats: Sequence[Remat] = ("none", "blocks"),
) -> dict[Remat, StepMemory]:
    """Counts the memory of a training step without running it, for each way of `train.remat`.

    Args:
      config, clip_shape, heads: As in `build_vivit`.
      optimizer: How the weights are updated, and which of them.
      remats: The ways.
    """
    with tf.Graph().as_default(), quiet("vivit.train"):
        model = build_vivit(config, clip_shape=clip_shape, heads=heads)
        updating = build_optimizer(optimizer, 100, apply_groups(model, optimizer))
        updating.build(model.trainable_variables)
        own = {
            "weights": _size(model.variables),
            "gradients": _size(model.trainable_variables),
            "optimizer": _size(updating.variables),
        }
        counted = {}
        for remat in remats:
            _, peak = _count(model, (1, *clip_shape, 3), remat)
            kept, of_many = (bytes_ // MANY for bytes_ in _count(model, (MANY, *clip_shape, 3), remat))
            counted[remat] = StepMemory(**own, kept=kept, peak=peak, each=of_many)
    return counted


def describe(counted: Mapping[str, Mapping[Remat, StepMemory]], clip_shape: Sequence[int]) -> str:
    """What `count_memory` counted for each dtype, as a table for the terminal and for a recipe's docstring."""
    first = next(iter(next(iter(counted.values())).values()))
    sizes = " ".join(f"{f'{size} GB':>6}" for size in DEVICES)
    lines = [
        f"GB: weights {first.weights / GB:.2f}, gradients {first.gradients / GB:.2f}, optimizer "
        f"{first.optimizer / GB:.2f}; of a clip of {'x'.join(map(str, clip_shape))}, what the backward pass keeps, and",
        "all at the peak; clips at once on a device of",
        f"{'dtype':9} {'remat':9} {'kept':>6} {'all':>6} {sizes}",
    ]
    for dtype, by_remat in counted.items():
        for remat, one in by_remat.items():
            clips = " ".join(f"{one.clips(size * GB):6d}" for size in DEVICES)
            lines.append(f"{dtype:9} {remat:9} {one.kept / GB:6.2f} {one.each / GB:6.2f} {clips}")
    return "\n".join(lines)


def _count(model, clips_shape, remat) -> tuple[int, int]:
    """What `live_bytes` counts of one step."""
    graph = tf.compat.v1.get_default_graph()
    before = len(graph.get_operations())
    gradients, forward = learn(model, tf.compat.v1.placeholder(tf.float32, clips_shape), remat)
    operations = graph.get_operations()[before:]
    return live_bytes(operations, set(operations[: operations.index(forward) + 1]), gradients)


def learn(model, clip: tf.Tensor, remat: Remat) -> tuple[list[tf.Tensor], tf.Operation]:
    """The gradients of a loss on clips float32 [B, T, H, W, 3], and the last operation of the forward pass."""
    variables = [variable.value for variable in model.trainable_variables]
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(variables)
        with rematerialise(remat):
            logits = model(clip, training=True)
        targets = {head: tf.one_hot(tf.zeros(clip.shape[0], tf.int32), part.shape[-1]) for head, part in logits.items()}
        by_head = {head: losses.softmax_cross_entropy(part, targets[head]) for head, part in logits.items()}
        loss = losses.mean_over_heads(by_head)
    return tape.gradient(loss, variables), loss.op


def live_bytes(
    operations: Sequence[tf.Operation], forward: Set[tf.Operation], results: Sequence[tf.Tensor]
) -> tuple[int, int]:
    """Bytes that are live when the forward pass is done, and at most.

    Args:
      operations: In the order in which they run.
      forward: The first of them, which are the forward pass.
      results: What is there at the end.
    """
    operations = _needed(operations, results)
    buffer_of: dict[str, str] = {}
    uses = collections.Counter()
    for operation in operations:
        for index, output in enumerate(operation.outputs):
            alias = operation.type in _ALIASES and index < len(operation.inputs)
            source = operation.inputs[index].name if alias else output.name
            buffer_of[output.name] = buffer_of.get(source, source)
        uses.update({buffer_of.get(one.name, one.name) for one in operation.inputs})
    uses.update(buffer_of[result.name] for result in results)
    live, total, peak, kept = {}, 0, 0, 0
    for operation in operations:
        used = {buffer_of.get(one.name, one.name) for one in operation.inputs}
        uses.subtract(used)
        done = [name for name in used if not uses[name] and name in live]
        made = {
            output.name: _bytes(output)
            for output in operation.outputs
            if buffer_of[output.name] == output.name and uses[output.name]
        }
        if operation.type in _IN_PLACE and made:
            (size,) = made.values()
            for name in [name for name in done if live[name] == size][:1]:
                done.remove(name)
                total -= live.pop(name)
        live.update(made)
        total += sum(made.values())
        peak = max(peak, total)
        total -= sum(live.pop(name) for name in done)
        if operation in forward:
            kept = total
    return kept, peak


def _needed(operations: Sequence[tf.Operation], results: Sequence[tf.Tensor]) -> list[tf.Operation]:
    """Those that the results depend on."""
    needed = {result.op for result in results}
    for operation in reversed(operations):
        if operation in needed:
            needed.update(one.op for one in operation.inputs)
    return [operation for operation in operations if operation in needed]


def _bytes(tensor: tf.Tensor) -> int:
    # Of unknown shape are shapes and axes of broadcasts alone.
    return 0 if tensor.dtype == tf.resource else (tensor.shape.num_elements() or 0) * tensor.dtype.size


def _size(variables: Sequence[keras.Variable]) -> int:
    return sum(math.prod(variable.shape) * tf.as_dtype(variable.dtype).size for variable in variables)


@dataclasses.dataclass(frozen=True)
class Peak:
    """Measured in a process of its own.

    Attributes:
      peak: Bytes by which the process grew in its first step, weights and optimizer being there.
      seconds, cpu_seconds: Of a second step, with the memory that training on a CPU has: that passed, and of all cores'
        work.
    """

    peak: int
    seconds: float
    cpu_seconds: float


def measure_memory(
    config: ViViTConfig,
    *,
    clip_shape: tuple[int, int, int],
    heads: Mapping[str, int],
    optimizer: OptimizerConfig,
    remat: Remat = "none",
    batch: int = 1,
) -> Peak:
    """Runs the step that `count_memory` counts, on the CPU, twice, and measures what it takes."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    arguments = (there, config, clip_shape, dict(heads), optimizer, remat, batch)
    process = context.Process(target=_run, args=arguments, daemon=True)
    process.start()
    there.close()
    try:
        return here.recv()
    except EOFError as error:
        raise MemoryError(f"the process that runs the step ended with {process.exitcode}: no memory?") from error
    finally:
        process.join()


def _run(connection, config, clip_shape, heads, optimizer_config, remat, batch):
    """The measured process."""
    keep_memory_flat()
    model = build_vivit(config, clip_shape=clip_shape, heads=heads)
    optimizer = build_optimizer(optimizer_config, 100, apply_groups(model, optimizer_config))
    optimizer.build(model.trainable_variables)

    @tf.function
    def step(clip):
        gradients, _ = learn(model, clip, remat)
        return update(optimizer, gradients, model.trainable_variables, optimizer_config)

    clip = tf.random.normal((batch, *clip_shape, 3))
    step = step.get_concrete_function(clip)
    _forget_peak()
    before = _peak_rss()
    step(clip).numpy()
    grown = _peak_rss() - before
    reuse_memory()
    started, worked = time.perf_counter(), time.process_time()
    step(clip).numpy()
    connection.send(Peak(grown, time.perf_counter() - started, time.process_time() - worked))


def _forget_peak() -> None:
    """Makes what the process takes now its peak: tracing may have taken more than a step of a small network does."""
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")


def _peak_rss() -> int:
    with open("/proc/self/status", encoding="ascii") as file:
        (line,) = (line for line in file if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024
