"""The manifest: every form it comes in, the split of what names none, and each mistake reported in words."""

import dataclasses
import json

import pytest

from components.manifest.folders import folder_rows
from components.manifest.reader import Clip, ManifestError, read_manifest

GOOD = """path,label,split
a.mp4,run,train
b.mp4,jump,train
c.mp4,run,eval
"""


def problem_of(source, **options):
    """The only problem of a manifest."""
    with pytest.raises(ManifestError) as caught:
        read_manifest(source, **options)
    (problem,) = caught.value.problems
    assert problem in str(caught.value)
    assert str(source) in str(caught.value)
    return problem


def by_id(manifest):
    return {clip.id: clip for clip in manifest.clips}


# What is read.


def test_a_csv_gives_one_clip_a_row_with_paths_relative_to_it(folder):
    clips = by_id(read_manifest(folder.write("m.csv", GOOD)))
    assert {name: (clip.labels, clip.split) for name, clip in clips.items()} == {
        "a.mp4": ({"label": "run"}, "train"),
        "b.mp4": ({"label": "jump"}, "train"),
        "c.mp4": ({"label": "run"}, "eval"),
    }
    assert clips["a.mp4"].path == str(folder.path / "a.mp4")
    assert (clips["a.mp4"].start, clips["a.mp4"].end, clips["a.mp4"].size) == (0.0, None, len("video"))


def test_a_jsonl_gives_the_same_clips_as_a_csv(folder):
    rows = [dict(zip(GOOD.split()[0].split(","), line.split(","), strict=True)) for line in GOOD.split()[1:]]
    lines = "\n\n".join(json.dumps(row) for row in rows)
    assert read_manifest(folder.write("m.jsonl", lines)).clips == read_manifest(folder.write("m.csv", GOOD)).clips


def test_a_jsonl_takes_numbers_and_nulls(folder):
    named = [("a.mp4", 0, "train"), ("b.mp4", 1, "train"), ("c.mp4", 0, "eval")]
    rows = [{"path": path, "label": label, "split": split, "start": 1.5, "end": None} for path, label, split in named]
    clips = read_manifest(folder.write("m.jsonl", "\n".join(map(json.dumps, rows)))).clips
    assert [clip.labels["label"] for clip in clips] == ["0", "1", "0"]
    assert {(clip.start, clip.end) for clip in clips} == {(1.5, None)}


@pytest.mark.parametrize("below", ["", "2024/"])
def test_a_folder_per_class_is_split_by_hash(folder, below):
    for number in range(40):
        folder.write(f"set/{'run' if number % 2 else 'jump'}/{below}{number}.MP4")
    manifest = read_manifest(folder.path / "set")
    assert manifest.classes("label") == ["jump", "run"]
    assert len(manifest.split("train")) + len(manifest.split("eval")) == 40
    assert 0 < len(manifest.split("eval")) < 20


def test_a_folder_may_name_splits_above_its_classes(folder):
    for name in ("train/run/1.mp4", "train/jump/2.mp4", "val/run/3.mp4", "test/jump/4.mp4"):
        folder.write(f"set/{name}")
    manifest = read_manifest(folder.path / "set")
    found = {clip.id: (clip.split, clip.labels["label"]) for clip in manifest.clips}
    assert found == {
        "train/run/1.mp4": ("train", "run"),
        "train/jump/2.mp4": ("train", "jump"),
        "val/run/3.mp4": ("eval", "run"),
        "test/jump/4.mp4": ("test", "jump"),
    }


