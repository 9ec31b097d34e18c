"""`vivit predict` on a converted model: its videos are decoded by the decoder of ingest, wherever they are."""

import os
import shutil

import pytest
import tensorflow as tf

from pipeline.inference.model import ModelError, latest_version
from pipeline.inference.predict import predict
from tests.components.media.videos import write_video
from tests.models.serving.test_convert import convert


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    assert convert(folder, "--set", "ingest.max_seconds=10") == 0
    return str(folder)


def test_what_is_no_file_and_what_cannot_be_reached_cost_themselves_only(model, tmp_path):
    os.mkfifo(tmp_path / "waits.mp4")
    good = tmp_path / os.fsdecode(b"gr\xfcn.mp4")
    os.rename(write_video(tmp_path / "good.mp4", range(20)), good)
    bad = [
        str(tmp_path / "waits.mp4"),
        "/dev/stdin",
        str(tmp_path),
        "http://no-such-host.invalid/a.mp4",
        "gopher://h/a",
    ]
    *failed, predicted = predict(model, [*bad, str(good)])
    no_file = "it is no file, but a folder, a pipe or a device"
    assert [one.error for one in failed[:3]] == [no_file] * 3
    assert failed[3].error
    assert "neither TensorFlow nor fsspec reads gopher://" in failed[4].error
    # Its name is written as it can be.
    assert predicted.as_json()["video"].endswith("gr\\udcfcn.mp4")
    assert (predicted.error, set(predicted.heads)) == (None, {"label"})


def test_a_part_of_a_video_is_predicted(model, tmp_path):
    video = str(write_video(tmp_path / "v.mp4", range(40)))
    (whole,) = predict(model, [video])
    (part,) = predict(model, [video], start=0.5, end=1.0)
    assert part.logits != whole.logits
    (behind,) = predict(model, [video], start=100.0)
    assert behind.error.startswith("no frame between 100 s and its end")


def test_a_model_that_was_copied_in_part_is_refused(model, tmp_path):
    shutil.copytree(latest_version(model), tmp_path / "part")
    (tmp_path / "part" / "variables" / "variables.index").unlink()
    with pytest.raises(ModelError, match="part cannot be loaded: a file of it is missing or damaged, copy it again"):
        next(predict(str(tmp_path / "part"), []))


def test_a_remote_video_is_predicted_as_its_local_copy_is(model, tmp_path):
    local = str(write_video(tmp_path / "v.mp4", range(20)))
    # TensorFlow's own file system in memory takes the way of every remote one.
    tf.io.gfile.copy(local, "ram://predict/v.mp4", overwrite=True)
    here, there, gone = predict(model, [local, "ram://predict/v.mp4", "ram://predict/gone.mp4"])
    assert here.logits == there.logits
    assert gone.error.startswith("cannot copy it: ")
