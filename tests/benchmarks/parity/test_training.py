"""Every golden case of `train` passes, and an unknown one is an error."""

from pathlib import Path

import pytest

from benchmarks.parity.comparison import compare, golden_cases
from benchmarks.parity.training import check_train_case

GOLDEN = Path(__file__).parents[2] / "golden" / "train"


@pytest.mark.parametrize("case", golden_cases(GOLDEN), ids=lambda case: case.name)
def test_case_passes(case):
    rows = check_train_case(case)
    assert rows
    assert [row for row in rows if not row.passed] == []


def test_unknown_case_is_an_error():
    with pytest.raises(ValueError, match="Unknown train case"):
        check_train_case(GOLDEN / "something_else")


def test_wrong_shapes_and_missing_numbers_do_not_pass():
    assert not compare("case", "shape", [1.0, 2.0], [1.0], 10).passed
    assert not compare("case", "nan", [float("nan")], [1.0], 10).passed
