"""Every golden case of `preprocessing` passes, and an unknown one is an error."""

from pathlib import Path

import pytest

from benchmarks.parity.comparison import golden_cases
from benchmarks.parity.preprocessing import check_preprocessing_case

GOLDEN = Path(__file__).parents[2] / "golden" / "preprocessing"


@pytest.mark.parametrize("case", golden_cases(GOLDEN), ids=lambda case: case.name)
def test_case_passes(case):
    rows = check_preprocessing_case(case)
    assert rows
    assert [row for row in rows if not row.passed] == []


def test_unknown_case_is_an_error():
    with pytest.raises(ValueError, match="Unknown preprocessing case"):
        check_preprocessing_case(GOLDEN / "something_else")
