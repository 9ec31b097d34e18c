"""EPIC-KITCHENS-100: segments of long videos, two heads, the class files."""

import pytest

HEADER = (
    "narration_id,participant_id,video_id,narration_timestamp,start_timestamp,stop_timestamp,start_frame,stop_frame,"
    "narration,verb,verb_class,noun,noun_class,all_nouns,all_noun_classes\n"
)
TRAIN = HEADER + (
    "P01_01_0,P01,P01_01,00:00:01.089,00:00:00.14,00:00:03.37,8,202,open door,open,3,door,3,['door'],[3]\n"
    'P01_01_1,P01,P01_01,00:00:02.629,01:02:04.37,01:02:06.17,262,370,"turn on, light",turn-on,6,light,12,'
    "['light'],[12]\n"
    "P22_107_9,P22,P22_107,00:00:02.629,00:00:00.00,00:00:00.50,1,25,flick switch,flick,6,door,3,['door'],[3]\n"
)
VALIDATION = HEADER + (
    "P01_11_0,P01,P01_11,00:00:00.560,00:00:00.00,00:00:01.89,1,113,open door,pull,3,door,3,['door'],[3]\n"
)
VERBS = "id,key,instances,category\n3,open,\"['open', 'lever-open']\",access\n6,turn-on,['ignite'],access\n"
NOUNS = "id,key,instances,category\n3,door,['door'],furniture\n12,light,\"['lamp', 'light']\",appliances\n"
VIDEOS = ("P01/videos/P01_01.MP4", "P22/videos/P22_107.MP4", "P01/videos/P01_11.MP4")


@pytest.fixture
def published(data_set):
    data_set.videos(*VIDEOS)
    names = ("EPIC_100_train.csv", "EPIC_100_validation.csv", "EPIC_100_verb_classes.csv", "EPIC_100_noun_classes.csv")
    return [data_set.write(name, text) for name, text in zip(names, (TRAIN, VALIDATION, VERBS, NOUNS), strict=True)]


def test_a_narration_is_a_segment_with_a_verb_and_a_noun(data_set, published):
    loaded = data_set.load("epic-kitchens", *published)
    assert loaded.rows["P01_01_1"] == {
        "id": "P01_01_1",
        "path": "videos/P01/videos/P01_01.MP4",
        "label/verb": "turn-on",
        "label/noun": "light",
        "start": "3724.37",
        "end": "3726.17",
        "split": "train",
        "group": "P01_01",
    }
    assert loaded.splits == {"P01_01_0": "train", "P01_01_1": "train", "P22_107_9": "train", "P01_11_0": "eval"}


def test_classes_are_those_of_the_class_files_in_their_order(data_set, published):
    loaded = data_set.load("epic-kitchens", *published)
    assert loaded.rows["P22_107_9"]["label/verb"] == "turn-on"
    assert loaded.classes_file.read_text() == "verb\topen\nverb\tturn-on\nnoun\tdoor\nnoun\tlight\n"


def test_without_class_files_the_words_are_the_classes_and_that_is_reported(data_set, published):
    train = data_set.write("EPIC_100_train.csv", TRAIN)
    validation = data_set.write("EPIC_100_validation.csv", VALIDATION.replace("pull", "open"))
    loaded = data_set.load("epic-kitchens", train, validation)
    assert loaded.rows["P22_107_9"]["label/verb"] == "flick"
    (note,) = loaded.imported.notes
    assert note.startswith("classes of verb and noun are the words of the narrations")


def test_a_test_list_is_left_out_and_counted(data_set, published):
    header = ",".join(HEADER.split(",")[:8])
    row = "P01_101_0,P01,P01_101,00:00:02.851,00:00:02.86,00:00:03.87,143,193"
    test = data_set.write("EPIC_100_test_timestamps.csv", f"{header}\n{row}\n")
    assert data_set.load("epic-kitchens", *published, test).imported.left_out == {"no class is given": ("P01_101_0",)}


def test_a_narration_that_ends_as_it_starts_is_left_out(data_set, published):
    more = "P01_01_2,P01,P01_01,00:00:02.629,00:00:04.37,00:00:04.37,262,262,open door,open,3,door,3,['door'],[3]\n"
    data_set.write("EPIC_100_train.csv", TRAIN + more)
    loaded = data_set.load("epic-kitchens", *published)
    assert loaded.imported.left_out["its end is not after its start"] == ("P01_01_2",)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("00:00:03.37", "3.37", "EPIC_100_train.csv, row 2: stop_timestamp '3.37' is not a time HH:MM:SS.ss"),
        ("door,3", "door,999", "EPIC_100_train.csv, row 2: noun_class '999' is no id of the class file"),
        ("verb_class", "verbs", "missing column 'verb_class'; it has "),
    ],
)
def test_a_row_that_cannot_be_read_is_reported(data_set, published, old, new, problem):
    data_set.write("EPIC_100_train.csv", TRAIN.replace(old, new, 1))
    assert data_set.problems("epic-kitchens", *published)[0].startswith(problem)
