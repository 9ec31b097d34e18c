"""models.training.loop on small clips: what it learns, says and refuses."""

import logging
import re

import numpy as np
import pytest
import tensorflow as tf

from models.clips import input_pipeline
from models.training.loop import TrainingError, executions
from pipeline.training import splits
from schemas.clip_index import write_indexed
from tests.models.training import runs as training_runs
from tests.models.training.runs import CLASSES, with_settings


def newest(output):
    """Step of the last checkpoint, 0 for none."""
    last = tf.train.latest_checkpoint(str(output / "checkpoints"))
    return int(last.rpartition("-")[2]) if last else 0


def assert_close(found, wanted, tolerance):
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)


def test_finished_weights_are_not_trained_again(clips, tmp_path, caplog):
    first = training_runs.run(clips, tmp_path)
    assert not newest(tmp_path)
    with caplog.at_level(logging.INFO, logger="vivit.train"):
        again = training_runs.run(clips, tmp_path, with_settings(train__eval_epochs="1"))
    assert "these weights are trained already: 60 steps" in caplog.text
    assert_close([v.numpy() for v in again.weights], [v.numpy() for v in first.weights], 0)


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
