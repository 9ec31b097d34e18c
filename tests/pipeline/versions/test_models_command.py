"""`vivit models` as a reviewer types it: what it prints, and what it does to the served folder."""

import dataclasses
import getpass
import json

import pytest

from components.evaluation.assessment import Figure
from components.evaluation.statistics import Interval
from components.registry.candidates import page_path, write_candidate
from components.registry.records import Data
from components.registry.versions import standing
from pipeline.cli import main
from tests.components.registry.runs import (
    assessment,
    candidate,
    compared_with,
    put,
    refused,
    write_candidates,
    write_model,
)

HOSTILE = "<script>\x1b[2J\r\n\x9b31m=HYPERLINK()\u202e" + "x" * 300


@pytest.fixture
def vivit(capfd, tmp_path):
    """Runs an action in the workdir; returns what it prints."""

    def run(action, *arguments, status=0):
        capfd.readouterr()
        assert main(["models", action, "--workdir", str(tmp_path), *map(str, arguments)]) == status
        shown, errors = capfd.readouterr()
        assert errors == ""
        assert "Traceback" not in shown
        return shown

    return run


@pytest.fixture
def run(tmp_path):
    """A workdir with a version, a candidate that waits and one that was refused: the version and both candidates."""
    a, b, c = write_candidates(tmp_path, "a", "b", "c")
    version = put(tmp_path, a)
    b = dataclasses.replace(compared_with(b, version), approval="required", label="")
    c = refused(compared_with(c, version))
    for record in (b, c):
        write_candidate(str(tmp_path), record)
    return version, b, c


def served(tmp_path):
    return standing(str(tmp_path / "pushed"))[-1]


def test_the_list_has_a_line_for_each_the_newest_first(vivit, run):
    version, b, c = run
    header, *lines = vivit("list").splitlines()
    assert header.split("  ")[0] == "id"
    cells = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines]
    assert [row[0] for row in cells] == [version, c.id, b.id]
    assert cells[1] == [
        c.id,
        "2026-01-01 00:00",
        "refused",
        "label 0.067 [-0.033, 0.167]",
        "no measurable change",
        "small",
        "night run",
        "the gate refused it: label: top-1 0.067 is not above 0.600; train longer",
    ]
    assert cells[2][2:] == [
        "waiting for approval",
        "label 0.800 [0.700, 0.900]",
        "no measurable change",
        "small",
        "–",
        "the recipe requires it (push.approval)",
    ]
    # All columns begin where the header says.
    for name in ("when", "state", "verdict", "recipe", "why"):
        assert {line[header.index(name) - 2 : header.index(name)] for line in lines} == {"  "}


def test_the_list_as_json_has_the_same(vivit, run):
    version, b, c = run
    newest, refused_one, waiting = json.loads(vivit("list", "--json"))
    assert [newest["id"], refused_one["id"], waiting["id"]] == [version, c.id, b.id]
    assert (newest["state"], newest["why"]) == ("in production", "pushed by the pipeline")
    assert waiting["top_1"]["label"] == {"value": 0.8, "low": pytest.approx(0.7), "high": pytest.approx(0.9)}
    assert waiting["verdict"] == {"label": "no measurable change"}
    assert (waiting["candidate"], waiting["model"]) == (b.id, b.model_uri)


def test_several_heads_are_listed_by_all_of_them_together(vivit, tmp_path):
    (scored,) = assessment().scored
    heads = [dataclasses.replace(scored, name=name) for name in ("verb", "noun")]
    action = dataclasses.replace(
        scored, name="action", commonest="", commonest_share=0.0, figures=(Figure("top_1", Interval(0.4, 0.3, 0.5)),)
    )
    for number, found in enumerate(([*heads, action], heads)):
        model = write_model(tmp_path / f"m{number}", bytes([number]))
        record = candidate(model, assessment=assessment(scored=tuple(found)), made=f"2026-01-0{9 - number}")
        write_candidate(str(tmp_path), record)
    _, together, apart = vivit("list").splitlines()
    assert "  action 0.400 [0.300, 0.500]  " in together
    assert "  verb 0.800 [0.700, 0.900], noun 0.800 [0.700, 0.900]  " in apart


