"""Run after run in one workdir: what is refused, what goes out, and what each candidate is compared with."""

from __future__ import annotations

import csv
import re

import pytest

from components.registry.candidates import candidates
from pipeline.cli import main
from tests.conftest import ONE_LABEL, UNTRAINED, FinishedRun, run_pipeline
from tests.videos import write_colour_classes

pytestmark = pytest.mark.end_to_end

SETTINGS = (*ONE_LABEL, "train.epochs=15", "evaluation.min_top_1=0")
_SPLIT = {0: "eval", 1: "train", 2: "train"}


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """A folder per class."""
    return write_colour_classes(tmp_path_factory.mktemp("colours"), per_class=36)


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """That of all runs."""
    return tmp_path_factory.mktemp("run")


def manifest_of(videos, path, classes, *, sliced=False):
    """A manifest of some classes, a third of them for evaluation."""
    rows = []
    for name in classes:
        for number, video in enumerate(sorted((videos / name).iterdir())):
            rows.append([str(video), name, _SPLIT[number % 3], "even" if number % 2 else "odd"])
    columns = ["path", "label", "split", "parity"][: 4 if sliced else 3]
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(columns)
        table.writerows(row[: len(columns)] for row in rows)
    return path


@pytest.fixture(scope="module")
def chance_run(videos, workdir, tmp_path_factory) -> FinishedRun:
    """The first model of the workdir has learned nothing."""
    manifest = manifest_of(videos, tmp_path_factory.mktemp("m") / "two.csv", ("blue", "green"))
    return run_pipeline(manifest, workdir, *SETTINGS, *UNTRAINED)


@pytest.fixture(scope="module")
def bfloat16_run(chance_run) -> FinishedRun:
    """The second one has learned from the same clips, in bfloat16."""
    return run_pipeline(chance_run.data, chance_run.workdir, *SETTINGS, "model.dtype=bfloat16")


@pytest.fixture(scope="module")
def third_run(bfloat16_run, videos, workdir, tmp_path_factory) -> FinishedRun:
    """The third one has a class and a slice column more."""
    manifest = manifest_of(videos, tmp_path_factory.mktemp("m") / "three.csv", ("blue", "green", "red"), sliced=True)
    return run_pipeline(manifest, workdir, *SETTINGS)


def test_a_model_at_chance_is_refused_even_as_the_first_one(chance_run):
    assert re.search(r"NOT BLESSED, compared with its thresholds alone", chance_run.text)
    refused = r"label: top-1 0\.\d+ \(0\.\d+ to \d\.\d+\) is not above the share of the commonest class, 'blue'"
    assert re.search(refused, chance_run.text)
    assert "Nothing was pushed" in chance_run.text
    assert not (chance_run.workdir / "pushed").exists() or not chance_run.pushed


def test_a_model_in_bfloat16_is_proven_and_pushed(bfloat16_run):
    assert "BLESSED, compared with its thresholds alone" in bfloat16_run.text
    assert re.search(r"canary    serves: 4 clips through 6 signatures", bfloat16_run.text)
    assert len(bfloat16_run.pushed) == 1


def test_a_new_class_and_a_new_slice_are_compared_on_what_both_models_know(bfloat16_run, third_run):
    assert "label: production does not know 'red'" in third_run.text
    assert "label: compared on 24 of 36 clips, whose classes both know" in third_run.text
    assert len(third_run.pushed) == 2
    last = candidates(str(third_run.workdir))[-1]
    assert {group.column for group in last.assessment.scored[0].groups} == {"label", "parity"}
    assert last.assessment.production == bfloat16_run.pushed[0].name


def test_each_run_leaves_a_page_whose_path_it_prints(third_run):
    page = re.search(r"review    (\S+/review\.html)", third_run.text).group(1)
    with open(page, encoding="utf-8") as file:
        assert "Content-Security-Policy" in file.read()


def test_any_two_versions_are_compared_on_a_page_of_their_own(third_run, capfd):
    first, second = (path.name for path in third_run.pushed[:2])
    workdir = str(third_run.workdir)
    assert main(["review", "--workdir", workdir, "--version", first, "--against", second]) == 0
    page = capfd.readouterr().out.splitlines()[-1]
    assert page.endswith(f"reviews/{first}-against-{second}.html")
    with open(page, encoding="utf-8") as file:
        # The model of two classes is wrong on all clips of the third; those are not compared.
        assert "compared on 24 of 36 clips, whose classes both know" in file.read()


def test_after_a_rollback_a_candidate_is_compared_with_what_is_served(third_run, capfd):
    workdir = str(third_run.workdir)
    first, second = (path.name for path in third_run.pushed)
    assert main(["models", "rollback", "--workdir", workdir, "--by", "Ada", "--why", "red is seen everywhere"]) == 0
    (third,) = {path.name for path in third_run.pushed} - {first, second}
    again = run_pipeline(third_run.data, third_run.workdir, *SETTINGS)
    assert not again.results["Production"].cached
    assert f"compared with version {third}" in again.text
    # What was rolled back does not go out again by itself.
    assert [path.name for path in third_run.pushed] == [first, second, third]
    assert main(["models", "list", "--workdir", workdir]) == 0
    assert re.search(rf"{second}.*rolled back", capfd.readouterr().out)
