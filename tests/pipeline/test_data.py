"""Preparing a data set: what the pipeline reads, and when it is written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from components.ingest.quarantine import TooManyBadVideosError
from pipeline.data import locate, prepare
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


def test_a_changed_video_changes_its_manifest(folder, tmp_path):
    data, manifest = prepare(str(folder), str(tmp_path / "run"), recipe())
    clip = manifest.split("eval")[0]
    os.utime(clip.path, (1, 1))
    before = {split: Path(data.manifest_dir, f"{split}.jsonl").read_text() for split in data.splits}
    prepare(str(folder), str(tmp_path / "run"), recipe())
    after = {split: Path(data.manifest_dir, f"{split}.jsonl").read_text() for split in data.splits}
    assert after["train"] == before["train"]
    assert after["eval"] != before["eval"]


def test_a_compiled_pipeline_reads_where_the_data_is_prepared(folder, tmp_path):
    data, _ = prepare(str(folder), str(tmp_path / "run"), recipe("data.slices=[]"))
    assert locate(str(tmp_path / "run"), splits=("train", "eval"), heads=("label",), slices=()) == data


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
