"""models.training.loop on small clips: what it learns, says, refuses, and how it goes on after it was killed."""

import dataclasses
import logging
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from models.checkpoints.pretrained import build_model
from models.clips import input_pipeline
from models.training.loop import TrainingError, executions
from models.training.optimizers import ScheduleConfig, build_optimizer
from models.training.steps import train_step
from pipeline import recipes, settings
from pipeline.recipe import load_recipe
from pipeline.training import splits
from schemas.clip_index import write_indexed
from tests.models.training import runs as training_runs
from tests.models.training.runs import CLASSES, with_settings

# Everything that has a state of its own.
STATEFUL = with_settings(
    train__epochs="30",
    train__checkpoint_steps="10",
    train__eval_epochs="30",
    train__optimizer__name="adamw",
    train__optimizer__ema="0.9",
    train__optimizer__schedule__base_learning_rate="0.001",
    model__stochastic_depth="0.3",
    model__dropout="0.1",
    train__sampling="balanced",
    augment__repeats="2",
    augment__erasing="0.5",
    augment__mixup="0.3",
    augment__cutmix="0.5",
)


def start(clips, output, config, *, devices=1, **environment):
    """Starts a run in a process of its own; its lines go to ``<output>.log``."""
    output.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "tests.models.training.runs", clips, output, "--devices", devices]
    with open(f"{output}.log", "a") as log:
        return subprocess.Popen(
            [*map(str, command), "--config", settings.to_json(config)],
            stdout=log, stderr=subprocess.STDOUT, env=os.environ | environment,
        )  # fmt: skip


def finish(process, output):
    """Weights of a run, in order."""
    assert process.wait() == 0, said(output)[-4000:]
    weights = np.load(output / "weights.npz")
    return [weights[name] for name in weights.files]


def said(output):
    """Everything that the processes of a run have said."""
    return Path(f"{output}.log").read_text()


def newest(output):
    """Step of the last checkpoint, 0 for none."""
    last = tf.train.latest_checkpoint(str(output / "checkpoints"))
    return int(last.rpartition("-")[2]) if last else 0


def assert_close(found, wanted, tolerance):
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)


def test_ends_where_an_undisturbed_run_ends_though_killed_three_times(clips, tmp_path):
    undisturbed = training_runs.run(clips, tmp_path / "undisturbed", STATEFUL)
    killed, moments = tmp_path / "killed", random.Random(7)
    for _ in range(3):
        process, before = start(clips, killed, STATEFUL), newest(killed)
        while newest(killed) == before and process.poll() is None:
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "it ended before it was killed"
        assert newest(killed) > before
    weights = finish(start(clips, killed, STATEFUL), killed)
    assert len(re.findall("going on from step [1-9]", said(killed))) == 3
    assert_close(weights, [variable.numpy() for variable in undisturbed.weights], 1e-6)


@pytest.fixture(scope="module")
def one_device(clips, tmp_path_factory):
    output = tmp_path_factory.mktemp("one_device")
    model = training_runs.run(clips, output, with_settings(**TOGETHER))
    return output, [variable.numpy() for variable in model.weights]


# 24 steps of one report each, so that the loss of every step is on record.
TOGETHER = {
    "train__epochs": "4",
    "train__eval_epochs": "0.1",
    "train__sampling": "balanced",
    "augment__scale": "null",
    "augment__erasing": "0.5",
    "augment__repeats": "2",
}


def losses(output):
    curve = training_runs.scalars(output)["train/loss"]
    assert len(curve) == 24
    return [curve[step] for step in sorted(curve)]


def test_two_devices_learn_what_one_learns(clips, tmp_path, one_device):
    output, weights = one_device
    together = with_settings(**TOGETHER, train__strategy="mirrored")
    found = finish(start(clips, tmp_path / "two", together, devices=2), tmp_path / "two")
    np.testing.assert_allclose(losses(tmp_path / "two"), losses(output), atol=1e-4)
    assert_close(found, weights, 1e-5)


def test_two_devices_in_parts_learn_what_one_learns_from_the_whole_batch(clips, tmp_path, one_device):
    in_parts = with_settings(**TOGETHER, train__strategy="mirrored", train__accumulate_steps="2")
    found = finish(start(clips, tmp_path / "parts", in_parts, devices=2), tmp_path / "parts")
    np.testing.assert_allclose(losses(tmp_path / "parts"), losses(one_device[0]), atol=1e-4)
    assert_close(found, one_device[1], 1e-5)


