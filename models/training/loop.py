"""The training loop: a network, its clips and a strategy in; the network trained, from the last checkpoint on."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import itertools
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from models.clips import augment, input_pipeline
from models.clips.source import Source
from models.training import losses, termination
from models.training.checkpoints import Checkpoints
from models.training.config import PaceConfig, WeightsConfig
from models.training.groups import apply_groups
from models.training.optimizers import build_optimizer
from models.training.reports.devices import peak_speed
from models.training.reports.progress import WAIT, Progress
from models.training.reports.trace import Trace
from models.training.selection.best import BestWeights
from models.training.standardise import Moments, PlainHead, StandardisedHead
from models.training.steps import WEIGHT_NORM, score_step, train_step
from models.training.strategies import is_chief, num_hosts

# Clips that TensorBoard shows.
_SHOWN_CLIPS = 4
# What must be finite, in the order in which a step computes it.
_FINITE = {
    "loss": "the loss",
    "gradient_norm": "the gradient's norm",
    WEIGHT_NORM: "the norm of the updated weights",
}
_logger = logging.getLogger("vivit.train")


class TrainingError(RuntimeError):
    """Training cannot start or continue; the message gives the remedy."""


class InterruptedTrainingError(TrainingError):
    """Training was ended from outside; the same command goes on from what is saved."""


@dataclasses.dataclass(frozen=True)
class Split:
    """The clips of one split, counted.

    Attributes:
      source: Where they are read from.
      classes: Names of the classes by head.
      counts: Number of clips by class id, by head.
    """

    source: Source
    classes: Mapping[str, Sequence[str]]
    counts: Mapping[str, Mapping[int, int]]

    @property
    def count(self) -> int:
        """Number of clips."""
        return sum(next(iter(self.counts.values())).values())


def train_steps(
    model: keras.Model,
    strategy: tf.distribute.Strategy,
    config: WeightsConfig,
    pace: PaceConfig,
    train_clips: Split,
    eval_clips: Split,
    *,
    checkpoints: str,
    log_dir: str,
    held_clips: Split | None = None,
    moments: Moments | None = None,
) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    """Trains `model` in place while it is iterated, from the last checkpoint on if there is one.

    Finished weights stay in `checkpoints`: a second run for them trains no step.

    Args:
      model: From `build_model`, in the strategy's scope.
      strategy: From `build_strategy`.
      config: What the weights depend on.
      pace: When to evaluate and to save.
      train_clips, eval_clips: What is trained and evaluated.
      checkpoints: Folder of the checkpoints of these weights alone, the same for all hosts.
      log_dir: Folder of the TensorBoard logs.
      held_clips: With `config.train.best`, what the weights are judged by.
      moments: With `config.train.standardise`, those of the features that the head was fitted to, if it was.

    Yields:
      The last step of each execution, counted from 1, and the metrics of its n steps, [n] each; a run that goes on from
      where an evaluation was due yields that step first, without metrics.

    Raises:
      TrainingError: If loss, gradient or update is not finite; names the step and the clips, and saves none of it.
      InterruptedTrainingError: If SIGTERM was received, see `termination`: all steps are saved.
      ValueError: If a group of weights is empty, see `rules_of`.
    """
    total = config.train.total_steps(train_clips.count)
    with strategy.scope():
        rules = apply_groups(model, config.train.optimizer)
        optimizer = build_optimizer(config.train.optimizer, total, rules)
        optimizer.build(model.trainable_variables)
        head = StandardisedHead(model, moments) if config.train.standardise else PlainHead(model)
    chief = is_chief(strategy)
    kept = Checkpoints(checkpoints, model, optimizer, chief=chief, others=head.variables)
    if kept.restore_finished():
        _logger.info("these weights are trained already: %d steps", total)
        return
    first = kept.restore()
    learn = _learner(model, optimizer, head, strategy, config, pace, train_clips)
    evaluate = _evaluator(model, head, strategy, config, eval_clips)
    batches = iter(
        _distributed(strategy, config, lambda *host: _without_texts(_train_batches(train_clips, config, first, *host)))
    )
    eval_every = config.train.epoch_steps(train_clips.count, pace.eval_epochs)
    best, judge_every = None, total
    if config.train.best:
        judge_every = config.train.epoch_steps(train_clips.count, config.train.best.epochs)
        variables = [*(variable.value for variable in model.variables), *head.variables]
        best = BestWeights(checkpoints, variables, config.train.best, judge_every, chief=chief)
        evaluate_held = _evaluator(model, head, strategy, config, held_clips)
    progress = Progress(
        log_dir if chief else None, total=total, first=first, batch_size=config.train.batch_size,
        eval_steps=eval_every, eval_clips=eval_clips.count,
        peak=peak_speed(model, config, strategy.num_replicas_in_sync),
    )  # fmt: skip
    trace = Trace(log_dir if chief else None, pace.profile_steps)
    progress.show(first, _preview(train_clips, config, first))

    def look(step: int, trained: int) -> bool:
        """Reports a step, `trained` steps after the last one, and evaluates what is due; returns whether to go on."""
        evaluating = step == total or (trained and step % eval_every == 0)
        progress.report(step, now=evaluating)
        judging = best and (step == total or step % judge_every == 0)
        if not (evaluating or judging):
            return True
        with optimizer.averaged():
            if evaluating:
                progress.evaluated(step, *evaluate(), train_clips.classes)
            if not judging:
                return True
            averages, _ = evaluate_held()
            progress.held_out(step, averages)
            return best.judge(step, averages)

    pauses = (eval_every, judge_every, pace.checkpoint_steps, pace.steps_per_execution)
    # What was due after the step that is saved may have been broken off.
    unfinished = [(first, 0)] if first == total or (best and first) else []
    with termination.training(), contextlib.closing(trace):
        for step, trained in itertools.chain(unfinished, executions(first, total, pauses, trace.pauses)):
            metrics, ending = {}, False
            if trained:
                trace.before(step - trained + 1)
                metrics, ending = learn(batches, trained)
                trace.after(step)
                if wrong := first_not_finite(metrics):
                    index, what = wrong
                    at = step - trained + index + 1
                    ids = ", ".join(_ids_at(at, train_clips, config, num_hosts(strategy)))
                    message = f"{what} at step {at}; the clips of the batch: {ids}; {_last_good(kept.step)}"
                    raise TrainingError(message)
                del metrics[WEIGHT_NORM]
                progress.add(metrics)
                if step % pace.checkpoint_steps == 0 or step == total:
                    kept.save(step)
            try:
                if ending:
                    raise termination.EndAskedError
                going_on = look(step, trained)
            except termination.EndAskedError as error:
                if kept.step < step:
                    kept.save(step)
                progress.close()
                message = f"SIGTERM: training ends after step {step} of {total}; {_last_good(step)}"
                raise InterruptedTrainingError(message) from error
            yield step, metrics
            if not going_on:
                break
    # With a moving average, the average is what is exported.
    optimizer.finalize_variable_values(model.trainable_variables)
    progress.close()
    if best and chief:
        best.restore()
    head.fold()
    kept.finish()
    if best:
        best.remove()


def first_not_finite(metrics: Mapping[str, np.ndarray]) -> tuple[int, str] | None:
    """The first of n steps whose loss, gradient or update is not finite: its index, and what is wrong in words.

    An infinite norm of finite gradients counts: clipped by it, they would be zero.

    Args:
      metrics: "loss", "gradient_norm" (before clipping) and `WEIGHT_NORM` (after the update), [n] each.
    """
    found = {words: metrics[name] for name, words in _FINITE.items()}
    wrong = [(int(np.argmin(np.isfinite(values))), words) for words, values in found.items()]
    wrong = [(index, words) for index, words in wrong if not np.isfinite(found[words][index])]
    if not wrong:
        return None
    index, words = min(wrong, key=lambda one: one[0])
    return index, f"{words} is {found[words][index]}"


def _last_good(step: int) -> str:
    return f"step {step} is saved, and the same command goes on from there" if step else "no step is saved yet"


def executions(first: int, total: int, pauses: Sequence[int], ends: Sequence[int] = ()) -> Iterator[tuple[int, int]]:
    """Steps `first` to `total` in runs that end at every multiple of any of `pauses`, and at each of `ends`.

    Yields:
      The step at the end of a run, and its number of steps.
    """
    while first < total:
        later = (end for end in ends if end > first)
        end = min(total, *(first + pause - first % pause for pause in pauses), *later)
        yield end, end - first
        first = end


@tf.autograph.experimental.do_not_convert
def _distributed(strategy, config: WeightsConfig, batches_of_host: Callable) -> tf.data.Dataset:
    """The dataset of all hosts, from a function of a host's context and its batch size per device."""
    return strategy.distribute_datasets_from_function(
        lambda context: batches_of_host(context, context.get_per_replica_batch_size(config.train.batch_size))
    )


