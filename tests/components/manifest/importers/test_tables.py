"""Our own tables, and a folder per class, written out as one manifest."""

import csv
import json
import time

from components.manifest.importers import FORMATS
from components.manifest.importers.importing import READERS, import_data_set
from components.manifest.importers.videos import VideoFolder


def test_tables_are_joined_with_every_column(data_set):
    data_set.videos("a.mp4", "b.mp4", "sub/c.mp4")
    train = data_set.write(
        "t.csv", "path,label/verb,start,end,split,camera\na.mp4,cut,0.2,0.8,train,left\nb.mp4,mix,,,train,\n"
    )
    row = {"path": "c.mp4", "label/verb": "cut", "split": "val", "group": "g"}
    loaded = data_set.load("table", train, data_set.write("v.jsonl", json.dumps(row)))
    assert loaded.rows == {
        "a.mp4@0.2-0.8": {
            "path": "videos/a.mp4",
            "label/verb": "cut",
            "start": "0.2",
            "end": "0.8",
            "split": "train",
            "group": "a.mp4",
            "id": "a.mp4@0.2-0.8",
            "camera": "left",
        },
        "b.mp4": {"path": "videos/b.mp4", "label/verb": "mix", "split": "train", "group": "b.mp4", "id": "b.mp4"},
        "sub/c.mp4": {
            "path": "videos/sub/c.mp4",
            "label/verb": "cut",
            "split": "eval",
            "group": "g",
            "id": "sub/c.mp4",
        },
    }


def test_columns_of_tables_are_understood_as_in_any_manifest(data_set):
    data_set.videos("a.mp4", "b.mp4", "c.mp4")
    rows = "a.mp4,x,0.1,0.9,train\nb.mp4,y,,,train\nc.mp4,x,,,val\n"
    table = data_set.write("t.csv", f"File Name,Class,start_time,End,Split\n{rows}")
    loaded = data_set.load("table", table)
    assert loaded.splits == {"a.mp4@0.1-0.9": "train", "b.mp4": "train", "c.mp4": "eval"}
    names = "'File Name' as 'path', 'Class' as 'label', 'start_time' as 'start', 'End' as 'end', 'Split' as 'split'"
    assert loaded.imported.notes == (f"{table}: columns are read in our names: {names}",)
    table = data_set.write("t.csv", f"path,label,start_frame,end_frame,split\n{rows}")
    assert [problem.split(",")[0] for problem in data_set.problems("table", table)] == [
        "column 'start_frame' is in frames",
        "column 'end_frame' is in frames",
    ]


def test_a_whole_path_goes_before_its_last_part(data_set):
    data_set.videos("a.mp4", "sub/a.mp4", "b.mp4")
    table = data_set.write("t.csv", "path,label,split\na.mp4,x,train\nb.mp4,y,train\nsub/a.mp4,x,eval\n")
    assert {row["path"] for row in data_set.load("table", table).rows.values()} == {
        "videos/a.mp4",
        "videos/sub/a.mp4",
        "videos/b.mp4",
    }


def test_a_thousand_videos_of_one_name_are_found_at_once(data_set):
    for number in range(2000):
        data_set.write(f"videos/{number}/video.avi", "")
    started = time.process_time()
    folder = VideoFolder(str(data_set.path / "videos"))
    assert [folder.find(f"{n}/video.mp4") for n in range(2000)] == [[f"{n}/video.avi"] for n in range(2000)]
    assert time.process_time() - started < 0.5


def test_rows_of_a_table_that_cannot_be_used_are_reported(data_set):
    table = data_set.write("t.csv", "path,label,start,split\na.mp4,x,soon,train\nb.mp4,x,,holdout\n")
    assert data_set.problems("table", table) == [
        "t.csv, row 2: start 'soon' is not a time in seconds",
        "t.csv, row 3: split 'holdout'; wanted train, eval, test or nothing",
    ]


