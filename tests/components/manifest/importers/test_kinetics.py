"""Kinetics in each published layout, with clips as the common downloaders leave them."""

import csv
import dataclasses
import json
import os

import numpy as np
import pytest
import tensorflow as tf

from components.manifest.importers import videos
from components.manifest.importers.annotations import split_of_file
from components.manifest.importers.importing import import_data_set
from components.manifest.table import ManifestError
from tests.components.manifest.folders import make_unlistable
from tests.videos import write_video

KINETICS_400 = """label,youtube_id,time_start,time_end,split,is_cc
air drumming,-aaaaaaaaa1,4,14,train,0
"abseiling",bbbbbbbbbb2,95,105,train,0
abseiling,cccccccccc3,0,10,{val},0
"""
CLIPS = ("-aaaaaaaaa1_000004_000014", "bbbbbbbbbb2_000095_000105", "cccccccccc3_000000_000010")
BARE = (("a", "x", "train"), ("b", "y", "train"), ("a", "z", "val"), ("a", "broken", "train"), ("b", "hangs", "train"))


@pytest.mark.parametrize("val", ["val", "validate", "validation"])
def test_a_csv_gives_its_clips(data_set, val):
    data_set.videos(*(f"{clip}.mp4" for clip in CLIPS))
    loaded = data_set.load("kinetics", data_set.write("train.csv", KINETICS_400.format(val=val)))
    assert loaded.rows["bbbbbbbbbb2_000095_000105"] == {
        "id": "bbbbbbbbbb2_000095_000105",
        "path": "videos/bbbbbbbbbb2_000095_000105.mp4",
        "label": "abseiling",
        "split": "train",
        "group": "bbbbbbbbbb2",
    }
    assert [loaded.splits[clip] for clip in CLIPS] == ["train", "train", "eval"]


def test_clips_are_found_below_folders_of_splits_and_classes_with_any_suffix(data_set):
    data_set.videos(f"train/air drumming/{CLIPS[0]}.mkv", f"train/abseiling/{CLIPS[1]}.webm", f"val/{CLIPS[2]}.MP4")
    loaded = data_set.load("kinetics", data_set.write("train.csv", KINETICS_400.format(val="val")))
    assert len(loaded.rows) == 3


def test_json_gives_the_same_clips_as_csv(data_set):
    data_set.videos(*(f"{clip}.mp4" for clip in CLIPS))
    from_csv = data_set.load("kinetics", data_set.write("train.csv", KINETICS_400.format(val="validate"))).rows

    def video(label, start, subset):
        segment = {"label": label, "segment": [start, start + 10.0]}
        return {"annotations": segment, "duration": 10.0, "subset": subset, "url": "https://example.com"}

    train = {"-aaaaaaaaa1": video("air drumming", 4.0, "train"), "bbbbbbbbbb2": video("abseiling", 95, "train")}
    validate = {"cccccccccc3": video("abseiling", 0, "validate")}
    paths = [data_set.write("train.json", json.dumps(train)), data_set.write("validate.json", json.dumps(validate))]
    assert data_set.load("kinetics", *paths).rows == from_csv


def test_a_test_list_without_labels_is_left_out_and_counted(data_set):
    data_set.videos(*(f"{clip}.mp4" for clip in CLIPS))
    train = data_set.write("train.csv", KINETICS_400.format(val="val"))
    test = data_set.write("test.csv", "youtube_id,time_start,time_end,split\nddddddddddd,49,59,test\n")
    assert data_set.load("kinetics", train, test).imported.left_out == {
        "no class is given": ("ddddddddddd_000049_000059",)
    }


def test_clips_that_are_gone_are_left_out_counted_and_listed(data_set):
    data_set.videos(*(f"{clip}.mp4" for clip in CLIPS))
    gone = "abseiling,eeeeeeeeee5,1,11,train,0\n"
    loaded = data_set.load("kinetics", data_set.write("train.csv", KINETICS_400.format(val="val") + gone))
    assert set(loaded.rows) == set(CLIPS)
    assert loaded.missing.read_text() == f"no video\teeeeeeeeee5_000001_000011\t{data_set.path}/train.csv, row 5\n"