def test_finished_weights_are_not_trained_again(clips, tmp_path, caplog):
    first = training_runs.run(clips, tmp_path)
    assert not newest(tmp_path)
    with caplog.at_level(logging.INFO, logger="vivit.train"):
        again = training_runs.run(clips, tmp_path, with_settings(train__eval_epochs="1"))
    assert "these weights are trained already: 60 steps" in caplog.text
    assert_close([v.numpy() for v in again.weights], [v.numpy() for v in first.weights], 0)


def test_several_steps_an_execution_change_nothing(clips, tmp_path, one_device):
    model = training_runs.run(clips, tmp_path, with_settings(**TOGETHER | {"train__steps_per_execution": "5"}))
    assert_close([variable.numpy() for variable in model.weights], one_device[1], 1e-6)


def test_runs_of_steps_end_at_every_multiple_of_a_pause():
    assert list(executions(3, 14, (5, 4))) == [(4, 1), (5, 1), (8, 3), (10, 2), (12, 2), (14, 2)]
    assert list(executions(14, 14, (5,))) == []


def test_weights_that_are_not_finite_name_the_step_and_its_clips(clips, tmp_path):
    diverging = with_settings(
        train__optimizer__schedule__base_learning_rate="1e30",
        train__optimizer__max_grad_norm="null",
        train__steps_per_execution="4",
    )
    wanted = r"updated weights is inf at step (\d+); the clips of the batch: (.+); no step is saved yet"
    with pytest.raises(TrainingError, match=wanted) as error:
        training_runs.run(clips, tmp_path, diverging)
    step, ids = re.search(wanted, str(error.value)).groups()
    source = input_pipeline.transformed_source([str(path) for path in clips.glob("*.gz")], ("verb",), "raw")
    batches = input_pipeline.train_dataset(
        source, clip=diverging.clip, augmentation=diverging.augment, batch_size=4, seed=0
    )
    batch = next(iter(batches.skip(int(step) - 1)))
    assert ids == ", ".join(clip.decode() for clip in batch["id"].numpy())
    assert newest(tmp_path) < int(step)


def test_the_average_of_the_weights_is_what_is_evaluated_and_what_comes_out(clips, tmp_path):
    """With decay 1 - 1e-7 the average stays where it began: at the weights after the first step."""
    still = with_settings(train__optimizer__ema="0.9999999", train__epochs="2", train__eval_epochs="0.5")
    first = with_settings(train__epochs="0.17")
    averaged = training_runs.run(clips, tmp_path / "ema", still)
    evaluated = training_runs.scalars(tmp_path / "ema")
    assert len(evaluated["eval/loss"]) == 4
    assert np.ptp(list(evaluated["eval/loss"].values())) < 1e-5
    assert np.ptp(list(evaluated["train/loss"].values())) > 1e-3
    assert first.train.total_steps(24) == 1
    # The schedule starts at a rate of 0, so the weights after the first step are those of the beginning.
    begun = training_runs.run(clips, tmp_path / "first", first)
    assert_close(
        [v.numpy() for v in averaged.trainable_variables], [v.numpy() for v in begun.trainable_variables], 1e-5
    )


def test_tensorboard_shows_clips_scalars_and_what_is_taken_for_what(clips, tmp_path):
    training_runs.run(clips, tmp_path, with_settings(train__epochs="1", train__eval_epochs="1"))
    found, pictures, texts = training_runs.scalars(tmp_path), {}, {}
    for path in (tmp_path / "logs").glob("events*"):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                if value.metadata.plugin_data.plugin_name == "images":
                    pictures[value.tag] = [tf.io.decode_png(png) for png in tf.make_ndarray(value.tensor)[2:]]
                if value.metadata.plugin_data.plugin_name == "text":
                    texts[value.tag] = tf.make_ndarray(value.tensor).item().decode()
    assert set(found) == {
        "train/loss", "train/accuracy", "train/gradient_norm", "learning_rate", "clips_per_second", "input_wait",
        "memory_gb", "eval/loss", "eval/accuracy",
    }  # fmt: skip
    assert [strip.shape for strip in pictures["train/clips"]] == [(16, 4 * 16, 3)] * 4
    assert pictures["confusion/verb"][0].shape == (258, 258, 1)
    wrong = sum(int(row.split("|")[3]) for row in texts["confusion/verb"].splitlines()[2:])
    assert wrong == round(24 * (1 - found["eval/accuracy"][6]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train__batch_size": "25"}, "24 training clips do not fill a batch of 25: lower train.batch_size"),
        ({"train__strategy": "tpu"}, "strategy 'tpu': no TPU can be reached"),
        ({"train__strategy": "multi_worker"}, "strategy 'multi_worker' wants TF_CONFIG"),
    ],
)
def test_says_before_the_first_step_what_cannot_work(clips, tmp_path, changes, message):
    with pytest.raises((TrainingError, ValueError), match=message):
        training_runs.run(clips, tmp_path, with_settings(**changes))
    assert not list(tmp_path.iterdir())


