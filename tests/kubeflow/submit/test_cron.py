"""Schedules: what each server is sent, and what is refused."""

import pytest

from kubeflow.submit.cron import five_fields, six_fields
from pipeline.settings import ConfigError


@pytest.mark.parametrize(
    ("text", "six"),
    [
        ("0 3 * * *", "0 0 3 * * *"),
        ("*/15 8-18/2 1,15 jan-MAR MON-FRI", "0 */15 8-18/2 1,15 jan-MAR MON-FRI"),
        ("30 0 9 ? * 2-6", "30 0 9 ? * 2-6"),
    ],
)
def test_kubeflow_has_six_fields_with_the_second_in_front(text, six):
    assert six_fields(text) == six


def test_vertex_has_five_fields():
    assert five_fields("0 0 9 ? * 2-6") == "0 9 * * 2-6"
    with pytest.raises(ConfigError, match="Vertex AI knows no seconds"):
        five_fields("30 0 9 ? * 2-6")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has 0 fields; it must have five"),
        ("@daily", "has 1 fields; it must have five"),
        ("* 0 3 * * *", "the second is '*'; it must be one number"),
        ("60 3 * * *", "the minute is '60'; it must be *, 0 to 59"),
        ("0 24 * * *", "the hour is '24'; it must be *, 0 to 23"),
        ("0 3 0 * *", "the day of the month is '0'; it must be *, 1 to 31"),
        ("0 3 * JANUARY *", "the month is 'JANUARY'; it must be *, 1 to 12 or JAN to DEC"),
        ("0 3 * * 7", "the day of the week is '7'; it must be *, 0 to 6 or SUN to SAT"),
        ("0 3 * * FRI-MON", "the day of the week is 'FRI-MON'"),
        ("*/0 3 * * *", "the minute is '*/0'"),
        ("0 3, * * *", "the hour is '3,'"),
    ],
)
def test_a_schedule_that_is_none_names_its_field(text, said):
    with pytest.raises(ConfigError) as refused:
        six_fields(text)
    assert said in str(refused.value)
