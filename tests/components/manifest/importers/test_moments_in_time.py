"""Moments in Time: CSV files without a header, and the categories."""

import pytest

TRAIN = "clapping/yt-aaaaaaaaaaa_71.mp4,clapping,5,0\nadult+male+singing/getty-song-id63_4.mp4,adult+male+singing,4,1\n"
VALIDATION = "clapping/yt-aaaaaaaaaaa_90.mp4,clapping,3,0\n"
CATEGORIES = "clapping,0\nadult+male+singing,1\n"
VIDEOS = (
    "training/clapping/yt-aaaaaaaaaaa_71.mp4",
    "training/adult+male+singing/getty-song-id63_4.mp4",
    "validation/clapping/yt-aaaaaaaaaaa_90.mp4",
)


def load(data_set, train=TRAIN, validation=VALIDATION, categories=CATEGORIES, how="load"):
    texts = {"trainingSet.csv": train, "validationSet.csv": validation, "moments_categories.txt": categories}
    return getattr(data_set, how)("moments-in-time", *(data_set.write(name, text) for name, text in texts.items()))


def test_files_below_training_and_validation_are_the_clips(data_set):
    data_set.videos(*VIDEOS)
    loaded = load(data_set)
    assert {row["path"]: (row["label"], row["split"]) for row in loaded.rows.values()} == {
        f"videos/{VIDEOS[0]}": ("clapping", "train"),
        f"videos/{VIDEOS[1]}": ("adult+male+singing", "train"),
        f"videos/{VIDEOS[2]}": ("clapping", "eval"),
    }
    assert loaded.classes_file.read_text() == "clapping\nadult+male+singing\n"


def test_pieces_of_one_source_are_a_group_of_a_split(data_set):
    data_set.videos(*VIDEOS, "training/clapping/yt-aaaaaaaaaaa_72.mp4")
    groups = load(data_set, train=TRAIN + "clapping/yt-aaaaaaaaaaa_72.mp4,clapping,5,0\n").groups
    assert groups["training/clapping/yt-aaaaaaaaaaa_71.mp4"] == "yt-aaaaaaaaaaa (train)"
    assert groups["training/clapping/yt-aaaaaaaaaaa_72.mp4"] == "yt-aaaaaaaaaaa (train)"


def test_a_name_that_both_splits_have_is_taken_from_the_folder_of_each(data_set):
    data_set.videos(*VIDEOS, "validation/clapping/yt-aaaaaaaaaaa_71.mp4")
    loaded = load(data_set, validation="clapping/yt-aaaaaaaaaaa_71.mp4,clapping,3,0\n")
    assert {path for path in loaded.rows if path.endswith("_71.mp4")} == {VIDEOS[0], "validation/" + VIDEOS[0][9:]}


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({"train": TRAIN + "clapping\n"}, "row 3: wanted <class>/<file>,<class>,…, not 'clapping'"),
        ({"categories": "clapping\n"}, "row 1: wanted <class>,<id>"),
        (
            {"categories": "clapping,0\n"},
            "trainingSet.csv, row 2: 'adult+male+singing' is not among the classes of label",
        ),
    ],
)
def test_a_row_that_cannot_be_used_is_reported(data_set, files, problem):
    data_set.videos(*VIDEOS)
    assert load(data_set, **files, how="problems") == [problem]
