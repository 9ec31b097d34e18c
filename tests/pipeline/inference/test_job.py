"""`vivit predict --output`: a Beam job whose bytes are the same however it runs, and however often it is killed."""

import io
import json
import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.special import softmax

from components.manifest.listing import ListedClip, list_clips
from pipeline.beam import step_args
from pipeline.cli import main
from pipeline.inference.job import UNFINISHED, JobConfig, run_job
from pipeline.inference.predictor import Predictor
from schemas.serving import CARD
from tests import processes
from tests.models.serving.test_convert import convert
from tests.pipeline.inference.predicting import predict
from tests.servers import job_server
from tests.videos import write_video

VIDEOS, SEGMENTS = 6, 12


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    assert convert(folder, "--set", "views.temporal=2") == 0
    return str(folder)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """Segments of small videos, and one that is none."""
    folder, rng = tmp_path_factory.mktemp("videos"), np.random.default_rng(0)
    rows = ["path,start,end"]
    for number in range(VIDEOS):
        write_video(folder / f"{number}.mp4", rng.integers(0, 255, (40, 40, 48, 3), dtype=np.uint8))
        rows += [f"{number}.mp4,{0.2 * start:g},{0.2 * start + 1:g}" for start in range(SEGMENTS)]
    (folder / "bad.mp4").write_text("no video")
    (folder / "m.csv").write_text("\n".join([*rows, "bad.mp4,,", "1.mp4,100,101"]))
    return folder / "m.csv"


@pytest.fixture(scope="module")
def whole(model, manifest, tmp_path_factory):
    """The files of a job that ran once on one thread, by name."""
    output = tmp_path_factory.mktemp("whole") / "predictions"
    run_job(list_clips(str(manifest)).clips, JobConfig(model, str(output), decoders=1), step_args())
    return contents(output)


def contents(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir() if path.is_file()}


def without_counts(files):
    """Files of a job, but how much of it an earlier run did."""
    return {name: data for name, data in files.items() if name != "summary.json"}


def run_and_count(counts, *arguments):
    """Runs a job in this process, and writes a line for each pass through the network: of how many clips."""
    forward = Predictor._of_views

    def counted(self, clips):
        found = forward(self, clips)
        with open(counts, "a") as file:
            file.write(f"{len(clips)}\n")
        return found

    Predictor._of_views = counted
    run_job(*arguments)


def rows_of(files):
    names = sorted(name for name in files if name.startswith("predictions-") and name.endswith(".jsonl"))
    return [json.loads(line) for name in names for line in files[name].splitlines()]


def test_every_clip_comes_out_once_as_a_prediction_or_in_quarantine(whole):
    rows, summary = rows_of(whole), json.loads(whole["summary.json"])
    assert len(rows) == len({row["id"] for row in rows}) == VIDEOS * SEGMENTS + 2
    lost = [json.loads(line) for line in whole["quarantine.jsonl"].splitlines()]
    assert [(Path(row["path"]).name, row["stage"]) for row in lost] == [("1.mp4", "segment"), ("bad.mp4", "open")]
    assert (summary["predicted"], summary["before"], summary["lost"]) == (VIDEOS * SEGMENTS, 0, 2)
    assert [row["error"] for row in rows if "error" in row] == [row["error"] for row in lost]


def test_the_tables_say_what_the_lines_and_a_prediction_alone_say(whole, model, manifest):
    names = sorted(name for name in whole if name.endswith(".parquet"))
    assert len(names) > 4
    table = pa.concat_tables([pq.read_table(io.BytesIO(whole[name])) for name in names])
    rows = [row for row in rows_of(whole) if "error" not in row]
    assert table["id"].to_pylist() == [row["id"] for row in rows]
    first = [row["heads"]["label"][0] for row in rows]
    assert table["label/class"].to_pylist() == [one["class"] for one in first]
    np.testing.assert_allclose(table["label/probability"].to_pylist(), [one["probability"] for one in first], rtol=1e-6)
    (alone,) = predict(model, [manifest.parent / "0.mp4"], start=rows[0]["start"], end=rows[0]["end"])
    np.testing.assert_allclose(table["label/probabilities"][0].as_py(), softmax(alone.logits["label"]), atol=1e-6)


@pytest.mark.parametrize("decoders", [2, 4])
def test_threads_that_share_a_model_write_the_same_bytes(whole, model, manifest, tmp_path, decoders):
    threads = step_args(["direct_running_mode=multi_threading", f"direct_num_workers={decoders}"])
    run_job(list_clips(str(manifest)).clips, JobConfig(model, str(tmp_path), decoders=decoders), threads)
    assert contents(tmp_path) == whole


@pytest.mark.end_to_end
def test_a_portable_runner_writes_the_same_bytes(whole, model, manifest, tmp_path):
    with job_server() as jobs:
        beam_args = ["--runner=PortableRunner", f"--job_endpoint={jobs}", "--environment_type=LOOPBACK"]
        run_job(list_clips(str(manifest)).clips, JobConfig(model, str(tmp_path)), beam_args)
    assert contents(tmp_path) == whole


