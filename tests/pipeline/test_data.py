"""Preparing a data set: what the pipeline reads, and when it is written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from components.ingest.quarantine import TooManyBadVideosError
from pipeline.data import prepare
from pipeline.recipe import load_recipe
from pipeline.settings import ConfigError
from tests.videos import write_colour_classes


@pytest.fixture
def folder(tmp_path) -> Path:
    return write_colour_classes(tmp_path / "videos", per_class=8)


def recipe(*overrides):
    return load_recipe("small", ["train.batch_size=4", *overrides])


def written(workdir: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in workdir.rglob("*") if path.is_file()}


def test_preparing_again_writes_nothing(folder, tmp_path):
    prepare(str(folder), str(tmp_path / "run"), recipe())
    before = written(tmp_path / "run")
    prepare(str(folder), str(tmp_path / "run"), recipe())
    assert written(tmp_path / "run") == before


def test_a_changed_video_gives_a_manifest_of_its_own_beside_the_one_before(folder, tmp_path):
    data, manifest = prepare(str(folder), str(tmp_path / "run"), recipe())
    before = written(tmp_path / "run")
    os.utime(manifest.split("eval")[0].path, (1, 1))
    changed, _ = prepare(str(folder), str(tmp_path / "run"), recipe())
    assert {path: written(tmp_path / "run")[path] for path in before} == before
    of_split = {
        split: [Path(d.manifest_dir, f"{split}.jsonl").read_text() for d in (data, changed)] for split in data.splits
    }
    assert of_split["train"][0] == of_split["train"][1]
    assert of_split["eval"][0] != of_split["eval"][1]
    os.utime(manifest.split("eval")[0].path, ns=(manifest.split("eval")[0].mtime,) * 2)
    assert prepare(str(folder), str(tmp_path / "run"), recipe())[0] == data


def test_first_weights_are_seen_by_their_content_and_missed_before_anything_is_read(folder, tmp_path):
    weights = tmp_path / "weights.npz"
    named = recipe(f"model.init_from={weights}")
    with pytest.raises(ConfigError, match=f"^model.init_from is {weights}, which cannot be read: No such file"):
        prepare(str(folder / "nowhere"), str(tmp_path / "run"), named)
    versions = []
    for content in ("one", "two", "one"):
        weights.write_text(content)
        versions.append(prepare(str(folder), str(tmp_path / "run"), named)[0].first_weights)
    assert versions[0] == versions[2] != versions[1]


def test_more_unreadable_files_than_ingest_may_lose_are_reported_before_anything_is_decoded(folder, tmp_path):
    gone = next(folder.glob("red/*.mp4"))
    gone.unlink()
    gone.symlink_to("nowhere.mp4")
    with pytest.raises(TooManyBadVideosError, match=f"^1 of 24 clips .*:\n  {gone}: cannot open it: No such file"):
        prepare(str(folder), str(tmp_path / "run"), recipe())
    assert not (tmp_path / "run").exists()
    data, _ = prepare(str(folder), str(tmp_path / "run"), recipe("ingest.max_bad_fraction=0.05"))
    assert sum(Path(data.manifest_dir, f"{split}.jsonl").read_text().count("\n") for split in data.splits) == 24


def test_fewer_clips_than_a_batch_are_reported_before_anything_is_decoded(folder, tmp_path):
    with pytest.raises(ConfigError, match=r"train.batch_size is 64, but .* has \d+ training clips: lower it"):
        prepare(str(folder), str(tmp_path / "run"), recipe("train.batch_size=64"))
    assert not (tmp_path / "run").exists()