def test_a_candidate_is_shown_with_all_that_is_known_of_it(vivit, run, tmp_path):
    version, b, c = run
    page = page_path(str(tmp_path), b.id)
    with open(page, "w") as file:
        file.write("a page")
    assert vivit("show", b.id[:6]).splitlines() == [
        f"candidate  {b.id}",
        "state      waiting for approval: the recipe requires it (push.approval)",
        "when       2026-01-01 00:00 UTC",
        f"record     {b.id}, evaluated 2026-01-01 00:00 UTC",
        f"data       videos.csv, manifest {'ab' * 32}",
        "           400 train, 100 eval; label: 2 classes",
        "lost       3: open: it is no video",
        "recipe     small",
        "           train.epochs=5 (published: 30)",
        "training   500 steps in 61 s on 1 x CPU",
        "code       vivit-tfx 0.1.0, tensorflow 2.16.2",
        f"evaluated  on eval, 4x3 views, compared with version {version}",
        "gate       It is as good as production.",
        "note       a class came: jump",
        "canary     serves: 8 clips through 4 signatures",
        "",
        "label: 100 clips of 80 sources, 2 classes; the commonest, run, has 0.600",
        "  metric  candidate [95 %]      production            difference",
        "  top_1   0.800 [0.700, 0.900]  0.700 [0.600, 0.800]  +0.100 [-0.100, +0.200]",
        "  ece     too few clips         –                     –",
        "  no measurable change on 100 clips: 8 won, 5 lost, p 0.580 (McNemar); about 900 clips would show such a "
        "difference",
        "  label run: worse, -0.300 [-0.500, -0.100] on 60 clips",
        "",
        f"model      {b.model_uri}",
        f"page       {page}",
    ]
    reason = [line for line in vivit("show", c.id).splitlines() if line.startswith("reason")]
    assert reason == ["reason     label: top-1 0.067 is not above 0.600", "reason     train longer"]


def test_an_approved_version_shows_who_and_why(vivit, run, tmp_path):
    _, b, _ = run
    said = vivit("approve", b.id, "--by", "ann", "--why", "watched all that it lost")
    version = served(tmp_path)
    assert said == f"{b.id} is in production as version {version.version}: {version.path}\n"
    lines = vivit("show", "latest").splitlines()
    assert lines[:2] == [
        f"version    {version.version}",
        "state      in production: approved by ann: watched all that it lost",
    ]
    assert f"model      {version.path}" in lines
    (approval,) = [line for line in lines if line.startswith("approve")]
    assert approval.startswith("approve    ann, 2")
    shown = json.loads(vivit("show", version.version, "--json"))
    assert shown["version"]["decision"]["who"] == "ann"
    assert shown["candidate"]["training"]["changes"] == {"train.epochs": ["30", "5"]}
    assert shown["candidate"]["assessment"]["scored"][0]["figures"][0]["candidate"]["value"] == 0.8


def test_a_candidate_is_rejected_in_the_name_of_the_user(vivit, run, tmp_path):
    version, b, _ = run
    assert vivit("reject", b.id, "--why", "night") == f"{b.id} is rejected; it stays out of production\n"
    assert f"rejected: by {getpass.getuser()}: night" in vivit("show", b.id)
    assert served(tmp_path).version == version


def test_a_rollback_puts_the_version_before_into_production(vivit, run, tmp_path):
    version, b, _ = run
    vivit("approve", b.id, "--why", "good")
    said = vivit("rollback", "--by", "bob", "--why", "slow")
    now = served(tmp_path)
    assert said == f"version {now.version} is in production, a copy of {version}: {now.path}\n"
    assert f"in production: rollback to version {version} by bob: slow" in vivit("show", now.version)


def test_what_cannot_be_done_is_one_message(vivit, run):
    _, b, c = run
    assert vivit("approve", c.id, "--why", "x", status=1).startswith(
        f"\nvivit: {c.id} cannot be approved: the gate refus"
    )
    assert vivit("show", "none", status=1).startswith("\nvivit: no version or candidate 'none'; there is ")
    assert vivit("rollback", "--why", "x", status=1).startswith("\nvivit: there is nothing older than version ")
    assert vivit("approve", b.id, "--why", " ", status=1).startswith("\nvivit: say why: ")


