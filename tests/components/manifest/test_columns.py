"""The names of columns: what people call ours is understood, what only looks so is refused, the rest is a slice."""

import dataclasses
import json

import pytest

from components.manifest.columns import meaning_of
from components.manifest.reader import read_manifest
from components.manifest.table import ManifestError

PLAIN = "path,label,start,end,split,group\na.mp4,run,1,2,train,p\nb.mp4,jump,1,2,train,q\nc.mp4,run,1,2,eval,r\n"


def problem_of(source, **options):
    with pytest.raises(ManifestError) as caught:
        read_manifest(source, **options)
    (problem,) = caught.value.problems
    return problem


def table(header, values=("1", "2", "3")):
    """A good table with one more column."""
    rows = [f"a.mp4,run,{values[0]}", f"b.mp4,jump,{values[1]}", f"c.mp4,run,{values[2]}", "d.mp4,jump,"]
    return "\n".join([f"path,label,{header}", *rows])


@pytest.mark.parametrize(
    "header",
    [
        "Path,Label,Start,End,Split,Group",
        "VIDEO,CLASS,START_TIME,END_TIME,SPLIT,GROUP",
        "filename,class_name,start time,end time,split,group_id",
        "video_path,labelName,startTime,endTime,data-split,groupId",
        "file,Class Label,t_start,t_end,split,group",
        "video file,labels,begin,stop,split,group",
        "file_path,label_name,clip_start_sec,clip_stop_sec,split_name,group",
        "relpath,class,begin_sec,finish_sec,split,group",
        "\ufeffVideo Path ,label, start (s),end (s),split,group",
        "path,label/label,start_seconds,end_seconds,splits,groups",
    ],
)
def test_usual_names_in_any_case_are_those_of_our_columns(folder, header):
    plain = read_manifest(folder.write("plain.csv", PLAIN))
    read = read_manifest(folder.write("m.csv", PLAIN.replace(PLAIN.split("\n")[0], header)))
    assert (read.clips, read.slices) == (plain.clips, ())
    ours = PLAIN.split("\n")[0].split(",")
    written = [column.strip() for column in header.removeprefix("\ufeff").split(",")]
    renamed = ", ".join(f"{name!r} as {our!r}" for name, our in zip(written, ours, strict=True) if name != our)
    assert read.notes == (f"columns are read in our names: {renamed}",)


def test_heads_are_found_in_any_case_and_keep_theirs(folder):
    header = "path,Label/verb,CLASS/Noun,split"
    text = f"{header}\na.mp4,cut,egg,train\nb.mp4,mix,jar,train\nc.mp4,cut,jar,eval\n"
    assert read_manifest(folder.write("m.csv", text)).heads == ("verb", "Noun")


@pytest.mark.parametrize(
    "column",
    ["camera", "fps", "num_frames", "startup", "start_x", "ending", "category", "label_id", "spin"],
)
def test_other_names_are_slices(folder, column):
    assert meaning_of(column) is None
    assert read_manifest(folder.write("m.csv", PLAIN.replace("group", column))).slices == (column,)


def test_two_columns_of_one_meaning_are_refused_by_their_names(folder):
    text = PLAIN.replace("group", "Start_Time")
    assert problem_of(folder.write("m.csv", text)) == (
        "columns 'start' and 'Start_Time' both mean 'start': leave one of them, or rename it"
    )
    lines = [{"path": "a.mp4", "label": "run"}, {"path": "b.mp4", "Label": "jump"}]
    source = folder.write("m.jsonl", "\n".join(map(json.dumps, lines)))
    assert problem_of(source).startswith("columns 'label' and 'Label' both mean 'label'")