@pytest.mark.parametrize(
    ("train", "evaluated", "split"),
    [
        ("Train", "Val", "eval"),
        ("training", "validation", "eval"),
        ("TRAIN", "dev", "eval"),
        ("train", "Testing", "test"),
    ],
)
def test_splits_are_named_as_people_name_them(folder, train, evaluated, split):
    names = [f"{top}/{label}/1.mp4" for top in (train, evaluated) for label in ("run", "jump")]
    for name in names:
        folder.write(f"set/{name}")
    rows, *_ = folder_rows(str(folder.path / "set"))
    assert {(row["split"], row["label"]) for _, row in rows} == {
        (name, label) for name in ("train", split) for label in ("run", "jump")
    }
    table = GOOD.replace("train", train).replace("eval", evaluated) + "d.mp4,run,Eval\n"
    assert {clip.split for clip in read_manifest(folder.write("m.csv", table)).clips} == {"train", split, "eval"}


def test_a_folder_of_splits_with_anything_beside_them_is_refused(folder):
    for name in ("train/run/1.mp4", "train/jump/2.mp4", "val/run/3.mp4", "extra/jump/4.mp4"):
        folder.write(f"set/{name}")
    assert problem_of(folder.path / "set") == (
        "splits (train/, val/) stand beside classes (extra/); found {extra,train,val}/{jump,run}/<video>; "
        "wanted <class>/<video>, or train/<class>/<video> and val/<class>/<video>; else a manifest with the columns "
        "path, label and split"
    )


def test_files_of_a_folder_that_are_no_videos_are_named(folder):
    for name in ("train/run/1.mp4", "train/jump/2.mp4", "val/run/3.mp4", "train/run/notes.txt", "README"):
        folder.write(f"set/{name}")
    assert read_manifest(folder.path / "set").ignored == ("README", "train/run/notes.txt")


def test_hidden_files_of_a_folder_are_left_alone(folder):
    for name in ("train/run/1.mp4", "train/jump/2.mp4", "val/run/3.mp4", "train/run/._1.mp4", ".cache/run/4.mp4"):
        folder.write(f"set/{name}")
    manifest = read_manifest(folder.path / "set")
    assert len(manifest.clips) == 3
    assert manifest.ignored == (".cache/run/4.mp4", "train/run/._1.mp4")


def test_a_byte_order_mark_as_excel_writes_it_is_skipped(folder):
    marked, plain = folder.write("marked.csv", "\ufeff" + GOOD), folder.write("plain.csv", GOOD)
    assert read_manifest(marked).clips == read_manifest(plain).clips


def test_spaces_around_column_names_and_values_are_dropped(folder):
    spaced, plain = folder.write("spaced.csv", GOOD.replace(",", " , ")), folder.write("plain.csv", GOOD)
    assert read_manifest(spaced).clips == read_manifest(plain).clips


def test_what_a_spreadsheet_leaves_empty_is_skipped(folder):
    trailing = GOOD.replace("\n", ",,\n") + "\n,,,,\n"
    empty, plain = folder.write("empty.csv", trailing), folder.write("plain.csv", GOOD)
    assert read_manifest(empty).clips == read_manifest(plain).clips


def test_each_label_column_is_a_head_and_the_rest_are_slices(folder):
    rows = ["a.mp4,open,door,train,left", "b.mp4,close,jar,train,", "c.mp4,open,jar,eval,left"]
    source = folder.write("m.csv", "\n".join(["path,label/verb,label/noun,split,camera", *rows]))
    manifest = read_manifest(source)
    assert (manifest.heads, manifest.slices) == (("verb", "noun"), ("camera",))
    assert [clip.slices for clip in manifest.clips] == [{"camera": "left"}, {}, {"camera": "left"}]
    single = read_manifest(source, heads=["noun"], slices=["verb"])
    assert (single.heads, single.slices) == (("noun",), ("verb",))
    assert by_id(single)["a.mp4"].slices == {"verb": "open"}


def test_ids_come_from_path_and_segment_unless_they_are_given(folder):
    rows = ["a.mp4,,,run,,train", "a.mp4,1,2.5,jump,,train", "a.mp4,3,,run,,train", "b.mp4,,,run,mine,eval"]
    source = folder.write("m.csv", "\n".join(["path,start,end,label,id,split", *rows]))
    assert list(by_id(read_manifest(source))) == ["a.mp4", "a.mp4@1-2.5", "a.mp4@3-", "mine"]


