"""What a file tells of itself, and never nonsense."""

import pytest

from components.probe import Probe, probe
from tests.components import corpus


@pytest.mark.parametrize("name", ["playlist.mp4", "unknown_codec.mkv"])
def test_what_cannot_be_read_tells_nothing(tmp_path, name):
    make, _ = corpus.BAD[name]
    make(tmp_path / name)
    assert probe(str(tmp_path / name)) == Probe()
