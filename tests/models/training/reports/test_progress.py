"""models.training.reports.progress: what a run says about the time that it will take."""

import logging
import re

import numpy as np
import pytest

from models.training.reports.progress import RATE, WAIT, Progress, TimeLeft, speed_in_words, time_in_words
from tests.models.training import runs
from tests.models.training.runs import with_settings


def test_time_left_is_that_of_steps_and_evaluations_without_compilation():
    time_left = TimeLeft(total=110, batch_size=4, eval_steps=25, eval_clips=40)
    time_left.trained(1, 300.0)
    time_left.trained(2, 4.0)
    assert not time_left.known
    time_left.trained(2, 4.0)
    assert time_left.known
    assert time_left.clips_per_second == 2
    # 105 steps of 2 s, and 40 clips after steps 25, 50, 75, 100 and 110.
    assert time_left.after(5) == 105 * 2 + 5 * 20
    time_left.evaluated(7.0)
    assert time_left.after(25) == 85 * 2 + 5 * 7
    assert time_left.after(26) == 84 * 2 + 4 * 7
    assert time_left.after(110) == 7


def test_a_last_step_at_the_end_of_an_epoch_is_evaluated_once():
    time_left = TimeLeft(total=50, batch_size=4, eval_steps=25, eval_clips=40)
    assert [time_left.evaluations(step) for step in (1, 25, 26, 49, 50)] == [2, 2, 1, 1, 1]


def test_many_quick_steps_tell_the_speed_too():
    time_left = TimeLeft(total=50, batch_size=4, eval_steps=25, eval_clips=40)
    for _ in range(20):
        time_left.trained(1, 0.01)
        assert not time_left.known
    time_left.trained(1, 0.01)
    assert time_left.known


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (3569, "59 min"),
        (3571, "1 h 0 min"),
        (12000, "3 h 20 min"),
        (172799, "2 days 0 h"),
        (187300, "2 days 4 h"),
    ],
)
def test_times_are_in_words(seconds, words):
    assert time_in_words(seconds) == words


def test_a_run_says_how_long_it_will_take_and_what_is_left(clips, tmp_path, caplog):
    with caplog.at_level(logging.INFO, logger="vivit.train"):
        runs.run(clips, tmp_path, with_settings(train__epochs="8", train__eval_epochs="2"))
    said = [record.getMessage() for record in caplog.records]
    found = [re.match(r"training: about \d+ (s|min) at [\d.]+ clips/s, (\d) evaluation", line) for line in said]
    # 48 steps, evaluated every 12: after 20 steps or a few slow ones, evaluations are left.
    (announced,) = [match for match in found if match]
    assert announced[2] in ("2", "3", "4")
    reports = [line for line in said if "waiting for input" in line]
    assert len(reports) >= 4
    assert re.search(r"waiting for input, \d+ (s|min) left$", reports[-1])


def test_speed_is_a_share_of_the_peak_where_that_is_known(tmp_path, caplog):
    progress = Progress(
        str(tmp_path / "logs"), total=50, first=0, batch_size=4, eval_steps=25, eval_clips=40, peak=1e6
    )  # fmt: skip
    progress.add({"loss": np.ones(2), RATE: np.zeros(2), WAIT: np.zeros(2)})
    with caplog.at_level(logging.INFO, logger="vivit.train"):
        progress.report(2, now=True)
    progress.close()
    found = runs.scalars(tmp_path)
    assert found["share_of_peak"][2] == pytest.approx(found["clips_per_second"][2] / 1e6)
    assert re.search(r"clips/s, \d+ % of the devices' peak, 0 % waiting", caplog.text)


def test_a_slow_speed_has_a_decimal():
    assert [speed_in_words(speed) for speed in (0.84, 9.94, 31.4)] == ["0.8", "9.9", "31"]
