"""A data set in a bucket: check, run and predict give what they give here, and end as they should."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys

import pytest

from components.storage import files
from pipeline.cli import main
from tests import processes
from tests.conftest import ONE_LABEL, TINY, UNGATED
from tests.models.serving.test_convert import convert
from tests.pipeline.inference.predicting import predict
from tests.servers import s3_server
from tests.videos import write_colour_classes


@pytest.fixture(scope="module")
def bucket(tmp_path_factory):
    """A bucket with a manifest of three classes, and a model."""
    folder = tmp_path_factory.mktemp("bucket")
    write_colour_classes(folder / "set", per_class=8)
    (folder / "set" / "bad.mp4").write_text("no video")
    rows = [(str(path.relative_to(folder / "set")), path.parent.name) for path in sorted(folder.glob("set/*/*.mp4"))]
    with (folder / "set" / "m.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label"), *rows])
    assert convert(folder / "model") == 0
    with s3_server() as system:
        system.put(f"{folder}/", "videos/", recursive=True)
        yield folder


@pytest.fixture
def vivit(tmp_path):
    """Gives what a command prints, which is a process of its own and must end with a status."""

    def run(*arguments, status=0):
        log = tmp_path / f"{arguments[0]}.log"
        process = processes.start(processes.run_module, "pipeline.cli", *map(str, arguments), log=log)
        assert processes.wait(process) == status, log.read_text()
        return log.read_text()

    return run


def test_videos_in_a_bucket_are_checked(bucket, capfd):
    command = [sys.executable, "-m", "pipeline.cli", "check", "s3://videos/set/m.csv", "--csv", "s3://videos/told.csv"]
    done = subprocess.run(command, cwd=processes.ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "24 clips: 24 good, 0 bad" in done.stdout
    assert main(["check", "s3://videos/set", "--csv", "s3://videos/told.csv"]) == 1
    assert "25 clips: 24 good, 1 bad" in capfd.readouterr().out
    verdicts = [row["verdict"] for row in csv.DictReader(io.StringIO(files.read("s3://videos/told.csv").decode()))]
    assert sorted(verdicts) == ["bad", *["good"] * 24]


def test_a_model_in_a_bucket_predicts_a_video_in_a_bucket_as_local_ones_do(bucket, vivit):
    video = next(bucket.glob("set/*/*.mp4"))
    there = f"s3://videos/{video.relative_to(bucket)}"
    predicted = json.loads(vivit("predict", "--json", "--model", "s3://videos/model", there))
    (here,) = predict(bucket / "model", [video])
    assert (predicted["path"], predicted["logits"]["label"]) == (there, here.logits["label"].tolist())


def test_artifacts_in_a_bucket_need_tensorflows_own_file_system(bucket, vivit, monkeypatch):
    # As tensorflow-io wants the address.
    monkeypatch.setenv("S3_ENDPOINT", os.environ["AWS_ENDPOINT_URL"])
    arguments = ("prepare", "--data", bucket / "set", "--workdir", "s3://videos/run", "--set", "train.batch_size=4")
    if sys.version_info < (3, 11):
        assert "schema: s3://videos/run/data/schema-" in vivit(*arguments)
    else:
        shown = vivit(*arguments, status=1)
        assert "vivit: TensorFlow 2.21.0, which runs here, keeps no artifacts at s3:// (" in shown
        assert "use a workdir at gs://, a bucket that is mounted as a folder, or Python 3.10" in shown


@pytest.mark.end_to_end
def test_a_manifest_in_a_bucket_becomes_a_pushed_model(bucket, vivit, tmp_path):
    settings = [word for setting in (*TINY, *ONE_LABEL, *UNGATED) for word in ("--set", setting)]
    workdir = tmp_path / "run"
    summary = vivit("run", "--data", "s3://videos/set/m.csv", "--workdir", workdir, "--recipe", "demo", *settings)
    assert "24 out, 0 dropped" in summary
    (version,) = (workdir / "pushed").iterdir()
    assert (version / "saved_model.pb").exists()


def test_the_workers_of_dataflow_see_no_folder_of_this_machine(bucket, tmp_path, capfd):
    beam = ["--beam", "runner=DataflowRunner", "--set", "train.batch_size=4"]
    assert main(["run", "--data", str(bucket / "set" / "m.csv"), "--workdir", str(tmp_path / "run"), *beam]) == 1
    assert "its workers see buckets alone, and 25 of what they read and write" in capfd.readouterr().out
