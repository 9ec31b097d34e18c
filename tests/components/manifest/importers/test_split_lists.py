"""UCF101 and HMDB51 by their split lists."""

import pytest

TRAIN = "Archery/v_Archery_g08_c01.avi 1\nArchery/v_Archery_g08_c02.avi 1\nBowling/v_Bowling_g08_c01.avi 2\n"
TEST = "Archery/v_Archery_g01_c01.avi\n"
CLASSES = "1 Archery\n2 Bowling\n"
UCF_VIDEOS = tuple(line.split()[0] for line in (TRAIN + TEST).splitlines())
FILM = "Some_Film_clap_u_nm_np1_fr_goo"
CLAP = f"{FILM}_0.avi 1 \n{FILM}_1.avi 2 \n{FILM}_2.avi 0 \n"
KICK = "Other!_kick_ball_f_cm_np1_ba_med_3.avi 1 \n"


def ucf(data_set, how="load", **files):
    texts = {"trainlist01.txt": TRAIN, "testlist01.txt": TEST, "classInd.txt": CLASSES}
    texts.update({f"{name}.txt": text for name, text in files.items()})
    return getattr(data_set, how)("ucf101", *(data_set.write(name, text) for name, text in texts.items()))


def hmdb(data_set, how="load", **files):
    texts = {"clap_test_split1": CLAP, "kick_ball_test_split1": KICK, **files}
    return getattr(data_set, how)("hmdb51", *(data_set.write(f"{name}.txt", text) for name, text in texts.items()))


@pytest.mark.parametrize("suffix", [".avi", ".mp4"])
def test_ucf101_is_evaluated_on_its_test_list(data_set, suffix):
    data_set.videos(*(name.replace(".avi", suffix) for name in UCF_VIDEOS))
    loaded = ucf(data_set)
    assert {row["path"]: (row["label"], row["split"], row["group"]) for row in loaded.rows.values()} == {
        f"videos/Archery/v_Archery_g08_c01{suffix}": ("Archery", "train", "v_Archery_g08"),
        f"videos/Archery/v_Archery_g08_c02{suffix}": ("Archery", "train", "v_Archery_g08"),
        f"videos/Bowling/v_Bowling_g08_c01{suffix}": ("Bowling", "train", "v_Bowling_g08"),
        f"videos/Archery/v_Archery_g01_c01{suffix}": ("Archery", "eval", "v_Archery_g01"),
    }
    assert loaded.classes_file.read_text() == "Archery\nBowling\n"


@pytest.mark.parametrize("folder", ["", "archery/", "ARCHERY/"])
def test_ucf101_is_found_by_file_name_alone(data_set, folder):
    data_set.videos(*(folder + name.rpartition("/")[2] for name in UCF_VIDEOS))
    loaded = ucf(data_set)
    assert len(loaded.rows) == len(UCF_VIDEOS)


def test_ucf101_names_hold_with_their_class(data_set):
    data_set.videos(*(name.replace(".avi", ".mp4") for name in UCF_VIDEOS))
    data_set.videos("Other/v_Archery_g08_c01.mp4", "OldArchery/v_Archery_g08_c01.mp4")
    assert "Archery/v_Archery_g08_c01.mp4" in ucf(data_set).rows


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        (
            {"trainlist01": TRAIN.replace(" 2", " 1")},
            "trainlist01.txt, row 3: class 1 is 'Archery' in classInd.txt, not 'Bowling'",
        ),
        ({"trainlist01": TRAIN + "alone.avi 1\n"}, "row 4: cannot read 'alone.avi 1'"),
        ({"testlist02": TEST}, "lists of the splits 01, 02; give those of one"),
        ({"videos": TEST}, "unknown list; wanted a name such as trainlist01.txt or testlist01.txt"),
    ],
)
def test_ucf101_lists_that_do_not_fit_are_reported(data_set, files, problem):
    assert ucf(data_set, how="problems", **files) == [problem]


def test_hmdb51_trains_on_1_evaluates_2_and_counts_0(data_set):
    data_set.videos(*(f"clap/{line.split()[0]}" for line in CLAP.splitlines()), f"kick_ball/{KICK.split()[0]}")
    loaded = hmdb(data_set)
    assert {row["path"].rpartition("/")[2]: (row["label"], row["split"]) for row in loaded.rows.values()} == {
        f"{FILM}_0.avi": ("clap", "train"),
        f"{FILM}_1.avi": ("clap", "eval"),
        "Other!_kick_ball_f_cm_np1_ba_med_3.avi": ("kick_ball", "train"),
    }
    assert "1 clips are in neither half of this split" in loaded.imported.notes


def test_hmdb51_clips_of_one_film_are_a_group(data_set):
    data_set.videos(*(f"clap/{line.split()[0]}" for line in CLAP.splitlines()), f"kick_ball/{KICK.split()[0]}")
    groups = hmdb(data_set).groups
    assert groups[f"clap/{FILM}_0.avi"] == "Some_Film (train)"
    assert groups[f"kick_ball/{KICK.split()[0]}"] == "Other!"


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({"clap_test_split2": CLAP}, "lists of the splits 1, 2; give those of one"),
        ({"clap_test_split1": "a.avi 3\n"}, "row 1: cannot read 'a.avi 3'"),
        ({"readme": ""}, "unknown list; wanted a name such as brush_hair_test_split1.txt"),
    ],
)
def test_hmdb51_lists_that_do_not_fit_are_reported(data_set, files, problem):
    assert hmdb(data_set, how="problems", **files) == [problem]
