"""What looks odd about a data set and a recipe: each thing with what answers it, a setting or a column."""

import dataclasses

import pytest

from components.manifest.reader import Clip, Manifest
from pipeline.plan.oddities import oddities
from pipeline.recipe import load_recipe

# 1.24 s of a view, and no flips.
RECIPE = load_recipe("small", ["augment.flip=0", "clip.stride=1", "clip.num_frames=16"])
CLIP = Clip("", "", "", "train", {"label": "run"}, {}, 0.0, 5.0)


def clips(count=20, **changes):
    """Clips of two classes in two splits, each of 5 s of its own video."""
    return [
        dataclasses.replace(
            CLIP,
            id=f"{split}/{name}/{n}",
            path=f"/v/{split}/{name}/{n}",
            group=f"{split}/{name}/{n}",
            split=split,
            labels={"label": name},
            **changes,
        )
        for split in ("train", "eval")
        for name in ("run", "jump")
        for n in range(count)
    ]


def odd(found, *overrides, recipe=RECIPE, seconds=None):
    if overrides:
        recipe = load_recipe("small", ["augment.flip=0", "clip.stride=1", *overrides])
    return oddities(Manifest("m.csv", tuple(found)), recipe, seconds or {})


def relabelled(found, names):
    """The clips with other names of their classes."""
    return [dataclasses.replace(c, labels={"label": names.get(c.labels["label"], c.labels["label"])}) for c in found]


def again(clip, name, **changes):
    return dataclasses.replace(clip, id=name, **changes)


def test_nothing_is_odd_about_an_ordinary_data_set():
    assert odd(clips()) == []
    # Where the length of a clip is not known, nothing is said about it.
    assert odd(clips(end=None), "clip.stride=100") == []


def test_classes_with_nearly_equal_names():
    advice = "give them one name if they are one class"
    assert odd(relabelled(clips(), {"jump": "Run"})) == [
        f"label: 'Run' (40) and 'run' (40) differ in case, blanks or signs only: {advice}"
    ]
    mistyped = dataclasses.replace(CLIP, id="x", path="/x", group="x", labels={"label": "runing"})
    running = [*relabelled(clips(), {"run": "running"}), mistyped]
    assert odd(running)[0] == f"label: 'runing' (1) and 'running' (40) differ in one letter: {advice}"


def test_directions_where_clips_are_flipped():
    sides = relabelled(clips(), {"run": "turn left", "jump": "turn right"})
    assert odd(sides) == []
    (found,) = odd(sides, "augment.flip=0.5")
    assert found.startswith("label: 'turn left', 'turn right' may be mirror images of each other")
    assert found.endswith(": set augment.flip=0")


def test_another_number_of_classes_than_the_recipe_states():
    assert odd(clips(), "data.num_classes=2") == []
    assert odd(clips(), "data.num_classes=3") == [
        "data.num_classes is 3, but the data have 2 classes of label, which are trained: is one missing?"
    ]


def test_classes_of_few_clips():
    few = [clip for clip in clips() if clip.split == "train" or not clip.id.startswith("eval/run/1")]
    assert odd(few[:44]) == [
        "label: 2 of 2 classes have fewer than 10 clips in eval ('jump' 0), so figures by class are rough: add clips, "
        "or move some in column 'split'"
    ]
    assert odd(clips(12)[3:]) == [
        "label: 1 of 2 classes have fewer than 10 clips in train ('run' 9), so they are hardly learnt: add clips, or "
        "move some in column 'split'"
    ]


def test_clips_below_the_folder_of_another_split():
    below = [again(clip, clip.id, path=f"/test/{clip.id.replace('eval', 'val')}") for clip in clips()]
    assert odd(below) == []
    below[0] = again(below[0], "x", path="/test/val/x.mp4")
    assert odd(below) == [
        "1 clip(s) are not in the split that their folder names, e.g. 'x' in train: add or mend the column 'split'"
    ]
    # Some publishers evaluate on what they call test.
    tested = [again(clip, clip.id, path=f"/{clip.id.replace('eval', 'test')}") for clip in clips()]
    assert odd(tested) == []


def test_clips_that_stand_twice():
    plain = clips()
    same = [again(plain[0], "x"), again(plain[0], "y"), again(plain[1], "z", path="/v/train/./run/1")]
    assert odd([*plain, *same]) == ["3 clip(s) stand twice, e.g. 'train/run/0' and 'x': leave one row of each"]
    contradiction = again(plain[0], "x", labels={"label": "jump"})
    assert odd([*plain, contradiction]) == [
        "1 clip(s) stand twice under another class, e.g. 'train/run/0' (run) and 'x' (jump): leave one row of each"
    ]


def test_clips_of_several_classes_that_show_the_same():
    plain = clips()
    part = again(plain[0], "x", labels={"label": "jump"}, start=1.0, end=3.0)
    assert odd([*plain, part]) == [
        "1 pair(s) of clips of several classes show mostly the same, e.g. 'train/run/0' (run) and 'x' (jump): see "
        "their columns 'start' and 'end'"
    ]
    for fine in (
        {"start": 3.0, "end": 8.0},
        {"start": 1.0, "end": 3.0, "labels": {"label": "run"}},
        {"start": 5.0, "end": 9.0},
    ):
        assert odd([*plain, again(part, "x", **fine)]) == []
    whole = [dataclasses.replace(clip, end=None) for clip in plain]
    assert len(odd([*whole, part])) == 1


def test_columns_with_a_value_a_clip():
    named = [again(clip, clip.id, slices={"video_no": clip.id, "day": clip.id[-1]}) for clip in clips()]
    assert odd(named) == [
        "column 'video_no' has 80 values on 80 clips, too many to slice by: rename it to 'group' if it says which "
        "clips belong together, or name other columns in data.slices"
    ]


def test_people_in_several_splits():
    named = [again(clip, clip.id, slices={"Subject ID": clip.id[-1], "camera": clip.id[-1]}) for clip in clips()]
    assert odd(named) == [
        "column 'Subject ID': 10 of 10 values are in several splits: rename it to 'group' to keep the clips of each "
        "together"
    ]
    grouped = [again(clip, clip.id, group=f"group {clip.id}") for clip in named]
    assert odd(grouped) == []


def test_segments_beyond_the_end_of_their_video():
    plain = clips()
    frames = [*plain[:-1], again(plain[-1], "x", start=25.0, end=112.0)]
    seconds = {clip.path: 9.3 for clip in frames[20:]}
    assert odd(frames, seconds=seconds) == [
        "1 of 60 clips end after their video, 'x' at 112 s of 9.3 s: are 'start' and 'end' in seconds?",
        "1 of 80 clips are shorter than the 1.28 s of a view, and start again within it: lower clip.stride=1 "
        "(clip.num_frames=16, ingest.fps=12.5)",
    ]
    rounded = {clip.path: 4.9 for clip in plain}
    assert odd(plain, seconds=rounded) == []


@pytest.mark.parametrize("known", [False, True])
def test_clips_that_are_shorter_than_a_view(known):
    found = clips(end=None) if known else clips()
    seconds = {clip.path: 5.0 for clip in found[:30]} if known else {}
    share = "30 of 30 clips whose length is known" if known else "80 of 80 clips"
    assert odd(found, "clip.stride=4", seconds=seconds) == []
    assert odd(found, "clip.stride=40", seconds=seconds) == [
        f"{share} are shorter than the 48.08 s of a view, and start again within it: lower clip.stride=40 "
        "(clip.num_frames=16, ingest.fps=12.5)"
    ]