def test_ids_of_close_segments_differ(folder):
    rows = ["a.mp4,1000.001,1002,run,train", "a.mp4,1000.002,1002,jump,train", "b.mp4,,,run,eval"]
    source = folder.write("m.csv", "\n".join(["path,start,end,label,split", *rows]))
    assert len(read_manifest(source).clips) == 3


def test_a_clip_goes_through_json_unchanged():
    clip = Clip("é", "/a.mp4", "g", "train", {"label": "ночь"}, {"camera": "左"}, 1.25, 3.5, 10, 11)
    assert Clip.from_json(clip.to_json()) == clip
    assert "\n" not in dataclasses.replace(clip, group="a\nb").to_json()


# The split by hash.


def unsplit(folder, rows):
    for path, *_ in rows:
        folder.write(path)
    return folder.write("hashed.csv", "path,label,group\n" + "".join(",".join(row) + "\n" for row in rows))


def test_the_split_of_a_group_depends_on_its_name_alone(folder):
    rows = [(f"{n}.mp4", "run" if n % 2 else "jump", f"g{n // 3}") for n in range(90)]
    whole = {clip.id: clip.split for clip in read_manifest(unsplit(folder, rows)).clips}
    half = {clip.id: clip.split for clip in read_manifest(unsplit(folder, rows[::-1][:45])).clips}
    assert half == {name: whole[name] for name in half}
    assert set(whole.values()) == {"train", "eval"}


def test_clips_of_one_group_stay_together(folder):
    rows = [(f"{n}.mp4", "run" if n % 2 else "jump", f"g{n // 3}") for n in range(90)]
    clips = read_manifest(unsplit(folder, rows)).clips
    assert all(len({clip.split for clip in clips if clip.group == group}) == 1 for group in {c.group for c in clips})


def test_a_class_is_never_evaluated_without_being_trained(folder):
    rows = [(f"{n}.mp4", f"class{n // 2}", f"g{n}") for n in range(120)]
    manifest = read_manifest(unsplit(folder, rows))
    trained = {clip.labels["label"] for clip in manifest.split("train")}
    assert trained == set(manifest.classes("label"))
    assert manifest.moved_to_train
    assert {clip.split for clip in manifest.clips if clip.group in manifest.moved_to_train} == {"train"}


def test_a_clip_whose_file_cannot_be_read_is_kept_with_the_reason(folder):
    (folder.path / "sub").mkdir()
    (folder.path / "loop.mp4").symlink_to("loop.mp4")
    rows = "".join(f"{name},run,train\n" for name in ("gone.mp4", "sub", "loop.mp4"))
    manifest = read_manifest(folder.write("m.csv", GOOD + rows))
    assert len(manifest.clips) == 6
    assert manifest.unreadable == {
        "gone.mp4": "cannot open it: No such file or directory",
        "sub": "cannot open it: it is a folder, not a video",
        "loop.mp4": "cannot open it: Too many levels of symbolic links",
    }