def test_a_job_that_was_killed_three_times_predicts_nothing_twice(whole, model, manifest, tmp_path):
    output, counts = tmp_path / "output", tmp_path / "counts"
    arguments = (str(counts), list_clips(str(manifest)).clips, JobConfig(model, str(output), decoders=1), step_args())
    unfinished, log = output / UNFINISHED, tmp_path / "log"
    for kill in range(3):
        process = processes.start(run_and_count, *arguments, log=log)
        while process.is_alive() and not (counts.exists() and len(counts.read_text().split()) > 3 * kill + 2):
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        assert processes.wait(process) == -signal.SIGKILL, log.read_text()
    done = sum(b'"error"' not in line for path in output.glob("pred*.jsonl") for line in path.read_bytes().splitlines())
    saved = done + sum(path.read_text().count('"logits"') for path in unfinished.glob("*.json"))
    assert processes.wait(processes.start(run_and_count, *arguments, log=log)) == 0, log.read_text()
    forward, most = [*map(int, counts.read_text().split())], max(map(int, counts.read_text().split()))
    # A kill costs the group that was in the network at most.
    assert VIDEOS * SEGMENTS <= sum(forward) <= VIDEOS * SEGMENTS + 3 * most
    assert json.loads((output / "summary.json").read_text())["before"] == saved > 0
    assert without_counts(contents(output)) == without_counts(whole)
    assert not list(unfinished.iterdir())


def test_a_finished_job_predicts_nothing_and_its_quarantine_is_a_manifest(model, manifest, whole, tmp_path, capfd):
    for name, data in whole.items():
        (tmp_path / name).write_bytes(data)
    again = ["predict", "--model", model, "--data", str(manifest), "--output", str(tmp_path)]
    assert main(again) == 1
    assert f"{VIDEOS * SEGMENTS} clips predicted, all of them before, 2 lost; see " in capfd.readouterr().out
    assert without_counts(contents(tmp_path)) == without_counts(whole)
    quarantine = str(tmp_path / "quarantine.jsonl")
    assert main(["predict", "--model", model, "--data", quarantine, "--output", str(tmp_path / "again")]) == 1
    assert "0 clips predicted, 2 lost" in capfd.readouterr().out
    assert (tmp_path / "again" / "quarantine.jsonl").read_bytes() == whole["quarantine.jsonl"]


def test_what_is_lost_of_videos_by_relative_paths_can_be_tried_again(model, manifest, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(manifest.parent.parent)
    bad = os.path.join(manifest.parent.name, "bad.mp4")
    assert main(["predict", "--one-view", "--model", model, "--output", str(tmp_path / "out"), bad]) == 1
    quarantine = str(tmp_path / "out" / "quarantine.jsonl")
    capfd.readouterr()
    assert main(["predict", "--one-view", "--model", model, "--data", quarantine]) == 1
    assert "no such file" not in capfd.readouterr().out


def test_a_finished_shard_is_read_again_whatever_its_names(model, manifest, tmp_path):
    video = tmp_path / "one\u2028line.mp4"
    shutil.copy(manifest.parent / "0.mp4", video)
    clips = [ListedClip(str(video), str(video), id=str(video))]
    config = JobConfig(model, str(tmp_path / "out"), one_view=True)
    assert run_job(clips, config, step_args())["before"] == 0
    assert run_job(clips, config, step_args())["before"] == 1


def test_a_damaged_file_of_a_job_or_a_model_is_named(model, manifest, whole, tmp_path, capfd):
    (tmp_path / "job.json").write_bytes(whole["job.json"][:20])
    given = ["predict", "--model", model, "--data", str(manifest), "--output", str(tmp_path)]
    assert main(given) == 2
    assert f"{tmp_path / 'job.json'} is damaged" in capfd.readouterr().out
    half = tmp_path / "half"
    shutil.copytree(model, half)
    (card,) = half.glob(f"*/{CARD}")
    card.write_text('{"classes": ')
    assert main(["predict", "--model", str(half), str(manifest.parent / "0.mp4")]) == 2
    assert f"vivit: {card} cannot be loaded" in capfd.readouterr().out


def test_a_folder_with_other_predictions_is_refused(model, manifest, whole, tmp_path, capfd):
    (tmp_path / "job.json").write_bytes(whole["job.json"])
    for more, said in (("--one-view", "another one_view"), ("--embedding", "another embedding")):
        assert main(["predict", "--model", model, "--data", str(manifest), "--output", str(tmp_path), more]) == 2
        assert f"holds predictions with {said}: choose another folder" in capfd.readouterr().out
    assert main(["predict", "--model", model, "--output", str(tmp_path), str(manifest.parent / "0.mp4")]) == 2
    assert "holds predictions with another clips" in capfd.readouterr().out


def test_folders_and_patterns_are_predicted_and_what_cannot_be_used_is_said(model, manifest, tmp_path, capfd):
    folder = manifest.parent
    assert main(["predict", "--json", "--one-view", "--model", model, "--data", str(folder / "[01].mp4")]) == 0
    by_pattern = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [Path(row["path"]).name for row in by_pattern] == ["0.mp4", "1.mp4"]
    assert main(["predict", "--json", "--one-view", "--model", model, "--data", str(folder)]) == 1
    by_folder = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [row["path"] for row in by_folder] == [*(f"{number}.mp4" for number in range(VIDEOS)), "bad.mp4"]
    np.testing.assert_allclose(by_folder[0]["logits"]["label"], by_pattern[0]["logits"]["label"], atol=1e-5)
    (tmp_path / "m.csv").write_text(f"path,start\n{folder / '0.mp4'},soon\n{folder / '0.mp4'},0\n")
    assert main(["predict", "--one-view", "--model", model, "--data", str(tmp_path / "m.csv")]) == 1
    assert capfd.readouterr().out.splitlines()[0] == "row 2: start 'soon' is not a time in seconds"
    assert main(["predict", "--model", model, "--data", str(tmp_path / "gone*.mp4")]) == 2
    assert "no such file or folder, nor files of such a pattern" in capfd.readouterr().out