def test_a_folder_per_class_is_its_own_folder_of_videos(data_set):
    data_set.videos("train/run/1.mp4", "train/jump/2.mp4", "val/run/3.mp4")
    folder = data_set.path / "videos"
    (folder / "notes.txt").write_text("")
    imported = import_data_set("folder", [str(folder)], videos=None, output=str(data_set.path / "m.csv"))
    assert {clip.id: (clip.split, clip.labels["label"]) for clip in imported.manifest.clips} == {
        "train/run/1.mp4": ("train", "run"),
        "train/jump/2.mp4": ("train", "jump"),
        "val/run/3.mp4": ("eval", "run"),
    }
    assert imported.notes == (f"1 file(s) and folder(s) of {folder} were left alone: notes.txt",)


def test_several_folders_are_joined(data_set):
    data_set.videos("A/train/run/1.mp4", "A/train/jump/2.mp4", "B/val/run/1.mp4", "B/train/run/1.mp4")
    roots = [f"{data_set.path}/videos/A", f"{data_set.path}/videos/B/"]
    output = data_set.path / "m.csv"
    imported = import_data_set("folder", roots, videos=None, output=str(output))
    found = {clip.id.removeprefix(f"{data_set.path}/videos/"): clip.split for clip in imported.manifest.clips}
    assert found == {
        "A/train/run/1.mp4": "train",
        "A/train/jump/2.mp4": "train",
        "B/val/run/1.mp4": "eval",
        "B/train/run/1.mp4": "train",
    }
    assert {clip.path for clip in imported.manifest.clips} == {f"{data_set.path}/videos/{name}" for name in found}


def test_a_path_of_a_table_is_one_from_the_table_first(data_set):
    data_set.videos("A/x.mp4", "A/y.mp4", "B/x.mp4", "C/z.mp4")
    first = data_set.write("videos/A/t.csv", "path,label,split\n./x.mp4,run,train\ny.mp4,run,eval\n")
    second = data_set.write("videos/B/t.csv", "path,label,split\nx.mp4,jump,train\n../C/z.mp4,jump,eval\n")
    output = data_set.path / "m.csv"
    for videos in (None, str(data_set.path / "videos")):
        imported = import_data_set("table", [first, second], videos=videos, output=str(output))
        rows = csv.DictReader(output.open())
        assert [(row["path"], row["label"]) for row in rows] == [
            ("videos/A/x.mp4", "run"),
            ("videos/A/y.mp4", "run"),
            ("videos/B/x.mp4", "jump"),
            ("videos/C/z.mp4", "jump"),
        ]
        assert imported.left_out == {}


def test_a_video_that_is_missing_beside_its_table_is_not_taken_from_another(data_set):
    data_set.videos("A/x.mp4", "A/y.mp4", "B/z.mp4")
    first = data_set.write("videos/A/t.csv", "path,label,split\nx.mp4,run,train\ny.mp4,run,eval\n")
    second = data_set.write("videos/B/t.csv", "path,label,split\ny.mp4,jump,eval\nz.mp4,jump,train\n")
    imported = import_data_set("table", [first, second], videos=None, output=str(data_set.path / "m.csv"))
    assert imported.left_out == {"no video": ("y.mp4",)}


def test_paths_of_videos_elsewhere_are_whole(data_set):
    data_set.videos("train/run/1.mp4", "train/jump/2.mp4", "val/run/3.mp4")
    output = data_set.path / "elsewhere" / "m.csv"
    output.parent.mkdir()
    imported = import_data_set("folder", [str(data_set.path / "videos")], videos=None, output=str(output))
    assert str(data_set.path / "videos" / "train/run/1.mp4") in output.read_text()
    assert {clip.id for clip in imported.manifest.clips} == {"train/run/1.mp4", "train/jump/2.mp4", "val/run/3.mp4"}


def test_the_command_line_offers_every_reader():
    assert tuple(READERS) == FORMATS
