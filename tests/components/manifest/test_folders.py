"""What folders mean: where the class and the split stand, and which layouts are refused since they could be another."""

import pytest

from components.manifest.folders import LayoutError, read_layout
from components.manifest.reader import read_manifest
from components.manifest.table import ManifestError
from tests.components.manifest.folders import make_unlistable


def videos(*folders):
    """Two videos in each folder."""
    return [f"{folder}/{number}.mp4" for folder in folders for number in range(2)]


def each(tops, inner):
    return [f"{top}/{name}" for top in tops for name in inner]


CLASSES = ("run", "jump")


@pytest.mark.parametrize(
    ("folders", "layout"),
    [
        (CLASSES, "<class>/<video>"),
        (each(CLASSES, ["2023", "2024"]), "<class>/<video>"),
        (each(["train", "val"], CLASSES), "<split>/<class>/<video>"),
        (each(["train_256", "val_256"], CLASSES), "<split>/<class>/<video>"),
        (each(["Train256", "Test256"], CLASSES), "<split>/<class>/<video>"),
        (each(["trainset", "testset"], CLASSES), "<split>/<class>/<video>"),
        (each(["trainlist", "test"], CLASSES), "<split>/<class>/<video>"),
        (each(["kinetics400-train", "kinetics400-validation"], CLASSES), "<split>/<class>/<video>"),
        (each(["training_videos", "dev_videos"], CLASSES), "<split>/<class>/<video>"),
        (each(["train_part1", "train_part2", "val_part1"], CLASSES), "<split>/<class>/<video>"),
        (each(["videos"], CLASSES), "*/<class>/<video>"),
        (each(["data/videos"], CLASSES), "*/*/<class>/<video>"),
        (each(["videos"], each(["train", "val"], CLASSES)), "*/<split>/<class>/<video>"),
        (each(["train/clips", "val/clips"], CLASSES), "<split>/*/<class>/<video>"),
        (each(CLASSES, ["train", "val"]), "<class>/<split>/<video>"),
        (each(CLASSES, ["Train_1", "Test_1"]), "<class>/<split>/<video>"),
        (each(["videos"], each(CLASSES, ["train", "val"])), "*/<class>/<split>/<video>"),
        # Trains are vehicles, too; and words that only begin like a split are classes.
        (["bus", "car", "train"], "<class>/<video>"),
        (["test_drive", "train_station", "training_dogs"], "<class>/<video>"),
        (["valid", "invalid"], "<class>/<video>"),
        (["part1", "part2"], "<class>/<video>"),
    ],
)
def test_classes_and_splits_are_found_where_they_can_stand_in_one_way_only(folders, layout):
    assert str(read_layout(videos(*folders))) == layout


@pytest.mark.parametrize(
    ("folders", "doubt"),
    [
        (each(["train", "val", "extra"], CLASSES), "splits (train/, val/) stand beside classes (extra/)"),
        (["train_256/run", "run", "jump"], "splits (train_256/) stand beside classes (jump/, run/)"),
        ([*CLASSES, "train_videos"], "splits (train_videos/) stand beside classes (jump/, run/)"),
        (["train/run", "run", "jump"], "splits (train/) stand beside classes (jump/, run/)"),
        (
            ["train_run", "train_jump", "val_run", "val_jump"],
            "splits (train_jump/, train_run/, val_jump/, …) name more than a split",
        ),
        (
            each(["fold1", "fold2"], CLASSES),
            "folders of folds or splits (fold1/, fold2/) are neither classes nor train, eval and test",
        ),
        (each(["split_1", "split_2", "split_3", "split_4"], CLASSES), "(split_1/, split_2/, split_3/, …) are neither"),
        (each(["fold1", "fold2"], each(["train", "val"], CLASSES)), "(fold1/, fold2/) are neither"),
        (each(["train", "val"], each(["fold1", "fold2"], CLASSES)), "(fold1/, fold2/) are neither"),
        (each(CLASSES, ["fold 1", "fold 2"]), "(fold 1/, fold 2/) are neither"),
        (
            each(["part1", "part2"], CLASSES),
            "parts of the data (part1/, part2/) are no classes",
        ),
        (["run/train", "run/val", "jump"], "splits (train/, val/) are those of some videos only"),
        (["run/train", "run/val", "jump/train", "jump/other"], "splits (train/, val/) are those of some videos only"),
        (each(CLASSES, each(["monday"], ["train", "val"])), "splits (train/, val/) are those of some videos only"),
    ],
)
def test_a_layout_that_could_mean_something_else_is_refused(folders, doubt):
    with pytest.raises(LayoutError) as caught:
        read_layout(videos(*folders))
    assert doubt in str(caught.value)
    assert "; found " in str(caught.value)
    assert "; wanted <class>/<video>, or train/<class>/<video> and val/<class>/<video>" in str(caught.value)