def test_to_look_at_a_run_writes_nothing_into_it(vivit, run, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    for action in (["list"], ["show", "latest"], ["diff", "latest", "latest"]):
        vivit(*action)
    assert sorted(tmp_path.rglob("*")) == before
    assert main(["models", "list", "--workdir", str(tmp_path / "typo")]) == 1
    assert not (tmp_path / "typo").exists()


def test_a_difference_has_what_differs_and_all_metrics(vivit, run, tmp_path):
    version, b, _ = run
    model = write_model(tmp_path / "other", b"other", classes=("run", "swim"))
    training = dataclasses.replace(
        b.training, config={"train": {"epochs": 9, "lr": 0.1}, "views": [4, 3]}, versions={"tensorflow": "2.21.0"}
    )
    data = dataclasses.replace(b.data, manifest_hash="cd", clips={"train": 500, "eval": 100})
    other = candidate(model, training=training, data=data, assessment=assessment(0.5))
    write_candidate(str(tmp_path), other)
    shown = vivit("diff", version, other.id).splitlines()
    rows = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in shown]
    assert rows == [
        [version, other.id],
        ["data"],
        ["manifest", "ab" * 19 + "a…", "cd"],
        ["clips", "400 train, 100 eval", "500 train, 100 eval"],
        ["settings"],
        ["train.epochs", "5", "9"],
        ["code"],
        ["vivit-tfx", "0.1.0", "–"],
        ["tensorflow", "2.16.2", "2.21.0"],
        ["metrics"],
        ["label top_1", "0.800 [0.700, 0.900]", "0.500 [0.400, 0.600]"],
        ["label ece", "too few clips", "too few clips"],
        [f"classes of label that only {version} knows (1): jump"],
        [f"classes of label that only {other.id} knows (1): swim"],
        ["Metrics are of other clips: their difference is no measure."],
    ]


def test_a_difference_from_a_copy_by_hand_says_what_it_does_not_know(vivit, run, tmp_path):
    _, b, _ = run
    write_model(tmp_path / "pushed" / "3000000000", b"by hand", classes=("run",))
    (tmp_path / "models" / "b" / "assets.extra" / "vivit.json").unlink()
    shown = vivit("diff", "3000000000", b.id)
    assert "\n3000000000 has no record: it was copied by hand\n" in shown
    assert f"classes of {b.id} are unknown: " in shown


def test_hostile_names_are_shown_as_text_on_one_line(vivit, tmp_path):
    model = write_model(tmp_path / "model", b"weights", classes=(HOSTILE, "run"))
    (scored,) = assessment().scored
    found = assessment(
        blessed=False, reasons=(HOSTILE,), sentence=HOSTILE, scored=(dataclasses.replace(scored, name=HOSTILE),)
    )
    data = Data(HOSTILE, "ab", {HOSTILE: 1}, {HOSTILE: 2}, {HOSTILE: 3})
    record = candidate(model, label=HOSTILE, data=data, assessment=found)
    write_candidate(str(tmp_path), record)
    other = candidate(write_model(tmp_path / "other", b"other"))
    write_candidate(str(tmp_path), other)
    shown = [
        vivit("list"),
        vivit("show", record.id),
        vivit("diff", record.id, other.id),
        vivit("list", "--json"),
        vivit("approve", record.id, "--why", "x", status=1),
    ]
    for text in shown:
        assert "script" in text
        assert all(line.isprintable() for line in text.split("\n"))
        assert max(map(len, text.split("\n"))) < 2000
    assert len(shown[0].splitlines()) == 3


def test_a_name_in_wide_letters_keeps_the_columns(vivit, run, tmp_path):
    _, b, _ = run
    write_candidate(str(tmp_path), dataclasses.replace(b, label="夜の動画"))
    header, *lines = vivit("list").splitlines()
    (line,) = [line for line in lines if "夜の動画" in line]
    # Four letters take eight cells.
    assert line.index("the recipe") == header.index("why") - 4