@tf.autograph.experimental.do_not_convert
def _train_batches(train_clips: Split, config: WeightsConfig, first: int, context, batch_size: int) -> tf.data.Dataset:
    """Endless batches of one host, one device after the other, from step `first` on."""
    return input_pipeline.train_dataset(
        train_clips.source,
        clip=config.clip,
        augmentation=config.augment,
        batch_size=batch_size,
        seed=config.train.seed,
        start=first,
        devices=context.num_replicas_in_sync // context.num_input_pipelines,
        host=context.input_pipeline_id,
        hosts=context.num_input_pipelines,
        balance=config.heads[0] if config.train.sampling == "balanced" else None,
    )


@tf.autograph.experimental.do_not_convert
def _without_texts(batches: tf.data.Dataset) -> tf.data.Dataset:
    """Accelerators take no strings."""
    return batches.map(lambda batch: {name: value for name, value in batch.items() if name not in ("id", "group")})


def _ids_at(step: int, train_clips: Split, config: WeightsConfig, hosts: int) -> list[str]:
    """Ids of the clips that step `step`, counted from 1, learns from."""
    contexts = (tf.distribute.InputContext(hosts, host, num_replicas_in_sync=hosts) for host in range(hosts))
    share = config.train.batch_size // hosts
    batches = (next(iter(_train_batches(train_clips, config, step - 1, context, share))) for context in contexts)
    return [clip_id.decode() for batch in batches for clip_id in batch["id"].numpy()]


