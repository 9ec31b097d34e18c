"""Groups that are held out, and the best weights by them."""

import logging

import numpy as np
import pytest
import tensorflow as tf

from models.clips import input_pipeline
from models.training.config import BestConfig
from models.training.loop import TrainingError
from models.training.phases import at_least, hold_out
from models.training.selection.best import BestWeights
from models.training.selection.holdout import OneGroupError, held_out
from pipeline.training import splits
from tests.models.training import runs
from tests.models.training.runs import CLASSES, CONFIG, with_settings

BEST = {"train__best__holdout": "0.25", "train__best__epochs": "1", "train__epochs": "4"}


def test_held_out_are_whole_groups_of_at_least_the_share():
    groups = [f"video{number % 10}" for number in range(50)]
    held = held_out(groups, 0.25)
    assert held.sum() == 15
    assert len({group for group, is_held in zip(groups, held, strict=True) if is_held}) == 3


def test_no_class_is_held_out_whole():
    groups = [f"video{number % 10}" for number in range(50)]
    first = next(group for group, held in zip(groups, held_out(groups, 0.1), strict=True) if held)
    rare = np.array([int(group == first) for group in groups])
    held = held_out(groups, 0.1, [np.zeros(50, int), rare])
    assert held.sum() == 5 and not held[rare == 1].any()
    assert not held_out(groups, 0.1, [np.array([int(group[-1]) for group in groups])]).any()


def test_one_group_alone_is_refused():
    with pytest.raises(OneGroupError, match="all training clips are of one group, 'video'"):
        held_out(["video"] * 4, 0.2)


@pytest.fixture
def split(clips):
    source = input_pipeline.transformed_source([str(path) for path in clips.glob("*.gz")], CONFIG.heads, CONFIG.storage)
    return splits.count_clips(source, CLASSES, "train")


def test_both_parts_together_are_all_clips_and_share_no_group(split):
    learning, judging = hold_out(split, with_settings(**BEST).train)
    assert (learning.count, judging.count) == (18, 6)
    assert sorted(learning.source.groups() + judging.source.groups()) == sorted(split.source.groups())
    assert not set(learning.source.groups()) & set(judging.source.groups())


def test_a_part_too_small_for_a_batch_is_refused(split):
    with pytest.raises(TrainingError, match="18 training clips are left, fewer than a batch of 20"):
        hold_out(split, with_settings(**BEST, train__batch_size="20").train)


def test_a_part_for_the_probe_is_of_whole_groups_and_hardly_larger_than_asked(split):
    part = at_least(split, 9)
    assert part.count == 10
    assert all(part.source.groups().count(group) == 2 for group in part.source.groups())
    assert at_least(split, 24) is split
    assert at_least(split, None) is split


def best_of(folder, variable, patience=None):
    return BestWeights(str(folder), [variable], BestConfig(patience=patience), every=5, chief=True)


def test_the_best_of_all_judgements_comes_back_though_the_run_was_interrupted(tmp_path):
    variable = tf.Variable(1.0)
    best = best_of(tmp_path, variable, patience=2)
    assert best.judge(5, {"accuracy": 0.5, "loss": 1.0})
    variable.assign(2.0)
    assert best.judge(10, {"accuracy": 0.5, "loss": 0.9})
    again = best_of(tmp_path, variable, patience=2)
    variable.assign(3.0)
    assert again.judge(15, {"accuracy": 0.4, "loss": 0.1})
    assert not again.judge(20, {"accuracy": 0.5, "loss": 0.9})
    again.restore()
    assert (variable.numpy(), again.step) == (2.0, 10)
    again.remove()
    assert not list(tmp_path.iterdir())


def test_a_run_keeps_the_weights_that_judged_best_and_stops_when_nothing_gets_better(clips, tmp_path, caplog):
    """Nothing learns at this rate, so that the first judgement stays the best."""
    settings = BEST | {"train__best__patience": "2", "train__optimizer__schedule__base_learning_rate": "1e-12"}
    caplog.set_level(logging.INFO, logger="vivit.train")
    stopped = runs.run(clips, tmp_path / "stopped", with_settings(**settings))
    assert "step 12: no better than step 4 since; training stops early" in caplog.text
    assert "the weights of step 4 are kept" in caplog.text
    assert not list((tmp_path / "stopped" / "checkpoints").glob("best*"))
    again = runs.run(clips, tmp_path / "stopped", with_settings(**settings))
    for found, wanted in zip(again.weights, stopped.weights, strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert set(runs.scalars(tmp_path / "stopped")["held_out/accuracy"]) == {4, 8, 12}
