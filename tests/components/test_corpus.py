"""The corpus: every good file gives the frames that a player shows, and every bad one a reason."""

import pytest

from components.video import IngestConfig, VideoError, store_clip
from tests.components import corpus
from tests.components.videos import numbers

INGEST = IngestConfig(fps=10, short_side=48)


@pytest.mark.parametrize("name", corpus.GOOD)
def test_a_good_file_gives_the_right_frames_at_the_right_times_upright(tmp_path, name):
    make, shows = corpus.GOOD[name]
    make(tmp_path / name)
    assert numbers(store_clip(str(tmp_path / name), INGEST)) == shows


@pytest.mark.parametrize("name", corpus.BAD)
def test_a_bad_file_is_refused_with_its_reason(tmp_path, name):
    make, reason = corpus.BAD[name]
    make(tmp_path / name)
    with pytest.raises(VideoError, match=reason):
        store_clip(str(tmp_path / name), INGEST)