def _learner(model, optimizer, head, strategy, config: WeightsConfig, pace: PaceConfig, train_clips: Split):
    """A function that trains n steps and returns their metrics, [n] each, and whether training has to end."""
    train = config.train
    step = train_step(
        model,
        optimizer,
        config.augment,
        clipping=train.optimizer,
        label_smoothing=train.label_smoothing,
        class_weights=_class_weights(train_clips) if train.class_weights else None,
        accumulate_steps=train.accumulate_steps,
        jit_compile=train.jit_compile,
        head=head,
        remat=pace.remat,
    )

    @tf.function(autograph=False)
    def one(batches):
        started = tf.timestamp()
        batch = next(batches)
        waited = tf.cast(tf.timestamp() - started, tf.float32)
        metrics = strategy.experimental_local_results(strategy.run(step, args=(batch,)))
        return tf.nest.map_structure(lambda *values: values[0], *metrics) | {WAIT: waited}

    @tf.function(autograph=False)
    def execute(batches, steps):
        names = sorted(one.get_concrete_function(batches).structured_outputs)

        def row(_):
            metrics = one(batches)
            return tf.stack([metrics[name] for name in names])

        rows = tf.map_fn(
            row, tf.range(steps), fn_output_signature=tf.TensorSpec([len(names)], tf.float32), parallel_iterations=1
        )
        return dict(zip(names, tf.unstack(rows, num=len(names), axis=1), strict=True))

    @tf.function(autograph=False)
    def on_any_host(here):
        return strategy.reduce(tf.distribute.ReduceOp.SUM, strategy.run(tf.identity, args=(here,)), axis=None) > 0

    def learn(batches, steps):
        metrics = {name: values.numpy() for name, values in execute(batches, tf.constant(steps)).items()}
        ending = termination.asked()
        # Hosts have to end after the same step: one that ended alone would leave the others waiting for it.
        if num_hosts(strategy) > 1:
            ending = bool(on_any_host(tf.constant(float(ending))))
        return metrics, ending

    return learn


def _evaluator(model, head, strategy, config: WeightsConfig, eval_clips: Split):
    """A function that returns averages by name, and a confusion matrix for each head, on the centre view."""
    # Several hosts go through an evaluation together.
    score, alone = score_step(model, head), num_hosts(strategy) == 1

    def batches_of_host(context, batch_size):
        return input_pipeline.score_dataset(
            eval_clips.source,
            clip=config.clip,
            batch_size=batch_size,
            devices=context.num_replicas_in_sync // context.num_input_pipelines,
            host=context.input_pipeline_id,
            hosts=context.num_input_pipelines,
        )

    batches = _distributed(strategy, config, batches_of_host)

    @tf.function(autograph=False)
    def score_all(batch):
        return strategy.experimental_local_results(strategy.run(score, args=(batch,)))[0]

    def evaluate() -> tuple[dict[str, float], dict[str, np.ndarray]]:
        sums, counts = collections.Counter(), collections.Counter()
        for batch in batches:
            if alone:
                termination.end_if_asked()
            for name, (total, count) in score_all(batch).items():
                sums[name] = sums[name] + total.numpy()
                counts[name] += float(count)
        confusions = {name.partition("/")[2]: sums.pop(name) for name in list(sums) if name.startswith("confusion/")}
        return {name: float(total) / counts[name] for name, total in sums.items()}, confusions

    return evaluate


def _class_weights(train_clips: Split) -> dict[str, list[float]]:
    return {
        head: losses.balanced_class_weights(train_clips.counts[head].get(class_id, 0) for class_id in range(len(names)))
        for head, names in train_clips.classes.items()
    }


@tf.autograph.experimental.do_not_convert
def _preview(train_clips: Split, config: WeightsConfig, first: int) -> np.ndarray:
    """A few training clips as the network sees them."""
    dataset = input_pipeline.train_dataset(
        train_clips.source,
        clip=config.clip,
        augmentation=dataclasses.replace(config.augment, repeats=1),
        batch_size=min(_SHOWN_CLIPS, config.train.batch_size),
        seed=config.train.seed + first,
    )
    batch = next(iter(dataset))
    return augment.apply(batch["clip"], batch["draws"], config.augment).numpy()
