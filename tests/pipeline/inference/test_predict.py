"""`vivit predict` on a converted model: its videos are decoded by the decoder of ingest, wherever they are."""

import os

import pytest
import tensorflow as tf

from components.storage.files import NoFileSystemError
from pipeline.inference.predict import predict
from tests.components.media.videos import write_video
from tests.models.serving.test_convert import convert


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    assert convert(folder, "--set", "ingest.max_seconds=10") == 0
    return str(folder)


def test_a_video_that_hangs_its_decoder_costs_itself_only(model, tmp_path):
    os.mkfifo(tmp_path / "hangs.mp4")
    good = str(write_video(tmp_path / "good.mp4", range(20)))
    hung, predicted = predict(model, [str(tmp_path / "hangs.mp4"), good])
    assert hung.error == "it took longer than ingest.max_seconds = 10 s"
    assert (predicted.error, set(predicted.heads)) == (None, {"label"})


def test_a_remote_video_is_predicted_as_its_local_copy_is(model, tmp_path):
    local = str(write_video(tmp_path / "v.mp4", range(20)))
    # TensorFlow's own file system in memory takes the way of every remote one.
    tf.io.gfile.copy(local, "ram://predict/v.mp4", overwrite=True)
    here, there, gone = predict(model, [local, "ram://predict/v.mp4", "ram://predict/gone.mp4"])
    assert here.logits == there.logits
    assert gone.error.startswith("cannot copy it: ")


def test_a_video_that_nothing_reads_is_refused_before_any_is_predicted(model, tmp_path):
    with pytest.raises(NoFileSystemError, match="neither TensorFlow nor fsspec reads gopher://"):
        next(predict(model, [str(write_video(tmp_path / "v.mp4", range(20))), "gopher://host/a.mp4"]))
