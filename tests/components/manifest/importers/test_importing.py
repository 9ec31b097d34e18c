"""What holds for every import: where it writes, and what it refuses before it does."""

import json
import os

import pytest

from components.manifest.importers.importing import import_data_set
from components.manifest.table import ManifestError

TABLE = "path,label,split\na.mp4,run,train\nb.mp4,jump,train\nc.mp4,run,eval\n"


@pytest.fixture
def table(data_set):
    data_set.videos("a.mp4", "b.mp4", "c.mp4")
    return data_set.write("t.csv", TABLE)


def refusal(data_format, annotations, **options):
    with pytest.raises(ManifestError) as caught:
        import_data_set(data_format, annotations, **options)
    (problem,) = caught.value.problems
    return problem


def test_an_import_that_is_refused_leaves_the_manifest_before_it(data_set, table):
    data_set.load("table", table)
    before = (data_set.path / "manifest.csv").read_bytes()
    data_set.write("t.csv", TABLE.replace("eval", "train"))
    assert data_set.problems("table", table)[0].startswith("no clip in split 'eval'")
    assert (data_set.path / "manifest.csv").read_bytes() == before
    names = {"t.csv", "videos", "manifest.csv", "manifest.csv.classes.txt"}
    assert set(os.listdir(data_set.path)) == names


def test_the_folder_of_the_output_is_made(data_set, table):
    output = data_set.path / "new" / "folder" / "m.csv"
    import_data_set("table", [table], videos=str(data_set.path / "videos"), output=str(output))
    assert output.exists()


def test_what_is_read_is_not_written_over(data_set, table):
    output = f"{data_set.path}/videos/../t.csv"
    assert refusal("table", [table], videos=str(data_set.path / "videos"), output=output).startswith(
        "it is one of the files to read"
    )
    assert (data_set.path / "t.csv").read_text() == TABLE


def test_a_folder_in_the_place_of_annotations_is_reported(data_set, table):
    folder, output = str(data_set.path / "videos"), str(data_set.path / "m.csv")
    for data_format in ("kinetics", "ucf101", "table"):
        problem = refusal(data_format, [folder], videos=None, output=output)
        assert problem.startswith("it is a folder; wanted annotation files")


def test_folders_that_are_empty_or_not_there_are_reported(data_set, table):
    (data_set.path / "empty").mkdir()
    empty, gone, output = (str(data_set.path / name) for name in ("empty", "gone", "m.csv"))
    assert refusal("folder", [empty], videos=None, output=output).startswith("it has no video below a folder of its")
    assert refusal("folder", [gone], videos=None, output=output) == "no such folder"
    assert refusal("table", [table], videos=gone, output=output) == "no such folder"


def test_a_clip_without_a_class_of_each_head_is_left_out(data_set, table):
    data_set.videos("d.mp4")
    rows = ["a.mp4,cut,egg,train", "b.mp4,mix,jam,train", "c.mp4,cut,egg,eval", "d.mp4,cut,,train"]
    table = data_set.write("t.csv", "path,label/verb,label/noun,split\n" + "\n".join(rows))
    loaded = data_set.load("table", table)
    assert loaded.imported.left_out == {"no class of noun is given": ("d.mp4",)}
    assert loaded.missing.read_text().endswith("/t.csv, row 5\n")


def test_a_file_that_stands_under_two_spellings_is_taken_once(data_set, table):
    data_set.write("t.csv", TABLE + "./a.mp4,jump,train\nvideos/b.mp4,jump,train\n")
    assert data_set.load("table", table).imported.left_out == {
        "stands already, with another class": ("./a.mp4",),
        "stands twice": ("videos/b.mp4",),
    }


def test_a_row_without_a_path_is_left_out(data_set, table):
    data_set.write("t.csv", TABLE + ",jump,train\n")
    assert data_set.load("table", table).imported.left_out == {"its path is empty": ("",)}


def test_a_row_of_json_without_the_key_of_a_path_is_left_out(data_set):
    rows = [{"path": "a.mp4", "label": "run", "split": "train"}, {"label": "run"}]
    rows += [{"path": "b.mp4", "label": "jump", "split": "train"}, {"path": "c.mp4", "label": "run", "split": "eval"}]
    data_set.videos("a.mp4", "b.mp4", "c.mp4")
    table = data_set.write("t.jsonl", "\n".join(map(json.dumps, rows)))
    assert data_set.load("table", table).imported.left_out == {"its path is empty": ("",)}
