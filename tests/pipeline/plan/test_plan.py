"""The plan of a run as it is shown, by every command that has one."""

import html
import shutil

import pytest

from pipeline.cli import main
from pipeline.plan.plan import class_table
from tests.videos import write_colour_classes


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_colour_classes(tmp_path_factory.mktemp("colours"), per_class=4)


@pytest.fixture
def table(folder):
    """A manifest with names and columns of other people, and a file that is not there."""
    names = {"red": "left", "green": "right", "blue": "Left"}
    rows = [
        f"{color}/0{n}.mp4,{names[color]},{'val' if n == 3 else 'train'},{'sun' if n % 2 else 'rain'},s{n}"
        for color in names
        for n in range(4)
    ]
    manifest = folder / "m.csv"
    manifest.write_text("\n".join(["File,Class,Split,weather,site", *rows, "gone.mp4,left,train,sun,s0"]))
    return manifest


PLAN = """Plan
  clips     13 (10 train, 3 eval)
  classes   label: 3  train  eval
            left          4     1
            Left          3     1
            right         3     1
  slices    weather (2 values)
  weights   none: from scratch, 3 clips a class hardly beat chance; start from an image ViT with --set
              model.init_from=FILE, see docs/few-clips.md
  read      columns are read in our names: 'File' as 'path', 'Class' as 'label', 'Split' as 'split'
  left out  columns not named in data.heads or data.slices: site
            1 clip(s) whose file cannot be read go to the quarantine: gone.mp4 (cannot open it: No such file or
              directory)
  odd       label: 'Left' (4) and 'left' (5) differ in case, blanks or signs only: give them one name if they
              are one class
            label: 'Left', 'left', 'right' may be mirror images of each other, and augment.flip=0.5 mirrors
              clips without changing their class: set augment.flip=0
            label: 3 of 3 classes have fewer than 10 clips in train ('Left' 3), so they are hardly learnt: add
              clips, or move some in column 'split'
            label: 3 of 3 classes have fewer than 10 clips in eval ('Left' 1), so figures by class are rough:
              add clips, or move some in column 'split'
            12 of 12 clips whose length is known are shorter than the 4.88 s of a view, and start again within
              it: lower clip.stride=4 (clip.num_frames=16, ingest.fps=12.5)
"""
SETTINGS = ("train.batch_size=4", "data.slices=weather", "clip.stride=4", "ingest.max_bad_fraction=0.5")


@pytest.mark.parametrize("command", ["prepare", "check"])
def test_every_command_shows_the_plan_before_anything_is_decoded(table, tmp_path, capfd, command):
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    places = {
        "prepare": ["--data", str(table), "--workdir", str(tmp_path / "run")],
        "check": [str(table), "--html", str(tmp_path / "page.html")],
    }
    assert main([command, *places[command], *settings]) == int(command == "check")
    out = capfd.readouterr().out
    assert PLAN in out
    if command == "check":
        assert out.index(PLAN) < out.index("verdict")
        page = html.unescape((tmp_path / "page.html").read_text())
        assert "augment.flip=0.5 mirrors clips without changing their class" in page
        assert '<tr><td>right<td class="number">3<td class="number">1</tr>' in page


def test_of_many_classes_the_largest_and_the_smallest_are_shown():
    classes = {f"class {n:03d}": {"train": 1000 - n, "eval": 10} for n in range(400)}
    assert class_table("label", classes, ["train", "eval"]) == [
        "label: 400  train  eval",
        "class 000   1,000    10",
        "class 001     999    10",
        "class 002     998    10",
        "class 003     997    10",
        "… 392 more",
        "class 396     604    10",
        "class 397     603    10",
        "class 398     602    10",
        "class 399     601    10",
    ]


def test_a_folder_that_run_would_refuse_is_checked_and_says_so(folder, tmp_path, capfd):
    for fold in ("fold1", "fold2"):
        shutil.copytree(folder, tmp_path / fold)
    assert main(["check", str(tmp_path), "--set", "ingest.short_side=32"]) == 0
    out = capfd.readouterr().out
    assert "24 clips: 24 good, 0 bad" in out
    assert f"vivit run would refuse {tmp_path}: 1 problem(s)\n  - folders of folds or splits (fold1/" in out