def test_labels_outside_the_classes_and_empty_splits_are_said(clips, tmp_path):
    source = input_pipeline.transformed_source([str(path) for path in clips.glob("*.gz")], ("verb",), "raw")
    message = "8 clip.s. of split 'train' have a label outside the classes of head 'verb'"
    with pytest.raises(TrainingError, match=message):
        splits.count_clips(source, {"verb": ["left", "right"]}, "train")
    write_indexed(str(tmp_path / "empty.tfrecord"), str(tmp_path / "empty.gz"), [])
    empty = input_pipeline.transformed_source([str(tmp_path / "empty.gz")], ("verb",), "raw")
    with pytest.raises(TrainingError, match="split 'eval' has no clips"):
        splits.count_clips(empty, CLASSES, "eval")


def test_a_class_without_training_clips_is_said(clips, caplog):
    source = input_pipeline.transformed_source([str(path) for path in clips.glob("*.gz")], ("verb",), "raw")
    counted = splits.count_clips(source, {"verb": [*CLASSES["verb"], "down"]}, "train")
    splits.check_batches(training_runs.CONFIG.train, counted, tf.distribute.get_strategy())
    assert "head verb: 1 class(es) without a training clip: down" in caplog.text


def reduced(recipe):
    """A published recipe with a network and clips as small as its structure allows, in bfloat16."""
    config = load_recipe(recipe).weights_config(("verb",))
    frames, height, width = config.model.tubelet
    # Stochastic depth grows from layer to layer, from 0 on.
    layers = 2 if config.model.stochastic_depth else 1
    small = {"hidden_size": 24, "num_heads": 4, "num_layers": layers, "mlp_dim": 32, "dtype": "bfloat16"}
    if config.model.temporal_layers:
        small |= {"temporal_layers": 1, "temporal_num_heads": None, "temporal_mlp_dim": None}
    return dataclasses.replace(
        config,
        clip=dataclasses.replace(
            config.clip, num_frames=2 * frames, stride=1, min_resize=height * 2 + height // 2, crop_size=height * 2
        ),
        model=dataclasses.replace(config.model, **small),
    )


def that_differ():
    """A recipe of each reduced step; rates and classes make no other graph."""
    found = {}
    for recipe in recipes.names():
        config = reduced(recipe)
        optimizer = dataclasses.replace(config.train.optimizer, schedule=ScheduleConfig())
        found.setdefault(repr((config.clip, config.augment, config.model, optimizer)), recipe)
    return list(found.values())


@pytest.mark.parametrize("recipe", that_differ())
def test_the_whole_step_of_every_recipe_compiles_for_an_accelerator_with_all_that_saves_memory(recipe, clips):
    config = reduced(recipe)
    source = input_pipeline.transformed_source([str(path) for path in clips.glob("*.gz")], ("verb",), "raw")
    model = build_model(config.model, clip_shape=config.clip.shape, classes={"verb": ["a", "b", "c"]})
    optimizer = build_optimizer(config.train.optimizer, 100)
    optimizer.build(model.trainable_variables)
    step = train_step(
        model,
        optimizer,
        config.augment,
        clipping=config.train.optimizer,
        label_smoothing=config.train.label_smoothing,
        accumulate_steps=2,
        remat="blocks",
    )
    batches = input_pipeline.train_dataset(source, clip=config.clip, augmentation=config.augment, batch_size=4, seed=0)
    batch = next(iter(batches.map(lambda batch: {name: batch[name] for name in ("clip", "draws", "labels")})))
    metrics = tf.function(step, jit_compile=True)(batch)
    assert np.isfinite(metrics["loss"].numpy())
    assert metrics["gradient_norm"].numpy() > 0
