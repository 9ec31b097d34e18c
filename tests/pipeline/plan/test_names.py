"""Names of classes that may be taken for one another: by a reader, or by a network that sees mirrored clips."""

import pytest

from pipeline.plan.names import mirrored, mistyped, nearly_equal


@pytest.mark.parametrize(
    "names",
    [
        ("Run", "run"),
        ("long jump", "long_jump"),
        ("long jump", "Long-Jump"),
        ("long  jump", "long jump"),
        ("run", "run "),
        ("caf\u00e9", "cafe\u0301"),
        ("\ufb01sh", "fish"),
        ("stra\u00dfe", "STRASSE"),
    ],
)
def test_names_that_differ_in_case_blanks_or_unicode_form_are_nearly_equal(names):
    assert nearly_equal([*names, "swim"]) == [sorted(names)]


def test_names_that_say_different_things_are_not():
    assert nearly_equal(["run", "running", "c", "c++", "-1", "1", "1.5", "15", "long jump", "longjump", "ночь"]) == []


def test_a_rare_name_beside_a_common_one_is_mistyped_where_one_letter_differs():
    counts = {"jumping": 40, "jumpnig": 2, "jummping": 4, "walking": 30, "talking": 30, "class_1": 50, "class_2": 1}
    assert mistyped(counts) == [("jummping", "jumping"), ("jumpnig", "jumping")]


@pytest.mark.parametrize(
    "names",
    [
        ("left", "right"),
        ("Left", "RIGHT"),
        ("turn_left", "turn-right"),
        ("turnLeft", "turnRight"),
        ("swipeleft", "swiperight"),
        ("to the left", "to the right"),
        ("Pushing something from left to right", "Pushing something from right to left"),
        ("leftwards", "rightward"),
        ("left-handed", "right-handed"),
        ("clockwise", "anticlockwise"),
        ("turning clockwise", "turning counter-clockwise"),
        ("rotate_cw", "rotate_ccw"),
    ],
)
def test_sides_and_senses_of_rotation_are_mirror_images(names):
    assert mirrored([*names, "up"]) == sorted(names)


@pytest.mark.parametrize(
    "names",
    [
        ("up", "down"),
        ("bright", "upright"),
        ("left arm", "left leg"),
        ("right answer", "wrong answer"),
        ("leftover", "copyright"),
        ("from left to right", "up"),
    ],
)
def test_other_names_are_not(names):
    assert mirrored(names) == []
