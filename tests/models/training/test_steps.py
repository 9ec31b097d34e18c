"""models.training.steps: a batch in parts teaches what it teaches as a whole."""

import types

import numpy as np
import pytest
import tensorflow as tf

from models.checkpoints.pretrained import build_model
from models.clips import input_pipeline
from models.training.config import LearningConfig
from models.training.groups import apply_groups
from models.training.loop import Split, TrainingError
from models.training.optimizers import build_optimizer
from models.training.steps import mean_over_parts, train_step
from pipeline.training import splits
from tests.models.training.runs import CLASSES, with_settings
from tests.processes import assert_compiles


@tf.autograph.experimental.do_not_convert
def batch_of(clips, config, size):
    """The first training batch of clips, as a step takes it."""
    source = input_pipeline.transformed_source([str(path) for path in sorted(clips.glob("*.gz"))], ("verb",), "raw")
    batches = input_pipeline.train_dataset(
        source, clip=config.clip, augmentation=config.augment, batch_size=size, seed=0
    )
    return next(iter(batches.map(lambda batch: {name: batch[name] for name in ("clip", "draws", "labels")})))


def optimizer_of(model, config):
    """The built optimizer of a model, whose frozen weights are frozen then."""
    rules = apply_groups(model, config.train.optimizer)
    optimizer = build_optimizer(config.train.optimizer, 100, rules)
    optimizer.build(model.trainable_variables)
    return optimizer


def learn(clips, config, *, steps=5, jit_compile=False):
    """The metrics of each step on one batch of 32, and the weights after them."""
    model = build_model(config.model, clip_shape=config.clip.shape, classes={"verb": ["a", "b", "c"]})
    rng = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(rng.normal(scale=0.1, size=weight.shape))
    step = train_step(
        model,
        optimizer_of(model, config),
        config.augment,
        clipping=config.train.optimizer,
        accumulate_steps=config.train.accumulate_steps,
    )
    batch, step = batch_of(clips, config, 32), tf.function(step, jit_compile=jit_compile, autograph=False)
    metrics = [{name: float(value) for name, value in step(batch).items()} for _ in range(steps)]
    return metrics, [weight.numpy() for weight in model.weights]


def test_four_parts_of_8_equal_a_batch_of_32(clips):
    settings = {
        "train__batch_size": "32",
        "train__optimizer__schedule__base_learning_rate": "0.05",
        "train__optimizer__max_grad_norm": "null",
        "train__optimizer__layer_decay": "0.5",
        "augment__mixup": "0.3",
    }
    whole, weights = learn(clips, with_settings(**settings))
    parts, accumulated = learn(clips, with_settings(**settings, train__accumulate_steps="4"))
    for found, wanted in zip(accumulated, weights, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6)
    for found, wanted in zip(parts, whole, strict=True):
        assert found == pytest.approx(wanted, rel=1e-5)
    assert whole[-1]["loss"] != whole[0]["loss"]


def compile_in_parts(clips):
    config = with_settings(train__batch_size="32", train__accumulate_steps="4", model__dropout="0.1")
    metrics, _ = learn(clips, config, steps=1, jit_compile=True)
    assert np.isfinite(metrics[0]["loss"])


def test_a_step_in_parts_compiles_for_an_accelerator(clips, tmp_path):
    assert_compiles(compile_in_parts, clips, log=tmp_path / "log")


def test_a_step_with_all_that_is_drawn_learns_the_same_when_it_is_compiled(clips):
    drawn = {
        "augment__erasing": "0.5",
        "augment__still": "0.3",
        "augment__mixup": "0.8",
        "augment__cutmix": "1",
        "augment__switch": "1",
    }
    config = with_settings(train__batch_size="32", train__optimizer__schedule__base_learning_rate="0.05", **drawn)
    plain, weights = learn(clips, config)
    compiled, found = learn(clips, config, jit_compile=True)
    for a, b in zip(compiled, plain, strict=True):
        assert a == pytest.approx(b, rel=1e-4)
    for a, b in zip(found, weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-4)


def test_parts_go_one_after_the_other_in_order():
    seen = []

    def remember(values):
        seen.append(values.shape)
        return {"mean": tf.reduce_mean(values), "first": values[0]}

    found = tf.function(lambda: mean_over_parts(remember, (tf.constant([1.0, 2.0, 3.0, 6.0, 5.0, 10.0]),), 3))()
    assert {name: float(value) for name, value in found.items()} == {"mean": 4.5, "first": 3.0}
    assert set(map(tuple, seen)) == {(2,)}


def test_a_batch_that_parts_do_not_divide_is_refused():
    with pytest.raises(ValueError, match="batch_size is 6; accumulate_steps 4 must divide it evenly"):
        LearningConfig(batch_size=6, accumulate_steps=4)
    with pytest.raises(ValueError, match="accumulate_steps is 0; it must be greater than 0"):
        LearningConfig(accumulate_steps=0)
    two_devices = types.SimpleNamespace(num_replicas_in_sync=2)
    clips = Split(None, CLASSES, {"verb": {0: 10, 1: 10, 2: 10}})
    message = r"batch_size is 6, which 2 devices cannot share evenly in 2 parts each .train.accumulate_steps"
    with pytest.raises(TrainingError, match=message):
        splits.check_batches(LearningConfig(batch_size=6, accumulate_steps=2), clips, two_devices)
    with pytest.raises(TrainingError, match=r"here 3 of 12 clips .2 devices, 2 parts each., and wants 4"):
        splits.check_batches(LearningConfig(batch_size=12, accumulate_steps=2, standardise=True), clips, two_devices)
    splits.check_batches(LearningConfig(batch_size=16, accumulate_steps=2, standardise=True), clips, two_devices)


def test_still_clips_do_not_count_in_the_accuracies(clips):
    moving, _ = learn(clips, with_settings(train__batch_size="32", augment__still="0"), steps=1)
    mixed, _ = learn(clips, with_settings(train__batch_size="32", augment__still="0.5"), steps=1)
    still, _ = learn(clips, with_settings(train__batch_size="32", augment__still="1"), steps=1)
    assert moving[0]["accuracy"] > 0 and mixed[0]["accuracy"] > 0
    # Of 32 clips some 16 count; of none, nothing is right.
    assert mixed[0]["accuracy"] * 32 % 1 != 0
    assert still[0]["accuracy"] == 0 and np.isfinite(still[0]["loss"])
