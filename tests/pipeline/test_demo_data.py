"""The demo's data set: real, mixed H.264 videos whose verb only motion shows."""

import csv
from itertools import product

import av
import numpy as np
import pytest
from PIL import Image

from pipeline.demo_data import NOUNS, VERBS, write_demo_data


def read_manifest(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def read_ink(path):
    """Where the digit is: [T, H, W], bool. The ink is brighter than any background."""
    with av.open(str(path)) as container:
        # The first H rows of a yuv420p frame are its luma.
        return np.stack([frame.to_ndarray()[: frame.height] for frame in container.decode(video=0)]) > 140


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """(rows of the manifest, ink of each of their clips)."""
    manifest = write_demo_data(tmp_path_factory.mktemp("demo"), train=320, eval=160)
    rows = read_manifest(manifest)
    return rows, [read_ink(manifest.parent / row["path"]) for row in rows]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Manifest of a small data set."""
    return write_demo_data(tmp_path_factory.mktemp("small"), train=16, eval=8)


def verb_accuracy_of_nearest_neighbour(demo, frame_index):
    """Top-1 of the verb on the eval split, by the train clip whose ink at one frame is nearest, in a central square."""
    rows, inks = demo

    def features(ink):
        frame = Image.fromarray(ink[frame_index(ink)])
        margin = [(side - min(frame.size)) / 2 for side in frame.size]
        box = (*margin, frame.width - margin[0], frame.height - margin[1])
        return np.asarray(frame.convert("L").resize((24, 24), Image.Resampling.BILINEAR, box=box), np.float32).ravel()

    pixels = np.stack([features(ink) for ink in inks])
    verbs = np.array([row["label/verb"] for row in rows])
    train = np.array([row["split"] == "train" for row in rows])
    distances = np.linalg.norm(pixels[~train, None] - pixels[None, train], axis=-1)
    return np.mean(verbs[train][distances.argmin(axis=1)] == verbs[~train])


def test_the_middle_frame_does_not_give_the_verb_away(demo):
    assert verb_accuracy_of_nearest_neighbour(demo, lambda ink: len(ink) // 2) < 2 / len(VERBS)


def test_the_last_frame_does_which_shows_that_the_classifier_can_see(demo):
    assert verb_accuracy_of_nearest_neighbour(demo, lambda ink: -1) > 4 / len(VERBS)


def test_frames_differ_over_time(demo):
    _, inks = demo
    for ink in inks:
        moved = np.logical_xor(ink[0], ink[-1]).sum() / np.logical_or(ink[0], ink[-1]).sum()
        assert moved > 0.2


@pytest.mark.parametrize(("verb", "axis", "sign"), [("left", 2, -1), ("right", 2, 1), ("up", 1, -1), ("down", 1, 1)])
def test_a_digit_moves_as_its_verb_says(demo, verb, axis, sign):
    for row, ink in zip(*demo, strict=True):
        if row["label/verb"] == verb:
            first, last = (np.nonzero(frame)[axis - 1].mean() for frame in (ink[0], ink[-1]))
            assert sign * (last - first) > 0.15 * min(ink.shape[1:])


@pytest.mark.parametrize(("verb", "sign"), [("growing", 1), ("shrinking", -1)])
def test_a_digit_changes_its_size_as_its_verb_says(demo, verb, sign):
    for row, ink in zip(*demo, strict=True):
        if row["label/verb"] == verb:
            assert sign * np.log2(ink[-1].sum() / ink[0].sum()) > 0.5


@pytest.mark.parametrize(("verb", "degrees"), [("clockwise", -30), ("anticlockwise", 30)])
def test_a_digit_turns_as_its_verb_says(demo, verb, degrees):
    right = []
    for row, ink in zip(*demo, strict=True):
        if row["label/verb"] == verb:
            middle = len(ink) // 2
            before, after = (Image.fromarray(ink[middle + step]) for step in (0, round(0.5 * float(row["fps"]))))
            centre = [float(np.mean(where)) for where in np.nonzero(np.asarray(before))[::-1]]
            as_said, otherwise = (
                np.logical_and(before.rotate(angle, center=centre), after).sum() for angle in (degrees, -degrees)
            )
            right.append(as_said > otherwise)
    assert np.mean(right) > 0.95


def test_every_verb_goes_with_every_noun_in_both_splits(demo):
    rows, _ = demo
    pairs = {(row["split"], row["label/verb"], row["label/noun"]) for row in rows}
    assert pairs == set(product(("train", "eval"), VERBS, NOUNS))


def test_no_digit_image_is_in_two_splits(demo):
    rows, _ = demo
    train, evaluation = ({row["group"] for row in rows if row["split"] == split} for split in ("train", "eval"))
    assert not train & evaluation


def test_slices_are_independent_of_the_verb(demo):
    rows, _ = demo
    for column, values in (("background", 4), ("fps", 5), ("shape", 3)):
        assert len({(row["label/verb"], row[column]) for row in rows}) == len(VERBS) * values


def test_a_small_set_has_every_verb_in_both_splits(small):
    rows = read_manifest(small)
    assert [row["split"] for row in rows] == ["train"] * 16 + ["eval"] * 8
    assert {(row["split"], row["label/verb"]) for row in rows} == set(product(("train", "eval"), VERBS))


def test_files_are_h264_of_the_fps_shape_and_length_they_should_have(small):
    sizes = set()
    for row in read_manifest(small):
        with av.open(str(small.parent / row["path"])) as container:
            (stream,) = container.streams
            assert "mp4" in container.format.name
            assert stream.codec_context.name == "h264"
            assert float(stream.average_rate) == float(row["fps"])
            assert 1.6 <= stream.frames / stream.average_rate <= 3.1
            width, height = stream.width, stream.height
            sizes.add((width, height))
        assert row["shape"] == ("square" if width == height else "landscape" if width > height else "portrait")
        assert 48 <= min(width, height) <= 64
        assert width % 2 == height % 2 == 0
    assert len(sizes) > 5


def contents(manifest):
    """Bytes of each file of a data set."""
    return {path.name: path.read_bytes() for path in manifest.parent.rglob("*.*")}


def test_the_same_arguments_give_the_same_bytes(small, tmp_path):
    assert contents(write_demo_data(tmp_path, train=16, eval=8)) == contents(small)


def test_another_seed_gives_other_videos(small, tmp_path):
    again, first = contents(write_demo_data(tmp_path, train=16, eval=8, seed=1)), contents(small)
    assert all(again[name] != first[name] for name in first)


def test_a_second_call_rewrites_nothing(small):
    before = {path: path.stat().st_mtime_ns for path in small.parent.rglob("*.*")}
    assert write_demo_data(small.parent, train=16, eval=8) == small
    assert {path: path.stat().st_mtime_ns for path in small.parent.rglob("*.*")} == before


def test_a_split_without_clips_is_refused(tmp_path):
    with pytest.raises(ValueError, match="train and eval must be 1 clip or more; got 8 and 0"):
        write_demo_data(tmp_path, train=8, eval=0)


def test_a_lost_video_is_written_again(tmp_path):
    manifest = write_demo_data(tmp_path, train=8, eval=1)
    before = contents(manifest)
    (tmp_path / read_manifest(manifest)[3]["path"]).unlink()
    write_demo_data(tmp_path, train=8, eval=1)
    assert contents(manifest) == before
