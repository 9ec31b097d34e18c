"""Something-Something v2 in both releases."""

import json

import pytest

HOLDING, PUTTING = "Holding something", "Putting something on something"
LABELS = {HOLDING: "10", PUTTING: "2"}


def item(name, template):
    return {"id": name, "label": "any sentence", "template": template, "placeholders": ["a cup"]}


TRAIN = [item("78687", "Holding [something]"), item("42326", "Putting [something] on [something]")]
VALIDATION = [item("74225", "Holding [something]")]


def release(data_set, prefix, validation=VALIDATION):
    files = {"train": TRAIN, "validation": validation, "test": [{"id": "1420"}], "labels": LABELS}
    return [data_set.write(f"{prefix}{name}.json", json.dumps(value)) for name, value in files.items()]


@pytest.mark.parametrize(
    ("prefix", "folder"),
    [("something-something-v2-", ""), ("labels/", "20bn-something-something-v2/")],
    ids=["first release", "second release"],
)
def test_a_template_without_its_brackets_is_the_class(data_set, prefix, folder):
    data_set.videos(*(f"{folder}{name}.webm" for name in ("78687", "42326", "74225", "1420")))
    loaded = data_set.load("something-something", *release(data_set, prefix))
    assert {name: (row["label"], row["split"]) for name, row in loaded.rows.items()} == {
        "78687": (HOLDING, "train"),
        "42326": (PUTTING, "train"),
        "74225": (HOLDING, "eval"),
    }
    assert loaded.rows["78687"]["path"] == f"videos/{folder}78687.webm"
    assert loaded.imported.left_out == {"no class is given": ("1420",)}


def test_classes_are_in_the_order_of_the_publisher(data_set):
    data_set.videos("78687.webm", "42326.webm", "74225.webm")
    loaded = data_set.load("something-something", *release(data_set, "labels/"))
    assert loaded.classes_file.read_text() == f"{PUTTING}\n{HOLDING}\n"


@pytest.mark.parametrize("text", [f"1420;{PUTTING}\n", f"id;label\r\n1420;{PUTTING}\r\n\r\n"])
def test_the_answers_of_the_second_release_give_the_test_split(data_set, text):
    data_set.videos("78687.webm", "42326.webm", "74225.webm", "1420.webm")
    answers = data_set.write("labels/test-answers.csv", text)
    loaded = data_set.load("something-something", *release(data_set, "labels/"), answers)
    assert (loaded.rows["1420"]["label"], loaded.splits["1420"]) == (PUTTING, "test")
    assert loaded.imported.left_out == {}


@pytest.mark.parametrize(
    ("validation", "problem"),
    [
        ([item("74225", "Eating [something]")], "item 1: 'Eating something' is not among the classes of label"),
        ([{"id": "74225"}], "item 1: 'template' is missing"),
        ([{"template": "Holding [something]"}], "item 1 has no 'id'"),
        ("74225", "it is neither a list of clips nor an object of classes"),
    ],
)
def test_an_item_that_cannot_be_used_is_reported(data_set, validation, problem):
    data_set.videos("78687.webm", "42326.webm", "74225.webm")
    (found,) = data_set.problems("something-something", *release(data_set, "labels/", validation))
    assert found.removeprefix("labels/validation.json, ") == problem


def test_answers_that_are_none_are_reported(data_set):
    answers = data_set.write("labels/test-answers.csv", f"1420,{PUTTING}\n")
    (problem,) = data_set.problems("something-something", answers)
    assert problem == f"row 1: wanted <id>;<class>, not '1420,{PUTTING}'"


def test_the_lists_of_the_first_version_are_refused(data_set):
    first = data_set.write("something-something-v1-train.csv", f"78687;{PUTTING}\n")
    (problem,) = data_set.problems("something-something", first)
    assert problem == "wanted the JSON files of version 2; its only CSV is test-answers.csv"