def test_the_list_of_what_is_gone_goes_when_nothing_is(data_set):
    csv = data_set.write("train.csv", KINETICS_400.format(val="val") + "abseiling,eeeeeeeeee5,1,11,train,0\n")
    data_set.videos(*(f"{clip}.mp4" for clip in CLIPS))
    assert data_set.load("kinetics", csv).missing.exists()
    data_set.videos("eeeeeeeeee5_000001_000011.mp4")
    assert not data_set.load("kinetics", csv).missing.exists()


def test_a_file_with_a_bare_id_is_the_clip_if_it_is_no_longer_and_else_its_source(data_set):
    csv = "label,youtube_id,time_start,time_end,split\na,short,1,2,train\nb,long,1,2,train\na,also,3,4,val\n"
    data_set.videos("short.mp4", "also.mp4")
    write_video(data_set.path / "videos" / "long.mp4", np.zeros((40, 32, 48, 3), np.uint8), fps=10)
    rows = data_set.load("kinetics", data_set.write("all.csv", csv)).rows
    assert {id: (row.get("start"), row.get("end")) for id, row in rows.items()} == {
        "short_000001_000002": (None, None),
        "long_000001_000002": ("1", "2"),
        "also_000003_000004": (None, None),
    }


def test_a_remote_clip_with_a_bare_id_is_distinguished_from_its_source(data_set):
    text = "label,youtube_id,time_start,time_end,split\na,x,1,2,train\nb,y,1,2,train\na,z,1,2,val\n"
    annotations = data_set.write("all.csv", text)
    data_set.videos("x.mp4", "y.mp4", "z.mp4")
    for name in ("x.mp4", "y.mp4", "z.mp4"):
        tf.io.gfile.copy(str(data_set.path / "videos" / name), f"ram://bare/{name}", overwrite=True)
    output = data_set.path / "manifest.csv"
    import_data_set("kinetics", [annotations], videos="ram://bare", output=str(output))
    assert [(row["start"], row["end"]) for row in csv.DictReader(output.open())] == [("", "")] * 3


def test_a_file_with_a_bare_id_is_left_out_where_it_states_no_duration(data_set, monkeypatch):
    # Either would be a guess: the clip, or its source.
    monkeypatch.setattr(videos, "_PROBING", dataclasses.replace(videos._PROBING, max_seconds=3))
    text = "".join(f"{label},{id},1,2,{split}\n" for label, id, split in BARE)
    data_set.videos("x.mp4", "y.mp4", "z.mp4")
    data_set.write("videos/broken.mp4", "no video")
    os.mkfifo(data_set.path / "videos" / "hangs.mp4")
    loaded = data_set.load("kinetics", data_set.write("all.csv", "label,youtube_id,time_start,time_end,split\n" + text))
    reason = "its video states no duration: the clip, or its source?"
    assert loaded.imported.left_out == {reason: ("broken_000001_000002", "hangs_000001_000002")}


def test_a_source_in_two_splits_keeps_them_and_is_reported(data_set):
    csv = "label,youtube_id,time_start,time_end,split\na,x,1,2,train\nb,y,1,2,train\na,x,5,6,val\n"
    data_set.videos("x_000001_000002.mp4", "y_000001_000002.mp4", "x_000005_000006.mp4")
    loaded = data_set.load("kinetics", data_set.write("all.csv", csv))
    assert loaded.splits == {"x_000001_000002": "train", "x_000005_000006": "eval", "y_000001_000002": "train"}
    assert loaded.imported.notes == ("1 source(s) have clips in several splits of the publisher: a group in each",)


