"""The benchmark of ingest measures the same work as its bare loop."""

import io
import json

import av
import pytest
from PIL import Image

from benchmarks.ingest import bare_loop, bench_ingest, describe, write_videos
from benchmarks.long_videos.segments import bench_segments
from components.ingest.config import IngestConfig
from components.media.video import store_clip

CONFIG = IngestConfig(fps=25, short_side=64)


def test_the_bare_loop_stores_as_many_frames_of_the_same_size_as_ingest(tmp_path):
    (video, copy) = write_videos(tmp_path, 2, seconds=1)
    with av.open(copy) as container:
        assert (container.streams.video[0].width, container.streams.video[0].height) == (340, 256)
    bare, ours = bare_loop(video, CONFIG), store_clip(video, CONFIG).frames
    assert len(bare) == len(ours) == 25
    assert {Image.open(io.BytesIO(frame)).size for frame in (*bare, *ours)} == {(85, 64)}


@pytest.mark.end_to_end
def test_reports_each_rate_as_a_share_of_the_bare_loop():
    result = bench_ingest(CONFIG, clips=3, workers=1, rounds=1, seconds=1)
    measured = result["measured"]
    assert list(measured) == ["bare", "1 worker"]
    ours, bare = measured["1 worker"], measured["bare"]
    assert ours["share"] == pytest.approx(ours["videos_per_second"] / bare["videos_per_second"])
    assert ours["frames_per_second"] == pytest.approx(25 * ours["videos_per_second"])
    assert json.loads(json.dumps(result))["clips"] == 3
    assert "1 worker" in describe(result)


@pytest.mark.end_to_end
def test_segments_of_a_long_video_are_ingested_and_compared_with_one_decode_of_it():
    rates = bench_segments(CONFIG, minutes=1, segments=3)
    assert rates.ratio == pytest.approx(rates.segment_seconds / rates.decode_seconds)
    assert rates.decode_seconds > 0
