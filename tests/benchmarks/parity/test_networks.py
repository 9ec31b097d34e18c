"""The parity report: every golden case passes, and what is wrong or unknown is seen."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmarks.parity.networks import KINDS, check_folder

GOLDEN = Path(__file__).parents[2] / "golden"
CASES = sorted(case for kind in KINDS for case in (GOLDEN / kind).iterdir() if case.is_dir() and case.name != "sources")


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.parent.name}/{case.name}")
def test_agrees_with_the_reference(case):
    comparisons = list(KINDS[case.parent.name](case))
    assert comparisons
    assert [one for one in comparisons if not one.passed] == []


def test_reports_a_case_of_an_unknown_kind_as_not_run(tmp_path):
    (tmp_path / "smells" / "roses").mkdir(parents=True)
    (row,) = check_folder(tmp_path, KINDS)
    assert (row.kind, row.case, row.verdict) == ("smells", "roses", "not run")


def test_reports_a_case_that_cannot_be_run_with_its_reason(tmp_path):
    shutil.copytree(GOLDEN / "models" / "fdp_gap", tmp_path / "models" / "fdp_gap")
    (tmp_path / "models" / "fdp_gap" / "params.npz").unlink()
    (row,) = check_folder(tmp_path, KINDS)
    assert row.verdict == "not run"
    assert "params.npz" in row.reason


def test_sees_a_weight_that_is_slightly_off(tmp_path):
    case = tmp_path / "models" / "fdp_gap"
    shutil.copytree(GOLDEN / "models" / "fdp_gap", case)
    parameters = dict(np.load(case / "params.npz"))
    parameters["Transformer/encoder_norm/scale"] += 1e-3
    np.savez(case / "params.npz", **parameters)
    verdicts = {row.compared: row.verdict for row in check_folder(tmp_path, KINDS)}
    assert verdicts["logits"] == "fail"


def test_a_folder_without_cases_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="no case"):
        list(check_folder(tmp_path, KINDS))
