"""The corpus: every good file gives the frames that a player shows, and every bad one a reason."""

import json

import pytest

from components.ingest.config import IngestConfig
from components.manifest.reader import read_manifest
from components.media.video import VideoError, store_clip, store_segments
from schemas import features
from tests.components.ingest.running import execute
from tests.components.media import corpus
from tests.components.media.videos import numbers

INGEST = IngestConfig(fps=10, short_side=48)


@pytest.mark.parametrize("name", corpus.GOOD)
def test_a_good_file_gives_the_right_frames_at_the_right_times_upright(tmp_path, name):
    make, shows = corpus.GOOD[name]
    make(tmp_path / name)
    assert numbers(store_clip(str(tmp_path / name), INGEST)) == shows


@pytest.mark.parametrize("name", [name for name, (_, shows) in corpus.GOOD.items() if len(shows) >= 20])
def test_segments_of_a_good_file_are_its_parts(tmp_path, name):
    make, shows = corpus.GOOD[name]
    make(tmp_path / name)
    path, segments, parts = str(tmp_path / name), [(1.3, 1.9), (0.1, 0.7)], [shows[13:19], shows[1:7]]
    assert [numbers(store_clip(path, INGEST, start=start, end=end)) for start, end in segments] == parts
    together = dict(store_segments(path, segments, INGEST))
    assert [numbers(together[place]) for place in range(2)] == parts


@pytest.mark.parametrize("name", corpus.BAD)
def test_a_bad_file_is_refused_with_its_reason(tmp_path, name):
    make, reason = corpus.BAD[name]
    make(tmp_path / name)
    with pytest.raises(VideoError, match=reason):
        store_clip(str(tmp_path / name), INGEST)


@pytest.mark.end_to_end
def test_a_manifest_of_the_corpus_gives_every_good_file_and_a_quarantine_with_every_bad_one(tmp_path):
    corpus.make_corpus(tmp_path)
    names = [*corpus.GOOD, *corpus.BAD]
    rows = [{"path": n, "label": str(i % 2), "split": "eval" if i < 4 else "train"} for i, n in enumerate(names)]
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, rows)))
    manifest = read_manifest(tmp_path / "m.jsonl")
    (tmp_path / "manifest").mkdir()
    for split in ("train", "eval"):
        lines = "".join(clip.to_json() + "\n" for clip in manifest.split(split))
        (tmp_path / "manifest" / f"{split}.jsonl").write_text(lines)
    examples, quarantine = execute(tmp_path, str(tmp_path / "manifest"), INGEST)
    ids = [e.features.feature[features.CLIP_ID].bytes_list.value[0].decode() for e in sum(examples.values(), [])]
    assert sorted(ids) == sorted(corpus.GOOD)
    reasons = {row["id"]: row["reason"] for row in quarantine}
    assert sorted(reasons) == sorted(corpus.BAD)
    assert all(words in reasons[name] for name, (_, words) in corpus.BAD.items())