def test_what_was_found_is_drawn_level_by_level():
    with pytest.raises(LayoutError, match=r"; found \{fold1,fold2,fold3,…\}/\{jump,run\}/<video>; wanted "):
        read_layout(videos(*each(["fold1", "fold2", "fold3", "fold4"], CLASSES)))


def test_splits_below_a_folder_or_below_the_classes_are_those_of_the_clips(folder):
    for path in videos("set/run/train", "set/run/val", "set/jump/train"):
        folder.write(f"all/{path}")
    manifest = read_manifest(folder.path / "all")
    assert {(clip.labels["label"], clip.split, clip.id.split("/")[2]) for clip in manifest.clips} == {
        ("run", "train", "train"),
        ("run", "eval", "val"),
        ("jump", "train", "train"),
    }
    assert manifest.notes == ("folders are read as */<class>/<split>/<video>",)


def test_splits_without_classes_are_no_data_set(folder):
    for path in videos("set/train", "set/val"):
        folder.write(path)
    with pytest.raises(ManifestError, match=r"no folders of classes .* the splits; found \{train,val\}/<video>;"):
        read_manifest(folder.path / "set")


def test_folders_that_stand_in_each_class_are_noted_as_they_may_be_the_classes(folder):
    for path in videos(*each(["train", "val"], each(["kitchen", "garage"], CLASSES))):
        folder.write(f"set/{path}")
    notes = read_manifest(folder.path / "set").notes
    assert notes == ("the same folders stand in each class and say nothing: jump/, run/",)


@pytest.mark.parametrize(
    "left",
    [
        *("@eaDir", "#recycle", "@Recycle", "$RECYCLE.BIN", "$Recycle.Bin", "System Volume Information", "RECYCLER"),
        *("__MACOSX", ".Trashes", ".Trash-1000", ".fseventsd", "lost+found", "val/run/@eaDir", "train/.thumbnails"),
    ],
)
def test_what_systems_leave_behind_is_neither_a_class_nor_a_video(folder, left):
    videos = ["train/jump/1.mp4", "train/run/2.mp4", "val/run/3.mp4"]
    for path in (*videos, f"{left}/4.mp4", f"{left}/5.mp4/preview.jpg", "train/run/Thumbs.db"):
        folder.write(f"set/{path}")
    (folder.path / "set" / left / "6.mp4").mkdir()
    manifest = read_manifest(folder.path / "set")
    assert [clip.id for clip in manifest.clips] == videos
    assert f"{left}/4.mp4" in manifest.ignored


def test_a_waste_bin_that_cannot_be_listed_does_not_matter(folder):
    for path in ("train/jump/1.mp4", "train/run/2.mp4", "val/run/3.mp4", "$RECYCLE.BIN/4.mp4"):
        folder.write(f"set/{path}")
    make_unlistable(folder.path / "set" / "$RECYCLE.BIN")
    assert len(read_manifest(folder.path / "set").clips) == 3
