"""The canary replays the warm-up requests: damaged ones would stop a model server from loading the version."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from components.gates.serving_check import ServingError, check_model, replay_warmup
from models.serving.export import ServedModel
from schemas import serving
from tests.components.gates.test_serving_check import CLIP, EXAMPLES, expected_of, frames_of, network, save


@pytest.fixture(scope="module")
def good_model(tmp_path_factory):
    model = network("float32")
    return save(model, tmp_path_factory.mktemp("served") / "model", expected_of(model, "float32"))


@pytest.fixture(scope="module")
def served(good_model):
    return tf.saved_model.load(good_model)


@pytest.fixture
def folder(good_model, tmp_path):
    """The requests of the good model, to be damaged."""
    shutil.copytree(Path(good_model) / "assets.extra", tmp_path / "assets.extra")
    return tmp_path


def predict_log(signature, **inputs):
    log = prediction_log_pb2.PredictionLog()
    log.predict_log.request.model_spec.signature_name = signature
    for name, value in inputs.items():
        log.predict_log.request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return log


def write_warmup(model, *logs):
    with tf.io.TFRecordWriter(str(model / serving.WARMUP_REQUESTS)) as writer:
        for log in logs:
            writer.write(log.SerializeToString())


CLIPS = np.zeros((3, *CLIP.shape, 3), np.uint8)
FRAMES = {"frames": [frames_of(0)], "num_frames": [4]}


def test_warm_up_requests_are_replayed_through_the_signatures_that_they_name(served, folder):
    other = prediction_log_pb2.PredictionLog()
    other.classify_log.request.model_spec.name = "vivit"
    # Without a name it is the default signature, as in TensorFlow Serving.
    default = predict_log("", examples=EXAMPLES[:1])
    of_frames = [predict_log(name, **FRAMES) for name in ("frames", "frames_one_view")]
    write_warmup(folder, default, other, *of_frames, predict_log("network", clips=CLIPS))
    assert replay_warmup(served, str(folder)) == "4 warm-up requests replayed, 1 of other kinds skipped"


@pytest.mark.parametrize(
    ("log", "said"),
    [
        (predict_log("frames", frames=[[b"no JPEG"]], num_frames=[1]), "signature 'frames', fails: "),
        (predict_log("frames", frames=FRAMES["frames"], num_frames=[5]), "signature 'frames', fails: .*num_frames"),
        (predict_log("network", clips=CLIPS[:, :1]), "signature 'network', fails: "),
        (predict_log("network", pixels=CLIPS), "signature 'network', fails: "),
        (predict_log("gone", examples=EXAMPLES), "signature 'gone', fails: no signature 'gone'"),
    ],
    ids=["bytes", "number", "shape", "input", "signature"],
)
def test_a_warm_up_request_that_fails_is_refused(served, folder, log, said):
    write_warmup(folder, predict_log("network", clips=CLIPS), log)
    with pytest.raises(ServingError, match=f"(?s)^warm-up request 2, {said}"):
        replay_warmup(served, str(folder))


class Blown(ServedModel):
    """Good logits of real clips, NaN of a black one."""

    def compute(self, clips):
        black = tf.reduce_all(clips == 0, axis=[1, 2, 3, 4])[:, tf.newaxis]
        return {key: tf.where(black, np.nan, value) for key, value in super().compute(clips).items()}


def test_a_warm_up_request_with_a_non_finite_answer_is_refused(tmp_path):
    model = network("float32")
    path = tmp_path / "model"
    assert check_model(save(model, path, expected_of(model, "float32"), Blown), EXAMPLES)
    write_warmup(path, predict_log("network", clips=CLIPS))
    with pytest.raises(
        ServingError, match="^warm-up request 1, signature 'network': (noun|verb)/logits is not finite$"
    ):
        check_model(str(path), EXAMPLES)


def flipped(data, at):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda whole: whole[:-5], "is damaged behind request 2: .*truncated record"),
        (lambda whole: flipped(whole, -100), "is damaged behind request 2: .*corrupted record"),
        (lambda whole: flipped(whole, 0), "is damaged behind request 0: .*corrupted record"),
        (lambda whole: b"\0" * len(whole), "is damaged behind request 0: "),
        (lambda whole: b"", "has no request for frames, frames_one_view, serving_default$"),
    ],
    ids=["truncated", "a byte of a request", "a byte of a length", "zeros", "empty"],
)
def test_damaged_warm_up_requests_are_refused_in_words(served, folder, spoil, said):
    file = folder / serving.WARMUP_REQUESTS
    file.write_bytes(spoil(file.read_bytes()))
    with pytest.raises(ServingError, match=f"^assets.extra/tf_serving_warmup_requests {said}"):
        replay_warmup(served, str(folder))


def test_a_record_that_is_no_warm_up_request_is_refused(served, folder):
    with tf.io.TFRecordWriter(str(folder / serving.WARMUP_REQUESTS)) as writer:
        writer.write(b"no message")
    with pytest.raises(ServingError, match="^assets.extra/tf_serving_warmup_requests is damaged behind request 0: "):
        replay_warmup(served, str(folder))


def test_the_canary_refuses_a_model_without_its_requests(good_model, tmp_path):
    model = shutil.copytree(good_model, tmp_path / "model")
    (model / serving.WARMUP_REQUESTS).unlink()
    with pytest.raises(ServingError, match="^assets.extra/tf_serving_warmup_requests is missing$"):
        check_model(str(model), EXAMPLES)
