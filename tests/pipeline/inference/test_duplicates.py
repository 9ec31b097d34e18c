"""`vivit duplicates`: copies among the clips that `vivit predict --embedding` wrote, and what cannot be searched."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from components.manifest.listing import list_clips
from pipeline.beam import step_args
from pipeline.cli import main
from pipeline.inference.job import JobConfig, run_job
from tests.models.serving.test_convert import convert
from tests.videos import write_video


def write_scenes(path, seeds, *, size=(48, 40), crf=10):
    """Each second of a video is a picture of its own that changes its colours; returns rows of a manifest."""
    frames = []
    for seed in seeds:
        coarse = np.random.default_rng(seed).integers(0, 255, (2, 4, 5, 3), dtype=np.uint8)
        first, last = (np.asarray(Image.fromarray(one).resize(size, Image.Resampling.BICUBIC), float) for one in coarse)
        frames += [first + (last - first) * time / 9 for time in range(10)]
    write_video(path, np.array(frames).astype(np.uint8), options={"crf": str(crf)})
    return [f"{path},{second},{second + 1},{path.stem} {seed}" for second, seed in enumerate(seeds)]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """Embeddings of two sets of scenes: 0 is in `old` three times, 1 twice; 2 and 3 are in both."""
    folder = tmp_path_factory.mktemp("duplicates")
    assert convert(folder / "model") == 0
    old = write_scenes(folder / "all.mp4", range(120))
    old += write_scenes(folder / "again.mp4", (0, 1), crf=25)
    old += write_scenes(folder / "larger.mp4", (0,), size=(72, 60))
    new = write_scenes(folder / "new.mp4", (2, 3, 1000, 1001), size=(60, 50))
    for name, rows in (("old", old), ("new", new)):
        (folder / f"{name}.csv").write_text("\n".join(["path,start,end,id", *rows]))
        clips, output = list_clips(str(folder / f"{name}.csv")).clips, str(folder / f"{name}-out")
        run_job(clips, JobConfig(str(folder / "model"), output, embedding=True), step_args())
    return folder


def duplicates(capfd, *arguments):
    """Status and lines of the command."""
    status = main(["duplicates", *map(str, arguments)])
    return status, capfd.readouterr().out.splitlines()


def test_copies_in_one_output_are_pairs_of_one_cluster_the_surest_first(outputs, tmp_path, capfd):
    status, lines = duplicates(capfd, outputs / "old-out", "--output", tmp_path / "found.jsonl")
    assert status == 0
    assert lines == [
        "123 clips compared: 4 pairs of near duplicates, which make 2 clusters of 5 clips",
        "  3 clips: all 0, again 0, larger 0",
        "  2 clips: all 1, again 1",
    ]
    rows = [json.loads(line) for line in (tmp_path / "found.jsonl").read_text().splitlines()]
    expected = [("again 0", "all 0"), ("again 1", "all 1"), ("larger 0", "again 0"), ("larger 0", "all 0")]
    assert sorted((row["clip"], row["of"]) for row in rows) == expected
    assert [row["similarity"] for row in rows] == sorted((row["similarity"] for row in rows), reverse=True)
    for row in rows:
        assert row["cluster"] == int(row["clip"][-1]) and 0.9 <= row["similarity"] <= 1
        assert (Path(row["path"]).stem, Path(row["of_path"]).stem) == (row["clip"][:-2], row["of"][:-2])
        assert (row["of_start"], row["of_end"]) == (int(row["of"][-1]), int(row["of"][-1]) + 1)


def test_clips_of_another_output_are_found_in_one_at_any_uri(outputs, capfd):
    for path in (outputs / "old-out").iterdir():
        tf.io.gfile.makedirs("ram://duplicates/old")
        if path.is_file():
            tf.io.gfile.copy(str(path), f"ram://duplicates/old/{path.name}", overwrite=True)
    arguments = "ram://duplicates/old/", outputs / "new-out", "--output", "ram://duplicates/found.jsonl"
    status, lines = duplicates(capfd, *arguments)
    assert (status, lines[0]) == (0, "127 clips compared: 2 pairs of near duplicates")
    with tf.io.gfile.GFile("ram://duplicates/found.jsonl") as file:
        rows = [json.loads(line) for line in file]
    assert {(row["clip"], row["of"]) for row in rows} == {("new 2", "all 2"), ("new 3", "all 3")}
    assert not any("cluster" in row for row in rows)


def test_no_pair_is_an_answer_too(outputs, tmp_path, capfd):
    status, lines = duplicates(capfd, outputs / "old-out", "--least", "0.999999", "--output", tmp_path / "none.jsonl")
    assert (status, lines) == (0, ["123 clips compared: 0 pairs of near duplicates"])
    assert (tmp_path / "none.jsonl").read_bytes() == b""


@pytest.fixture
def changed(outputs, tmp_path):
    """Makes a copy of `old-out` whose job states something else, or that lacks files of a pattern."""

    def change(lacks="", **job):
        shutil.copytree(outputs / "old-out", tmp_path / "out")
        for path in (tmp_path / "out").glob(lacks) if lacks else ():
            path.unlink()
        file = tmp_path / "out" / "job.json"
        if file.exists():
            file.write_text(json.dumps(json.loads(file.read_text()) | job))
        return tmp_path / "out"

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"embedding": False}, "has no embeddings: predict its clips again, into another folder, with --embedding"),
        ({"model": "another"}, "are by different models: their embeddings cannot be compared"),
        ({"one_view": True}, "are by different views (--one-view): their embeddings cannot be compared"),
        ({"lacks": "*-00001-*"}, "is not done: 1 of 2 shards are missing (predictions-00001-of-00002)"),
        ({"lacks": "predictions-*"}, "is not done: no shard of it is there"),
        ({"lacks": "job.json"}, "is no output of `vivit predict --output`: it has no job.json"),
    ],
    ids=str,
)
def test_what_cannot_be_searched_is_refused_in_one_line(outputs, changed, capfd, change, said):
    status, (line,) = duplicates(capfd, outputs / "new-out", changed(**change))
    assert status == 2 and line.startswith("vivit: ") and said in line


def test_no_folder_and_few_clips_are_refused(outputs, tmp_path, capfd):
    assert duplicates(capfd, tmp_path / "gone") == (2, [f"vivit: no such folder: {tmp_path / 'gone'}"])
    status, (line,) = duplicates(capfd, outputs / "new-out")
    assert status == 2 and "4 clips have an embedding; 100 or more are needed" in line
    with pytest.raises(SystemExit, match="2"):
        main(["duplicates", str(outputs / "old-out"), "--least", "1.5"])