@pytest.mark.parametrize(
    ("column", "values", "problem"),
    [
        ("splt", ("train", "eval", "train"), "looks like 'split': rename it"),
        ("spilt", ("a", "b", "c"), "looks like 'split': rename it"),
        ("goup", ("p", "q", "r"), "looks like 'group': rename it"),
        ("strat", ("1", "2", "3"), "looks like 'start': rename it"),
        ("edn", ("1", "2.5", "3"), "looks like 'end': rename it"),
        ("lable/verb", ("cut", "mix", "cut"), "looks like 'label/verb': rename it"),
        ("subset", ("training", "validation", "training"), "holds 'training' and 'validation': rename it to 'split'"),
        ("phase", ("train", "test", "holdout"), "holds 'test' and 'train': rename it to 'split'"),
        ("is_train", ("1", "0", "1"), "says yes or no to a split: give one column 'split' with train, eval or test"),
        ("Test", ("no", "yes", "no"), "says yes or no to a split: give one column 'split' with train, eval or test"),
        ("from", ("0.5", "1", "2"), "looks like a time: give 'start' in seconds"),
        ("to", ("0.5", "1", "2"), "looks like a time: give 'end' in seconds"),
        (
            "segment",
            ("0-1", "1.5-2", "3 - 4"),
            "holds two times: give them as two columns 'start' and 'end', in seconds",
        ),
        *(
            (
                column,
                ("0", "25", "50"),
                f"is in frames, which have no time in a video of varying rate: give {edge!r} in seconds "
                "(divide by the frames per second of the video)",
            )
            for column, edge in (
                ("start_frame", "start"),
                ("stop_frame", "end"),
                ("End Frame", "end"),
                ("frame_start", "start"),
                ("startFrame", "start"),
                ("begin_idx", "start"),
            )
        ),
        ("start_ms", ("0", "25", "50"), "is in milliseconds: give 'start' in seconds (divide by 1,000)"),
        ("endTimeMs", ("0", "25", "50"), "is in milliseconds: give 'end' in seconds (divide by 1,000)"),
        (
            "start_pos",
            ("0", "25", "50"),
            "is in an unknown unit: give 'start' in seconds (from the start of the video)",
        ),
        ("stop_min", ("0", "25", "50"), "is in minutes: give 'end' in seconds (multiply by 60)"),
    ],
)
def test_what_looks_like_ours_is_refused_unless_it_is_named_as_a_slice(folder, column, values, problem):
    source = folder.write("m.csv", table(column, values) + "".join(f"\n{n}.mp4,run," for n in "ef"))
    assert problem_of(source) == f"column {column!r} {problem}; or name it in data.slices, to slice by it"
    assert read_manifest(source, slices=[column]).slices == (column,)


def test_a_pair_of_times_in_a_list_is_refused(folder):
    lines = [{"path": f"{name}.mp4", "label": name, "segment": [0, 1.5]} for name in "ab"]
    source = folder.write("m.jsonl", "\n".join(map(json.dumps, lines)))
    assert "column 'segment' holds two times" in problem_of(source)


@pytest.mark.parametrize("column", ["duration", "Duration (s)", "length", "close_time"])
def test_another_time_in_place_of_an_end_is_refused_and_beside_one_a_slice(folder, column):
    text = PLAIN.replace("end", column, 1)
    assert f"column {column!r} stands beside 'start' without an 'end'" in problem_of(folder.write("m.csv", text))
    text = "\n".join(f"{row},{last}" for row, last in zip(PLAIN.split(), (column, 3, 3, 4), strict=True))
    assert read_manifest(folder.write("m.csv", text)).slices == (column,)


def test_what_is_there_in_seconds_may_be_there_in_frames_too(folder):
    assert read_manifest(folder.write("m.csv", PLAIN.replace("group", "start_frame"))).slices == ("start_frame",)


def test_a_named_slice_is_one_though_it_is_called_like_a_column_of_ours(folder):
    source = folder.write("m.csv", PLAIN.replace("group", "video"))
    plain = read_manifest(folder.write("plain.csv", PLAIN.replace("group", "camera")))
    read = read_manifest(source, slices=["video"])
    assert [clip.slices["video"] for clip in read.clips] == [clip.slices["camera"] for clip in plain.clips]
    assert [dataclasses.replace(clip, slices={}) for clip in read.clips] == [
        dataclasses.replace(clip, slices={}) for clip in plain.clips
    ]


def test_columns_that_no_slice_names_are_reported(folder):
    source = folder.write("m.csv", PLAIN.replace("group", "camera"))
    assert read_manifest(source, slices=[]).unused_columns == ("camera",)
    assert read_manifest(source).unused_columns == ()
