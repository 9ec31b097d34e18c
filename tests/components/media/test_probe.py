"""What a file reports about itself, and never nonsense."""

import pytest

from components.media.probe import Probe, probe
from tests.components.media import corpus
from tests.components.media.videos import write_turned

PIXELS = 1 << 20
# Clockwise, before the picture is mirrored from left to right.
TURNS = {
    "turned_0": 0,
    "turned_90": 90,
    "turned_180": 180,
    "turned_270": 270,
    "mirrored": 0,
    "flipped": 180,
    "transposed": 90,
    "transverse": 270,
    "no_matrix": 0,
}


@pytest.mark.parametrize("how", TURNS)
def test_the_rotation_is_that_of_a_player(tmp_path, how):
    assert probe(write_turned(tmp_path / "v.mov", how), PIXELS).rotation == TURNS[how]


def test_of_several_streams_the_one_that_a_player_shows_is_described(tmp_path):
    make, _ = corpus.GOOD["second_is_default.mkv"]
    make(tmp_path / "v.mkv")
    found = probe(str(tmp_path / "v.mkv"), PIXELS)
    assert (found.width, found.height) == (64, 48)


@pytest.mark.parametrize("name", ["playlist.mp4", "unknown_codec.mkv"])
def test_what_cannot_be_read_reports_nothing(tmp_path, name):
    make, _ = corpus.BAD[name]
    make(tmp_path / name)
    assert probe(str(tmp_path / name), PIXELS) == Probe()
