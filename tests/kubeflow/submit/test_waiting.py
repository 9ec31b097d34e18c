"""How a wait ends where the server is silent, and how long things took."""

import pytest

from kubeflow.submit.service import NoAnswerError, task_names
from kubeflow.submit.waiting import TimeIsUpError, duration, wait
from tests.kubeflow.submit.conftest import pipeline_spec


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (59.4, "59 s"), (192, "3 min 12 s"), (3600, "1 h 0 min")],
)
def test_a_duration_is_in_words(seconds, words):
    assert duration(seconds) == words


def test_a_silent_server_is_said_once_and_the_time_is_kept():
    lines = []

    def look():
        raise NoAnswerError("host does not answer")

    with pytest.raises(TimeIsUpError, match="the run has not ended in 2 s, and goes on"):
        wait(look, lines.append, timeout=2)
    assert lines == ["  host does not answer; trying again …"]


def test_steps_are_shown_in_the_order_in_which_they_run():
    assert task_names(pipeline_spec()) == ["Prepare", "Trainer"]
    assert task_names({}) == []