# What is refused. Rows are counted as an editor counts lines: the header is row 1.


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("label,split\nrun,train\n", "missing column 'path'; it has label, split"),
        ("path,kind\na.mp4,run\n", "missing column 'label' or 'label/<head>'; it has path, kind"),
        (
            "path,lable\na.mp4,run\n",
            "missing column 'label' or 'label/<head>'; it has path, lable: rename 'lable' to 'label'",
        ),
        ("path,label,label\na.mp4,run,jump\n", "column 'label' stands twice in the header"),
        (GOOD + "d.mp4,,train\n", "row 5: column 'label' is empty"),
        (GOOD + ",run,train\n", "row 5: column 'path' is empty"),
        (GOOD + "d.mp4,run|jump,train\n", "row 5: 'label' names several classes (run|jump); one is wanted"),
        (GOOD + "d.mp4,run,holdout\n", "row 5: split 'holdout'; wanted train, eval, test or nothing"),
        (GOOD + "d.mp4,run,train,left\n", "row 5 has 4 values; the header has 3 columns"),
        (GOOD + "d.mp4,run\n", "row 5 has 2 values; the header has 3 columns"),
        (GOOD + 'd.mp4,"run,train\ne.mp4,run,train\n', "row 6 is not CSV: unexpected end of data"),
        ("path,label,\na.mp4,run,left\nb.mp4,jump,\n", "row 2: 'left' stands in a column without a name"),
        (GOOD + "a.mp4,run,train\n", "row 5: id 'a.mp4' stands already in row 2"),
        (GOOD + "a.mp4,jump,train\n", "row 5: id 'a.mp4' stands already in row 2, with another class"),
        (
            GOOD + "./a.mp4,jump,train\n",
            "one file and segment has two classes: 'jump' in './a.mp4', 'run' in 'a.mp4'; leave one",
        ),
        (
            GOOD + "d.mp4,e\u0301te\u0301,train\ne.mp4,\u00e9t\u00e9,train\n",
            r"class 'été' of head 'label' is written in two Unicode forms, 'e\u0301te\u0301' and '\xe9t\xe9': use one",
        ),
        (GOOD + "d.mp4,swim,eval\n", "class 'swim' of head 'label' is evaluated but never trained, e.g. in 'd.mp4'"),
        (
            GOOD.replace("label", "label/a/b"),
            "column 'label/a/b': a head's name has letters, digits, - and _ only",
        ),
        (
            GOOD.replace("split", "label/label"),
            "columns 'label' and 'label/label' both mean 'label': leave one of them, or rename it",
        ),
        (GOOD.replace("jump", "run"), "head 'label' has one class only, 'run'; at least two are wanted"),
        (GOOD.replace("eval", "train"), "no clip in split 'eval': add clips, or name the splits in a column 'split'"),
        (
            GOOD.replace("eval", "test"),
            "no clip in split 'eval', but 1 in 'test': add clips, or name the splits in a column 'split'",
        ),
        (GOOD.splitlines()[0], "it lists no clip; wanted at least one row"),
        ("", "it lists no clip; wanted at least one row"),
        (GOOD + 'd.mp4,"ru\nn",train\n', "row 6: 'label' holds a control character: 'ru\\nn'"),
        (GOOD + "d.mp4,ru\x07n,train\n", "row 5: 'label' holds a control character: 'ru\\x07n'"),
        (GOOD + "d.mp4,ru\u2028n,train\n", "row 5: 'label' holds a control character: 'ru\\u2028n'"),
    ],
)
def test_a_csv_that_cannot_be_used_is_refused_in_words(folder, text, problem):
    assert problem_of(folder.write("m.csv", text)) == problem


@pytest.mark.parametrize(
    ("start", "end", "problem"),
    [
        ("soon", "2", "row 2: start 'soon' is not a time in seconds"),
        ("1", "inf", "row 2: end 'inf' is not a time in seconds"),
        ("nan", "", "row 2: start 'nan' is not a time in seconds"),
        ("-1", "2", "row 2: start '-1' is not a time in seconds"),
        ("2", "1.5", "row 2: end 1.5 is not after start 2"),
        ("", "0", "row 2: end 0 is not after start 0"),
    ],
)
def test_a_segment_that_cannot_be_is_refused(folder, start, end, problem):
    text = f"path,start,end,label,split\na.mp4,{start},{end},run,train\nb.mp4,,,jump,train\nc.mp4,,,run,eval\n"
    assert problem_of(folder.write("m.csv", text)) == problem


def test_a_group_in_two_splits_is_refused(folder):
    text = "path,label,split,group\na.mp4,run,train,g\nb.mp4,jump,train,h\nc.mp4,run,eval,g\n"
    assert problem_of(folder.write("m.csv", text)) == (
        "row 4: group 'g' is in split 'eval', but in 'train' in row 2; clips of one source video must stay together"
    )


