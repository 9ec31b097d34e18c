"""Speed of the whole training loop, as a share of the speed of its compiled step alone."""

from __future__ import annotations

import dataclasses
import statistics
import tempfile
import time
from collections.abc import Callable

import tensorflow as tf

from components.storage.memory import reuse_memory
from models.checkpoints.pretrained import build_model
from models.clips import input_pipeline
from models.clips.source import Source
from models.network.remat import Remat
from models.training.config import PaceConfig, WeightsConfig
from models.training.groups import apply_groups
from models.training.loop import Split, train_steps
from models.training.optimizers import build_optimizer
from models.training.reports.devices import memory_used, peak_speed
from models.training.reports.progress import WAIT
from models.training.steps import train_step
from schemas import serving

# Steps of each turn that are not timed: they use up batches made during the other's turn.
_UNTIMED = 4


@dataclasses.dataclass(frozen=True)
class TrainRates:
    """Result of `bench_train`.

    Attributes:
      steps_per_second: Of the loop: input, step, metrics, log and a checkpoint each turn; median over the turns.
      clips_per_second: The same in clips.
      bare_clips_per_second: Of the compiled step alone, on one batch that stays in place.
      share: Median over the turns of loop / bare.
      input_wait: Share of the loop's time spent waiting for its next batch.
      share_of_peak: Loop's clips a second / those at the device's peak; None where that is not known.
      memory_gb: The most memory that the device has given out, or on a CPU that the process has taken.
    """

    steps_per_second: float
    clips_per_second: float
    bare_clips_per_second: float
    share: float
    input_wait: float
    share_of_peak: float | None
    memory_gb: float | None


def bench_train(
    config: WeightsConfig, source: Source, *, remat: Remat = "none", rounds: int = 5, steps: int = 20
) -> TrainRates:
    """Times the loop and its step in turns, so that both run under the same load.

    Args:
      config: What is trained; each round writes a checkpoint, which is more often than in any recipe.
      source: Clips with the labels of `config.heads`.
      remat: As in `PaceConfig`.
      rounds: Turns, after one for warm-up.
      steps: Timed steps of each turn, one execution each.
    """
    if serving.compute_device() == "CPU":
        reuse_memory()
    counts = source.count_labels()
    classes = {head: [str(index) for index in range(max(by_id) + 2)] for head, by_id in counts.items()}
    training_clips = Split(source, classes, counts)
    turn = steps + _UNTIMED
    # One step more than is run: the last one would be followed by an evaluation.
    epochs = ((rounds + 1) * turn + 1) / config.train.epoch_steps(training_clips.count)
    train = dataclasses.replace(config.train, epochs=epochs)
    config = dataclasses.replace(config, train=train)
    pace = PaceConfig(strategy="one", remat=remat, checkpoint_steps=turn, eval_epochs=1e9)

    def build():
        return build_model(config.model, clip_shape=config.clip.shape, classes=classes)

    model = build()
    peak = peak_speed(model, config, 1)
    bare = _bare_step(model, config, remat, training_clips)
    loops, bares, waits = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        arguments = {"checkpoints": f"{folder}/checkpoints", "log_dir": f"{folder}/logs"}
        strategy = tf.distribute.get_strategy()
        loop = train_steps(build(), strategy, config, pace, training_clips, training_clips, **arguments)

        def one_step() -> float:
            return float(next(loop)[1][WAIT][0])

        for _ in range(rounds + 1):
            waited, seconds = _time(one_step, steps)
            loops.append(steps / seconds)
            waits.append(waited / seconds)
            bares.append(steps / _time(bare, steps)[1])
    del loops[0], bares[0], waits[0]
    clips_per_second = statistics.median(loops) * train.batch_size
    return TrainRates(
        steps_per_second=statistics.median(loops),
        clips_per_second=clips_per_second,
        bare_clips_per_second=statistics.median(bares) * train.batch_size,
        share=statistics.median(loop / bare for loop, bare in zip(loops, bares, strict=True)),
        input_wait=statistics.median(waits),
        share_of_peak=clips_per_second / peak if peak else None,
        memory_gb=memory_used(),
    )


def _bare_step(model, config: WeightsConfig, remat: Remat, training_clips: Split) -> Callable[[], float]:
    optimizer = build_optimizer(config.train.optimizer, 100, apply_groups(model, config.train.optimizer))
    optimizer.build(model.trainable_variables)
    step = tf.function(
        train_step(
            model,
            optimizer,
            config.augment,
            clipping=config.train.optimizer,
            label_smoothing=config.train.label_smoothing,
            accumulate_steps=config.train.accumulate_steps,
            jit_compile=config.train.jit_compile,
            remat=remat,
        )
    )
    batches = input_pipeline.train_dataset(
        training_clips.source,
        clip=config.clip,
        augmentation=config.augment,
        batch_size=config.train.batch_size,
        seed=config.train.seed,
    )
    batch = {name: value for name, value in next(iter(batches)).items() if name not in ("id", "group")}
    return lambda: float(step(batch)["loss"])


def _time(step: Callable[[], float], steps: int) -> tuple[float, float]:
    """Sum of what `step` returns, and seconds, over this many steps after the untimed ones."""
    for _ in range(_UNTIMED):
        step()
    started = time.perf_counter()
    total = sum(step() for _ in range(steps))
    return total, time.perf_counter() - started