def test_an_uncut_source_in_two_splits_keeps_them(data_set):
    csv = "label,youtube_id,time_start,time_end,split\na,x,0,1,train\nb,y,1,2,train\na,x,2,3,val\n"
    data_set.videos("y_000001_000002.mp4")
    write_video(data_set.path / "videos" / "x.mp4", np.zeros((40, 32, 48, 3), np.uint8), fps=10)
    loaded = data_set.load("kinetics", data_set.write("all.csv", csv))
    assert loaded.splits == {"x_000000_000001": "train", "x_000002_000003": "eval", "y_000001_000002": "train"}


def test_clips_of_a_class_that_has_lost_its_training_videos_are_left_out(data_set):
    csv = "label,youtube_id,time_start,time_end,split\na,x,1,2,train\nb,y,1,2,train\na,z,5,6,val\nc,w,1,2,val\n"
    data_set.videos(
        *(f"{id}.mp4" for id in ("x_000001_000002", "y_000001_000002", "z_000005_000006", "w_000001_000002"))
    )
    loaded = data_set.load("kinetics", data_set.write("all.csv", csv))
    assert loaded.imported.left_out == {"its class has no training clip": ("w_000001_000002",)}


def test_a_manifest_that_lacks_a_split_is_refused_with_what_was_left_out(data_set):
    csv = data_set.write("train.csv", KINETICS_400.format(val="val"))
    data_set.videos(*(f"{clip}.mp4" for clip in CLIPS[:2]))
    assert data_set.problems("kinetics", csv) == [
        "no clip in split 'eval': add clips, or name the splits in a column 'split'",
        "1 clip(s) left out, no video: manifest.csv.missing.txt",
    ]


def test_a_row_that_stands_twice_is_taken_once(data_set):
    data_set.videos(*(f"{clip}.mp4" for clip in CLIPS))
    text = KINETICS_400.format(val="val")
    loaded = data_set.load("kinetics", data_set.write("train.csv", text + text.splitlines()[1] + "\n"))
    assert len(loaded.rows) == 3
    assert loaded.imported.left_out == {"stands twice": (CLIPS[0],)}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("jogging,-aaaaaaaaa1,4,14,train", "stands already, with another class"),
        ("air drumming,-aaaaaaaaa1,4,14,val", "stands already, in another split"),
    ],
)
def test_a_clip_that_stands_twice_otherwise_is_taken_as_it_stands_first(data_set, row, reason):
    data_set.videos(*(f"{clip}.mp4" for clip in CLIPS))
    csv = data_set.write("train.csv", KINETICS_400.format(val="val") + row + ",0\n")
    loaded = data_set.load("kinetics", csv)
    assert (loaded.rows[CLIPS[0]]["label"], loaded.splits[CLIPS[0]]) == ("air drumming", "train")
    assert loaded.imported.left_out == {reason: (CLIPS[0],)}
    assert loaded.missing.read_text() == f"{reason}\t{CLIPS[0]}\t{csv}, row 5\n"


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("a,x,soon,2,train", "train.csv, row 5: time_start 'soon' is not a time in seconds"),
        ("a,x,,2,train", "train.csv, row 5: a clip has a time_start and a time_end"),
        ("a,,1,2,train", "train.csv, row 5: column 'youtube_id' is empty"),
        ("a,x,1,2,holdout", "train.csv, row 5: split 'holdout'; wanted train, validate, val or test"),
    ],
)
def test_a_row_that_cannot_be_read_is_reported(data_set, row, problem):
    data_set.videos(*(f"{clip}.mp4" for clip in CLIPS))
    csv = data_set.write("train.csv", KINETICS_400.format(val="val") + row + ",0\n")
    assert problem in data_set.problems("kinetics", csv)


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("retrieval_train.csv", "train"),
        ("latest_train.csv", "train"),
        ("trainingSet.csv", "train"),
        ("K400_VAL.csv", "eval"),
        ("k400vallist.csv", "eval"),
        ("contest_testing.csv", "test"),
    ],
)
def test_a_file_is_for_the_split_that_a_word_of_its_name_says(name, split):
    assert split_of_file(f"train/{name}") == split