def test_a_file_under_two_names_in_two_splits_is_refused(folder):
    (folder.path / "link.mp4").symlink_to(folder.path / "a.mp4")
    problem = problem_of(folder.write("m.csv", GOOD + "link.mp4,run,eval\n./b.mp4,jump,train\n"))
    assert f"{folder.path}/link.mp4 in split 'eval' and {folder.path}/a.mp4 in split 'train' are one file" in problem


def test_segments_of_one_file_in_two_splits_may_not_overlap(folder):
    rows = ["a.mp4,0,10,run,train,a", "a.mp4,2,3,run,train,a", "b.mp4,,,jump,train,b"]
    apart = [*rows, "a.mp4,10,20,run,eval,a (eval)"]
    text = "path,start,end,label,split,group\n"
    assert len(read_manifest(folder.write("m.csv", text + "\n".join(apart))).clips) == 4
    for overlapping in ("a.mp4,9.5,20,run,eval,a (eval)", "a.mp4,,,run,eval,a (eval)", "a.mp4,5,,run,eval,a (eval)"):
        with pytest.raises(ManifestError, match="are one file, and the clips overlap"):
            read_manifest(folder.write("m.csv", text + "\n".join([*rows, overlapping])))


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"path": "a.mp4"', "line 2 is not JSON"),
        ('["a.mp4", "run"]', 'line 2 is not a JSON object: ["a.mp4", "run"]'),
        ('{"path": "a.mp4", "label": ["run", "jump"]}', "line 2: 'label' names several classes (run|jump)"),
        ('{"path": "a.mp4", "label": "run", "box": {"x": 1}}', "line 2: column 'box' holds an object"),
        ('{"path": "a.mp4", "label": "run", "label": "jump"}', "line 2: column 'label' stands twice"),
    ],
)
def test_a_jsonl_that_cannot_be_used_is_refused_in_words(folder, line, problem):
    assert problem_of(folder.write("m.jsonl", '{"path": "b.mp4", "label": "run"}\n' + line)).startswith(problem)


def test_clips_with_ids_of_their_own_may_say_two_things_of_one_segment(folder):
    rows = ["a.mp4,0,10,cut,train,one", "a.mp4,0,10,stir,train,two", "b.mp4,,,cut,eval,three"]
    assert len(read_manifest(folder.write("m.csv", "\n".join(["path,start,end,label,split,id", *rows]))).clips) == 3


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"heads": ["verb"]}, "no head 'verb'; the manifest has label"),
        ({"slices": ["camera"]}, "no column 'camera' to slice by; the manifest has none"),
    ],
)
def test_a_head_or_slice_that_is_not_there_is_refused(folder, options, problem):
    assert problem_of(folder.write("m.csv", GOOD), **options) == problem


def test_a_manifest_that_is_no_manifest_is_refused(folder):
    assert problem_of(folder.path / "gone.csv") == "no such file or folder"
    assert problem_of(folder.write("m.txt", GOOD)) == "unknown kind of file '.txt'; wanted .csv, .jsonl or a folder"
    (folder.path / "empty").mkdir()
    assert problem_of(folder.path / "empty").startswith("it lists no clip; wanted at least <class>/<video> with one of")
    (folder.path / "latin.csv").write_bytes("path,label\na.mp4,été\n".encode("latin-1"))
    assert problem_of(folder.path / "latin.csv").startswith("it is not UTF-8 text")


def test_all_problems_are_listed_at_once(folder):
    missing = "".join(f"{number}.mp4,,train\n" for number in range(30))
    with pytest.raises(ManifestError) as caught:
        read_manifest(folder.write("m.csv", f"{GOOD}d.mp4,,train\ngone.mp4,run,holdout\n{missing}"))
    assert len(caught.value.problems) == 32
    assert "32 problem(s)" in str(caught.value)
    assert "… and 12 more" in str(caught.value)
