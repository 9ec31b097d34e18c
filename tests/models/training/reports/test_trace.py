"""models.training.reports.trace: `train.profile_steps` writes what TensorBoard's profiler reads."""

import logging

import pytest

from models.training.loop import executions
from tests.models.training import runs
from tests.models.training.runs import with_settings


def test_the_steps_that_are_asked_for_are_traced(clips, tmp_path, caplog):
    traced = with_settings(train__profile_steps="3,4", train__epochs="1", train__eval_epochs="1")
    with caplog.at_level(logging.INFO, logger="vivit.train"):
        runs.run(clips, tmp_path, traced)
    (trace,) = (tmp_path / "logs").glob("plugins/profile/*/*.xplane.pb")
    assert trace.stat().st_size
    assert f"steps 3 to 4 are traced: {tmp_path / 'logs'}" in caplog.text


def test_an_execution_ends_before_the_first_traced_step_and_after_the_last():
    assert list(executions(0, 10, (6,), (2, 4))) == [(2, 2), (4, 2), (6, 2), (10, 4)]
    assert list(executions(4, 10, (6,), (0, 4))) == [(6, 2), (10, 4)]


@pytest.mark.parametrize("steps", ["3", "0,2", "5,4", "1,2,3"])
def test_steps_that_are_no_first_and_last_are_refused(steps):
    with pytest.raises(ValueError, match="it must be the first and the last step, from 1 on"):
        with_settings(train__profile_steps=steps)