@pytest.mark.parametrize(
    ("name", "said"),
    [("train_val.csv", "its name says train and val"), ("latest.csv", "its name says no split")],
)
def test_a_file_whose_name_says_no_split_or_two_is_refused(name, said):
    with pytest.raises(ManifestError, match=f"{said}; wanted one of train, val and test in it"):
        split_of_file(name)


def test_a_file_that_is_no_kinetics_is_reported(data_set):
    other = data_set.write("train.csv", "path,label\na.mp4,run\n")
    assert "missing column 'youtube_id'; it has path, label" in data_set.problems("kinetics", other)
    assert data_set.problems("kinetics", data_set.write("train.json", "[1]")) == ["it is not an object by YouTube id"]
    (problem,) = data_set.problems("kinetics", data_set.write("val.json", '{"abc": {"annotations": {"label": "x"}}}'))
    assert problem.startswith("'abc' has no annotations with a segment of two times")
    (problem,) = data_set.problems("kinetics", data_set.write("cut.json", '{"abc": '))
    assert problem.startswith("it is not JSON: ")
    (problem,) = data_set.problems("kinetics", str(data_set.path / "gone.csv"))
    assert problem.startswith("cannot read it: ")


def test_two_files_with_the_name_of_one_clip_are_reported(data_set):
    data_set.videos(f"train/{CLIPS[0]}.mp4", f"replaced/{CLIPS[0]}.mp4", f"{CLIPS[1]}.mp4", f"{CLIPS[2]}.mp4")
    (problem,) = data_set.problems("kinetics", data_set.write("train.csv", KINETICS_400.format(val="val")))
    both = f"replaced/{CLIPS[0]}.mp4, train/{CLIPS[0]}.mp4"
    assert problem == f"train.csv, row 2: several videos are called so: {both}; leave one of them"


def test_the_replacement_of_a_corrupted_clip_is_taken_and_reported(data_set):
    replacement = f"replacement/replacement_for_corrupted_k400/{CLIPS[0]}.mp4"
    data_set.videos(*(f"train/{clip}.mp4" for clip in CLIPS), replacement)
    loaded = data_set.load("kinetics", data_set.write("train.csv", KINETICS_400.format(val="val")))
    assert loaded.rows[CLIPS[0]]["path"] == f"videos/{replacement}"
    assert loaded.imported.notes == ("1 clip(s) have a second video below replacement_for_corrupted…, which is taken",)


def test_a_video_whose_path_cannot_be_written_is_left_out(data_set):
    data_set.videos(*(f"{clip}.mp4" for clip in CLIPS))
    data_set.videos("other_000001_000002.mp4")
    other = "air drumming,other,1,2,train,0\n"
    folder = os.fsencode(data_set.path / "videos")
    os.mkdir(folder + b"/\xff")
    os.rename(folder + f"/{CLIPS[0]}.mp4".encode(), folder + b"/\xff" + f"/{CLIPS[0]}.mp4".encode())
    loaded = data_set.load("kinetics", data_set.write("train.csv", KINETICS_400.format(val="val") + other))
    assert loaded.imported.left_out == {"the path of its video is not UTF-8": (CLIPS[0],)}


def test_folders_that_are_not_listed_are_reported(data_set):
    data_set.videos(*(f"{clip}.mp4" for clip in CLIPS))
    folder = data_set.path / "videos"
    make_unlistable(folder)
    loaded = data_set.load("kinetics", data_set.write("train.csv", KINETICS_400.format(val="val")))
    (note,) = loaded.imported.notes
    assert note.startswith(f"1 folder(s) of {folder} are not listed: ddd")
    assert note.endswith("ddd (File name too long)")


def test_a_folder_without_any_of_the_videos_is_reported(data_set):
    data_set.videos("other.mp4")
    (problem,) = data_set.problems("kinetics", data_set.write("train.csv", KINETICS_400.format(val="val")))
    assert problem == "3 left out, no video among the 1 in videos"
