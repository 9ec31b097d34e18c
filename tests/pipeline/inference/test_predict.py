"""`vivit predict` on a converted model: its videos are decoded by the decoder of ingest, wherever they are."""

import os
import shutil

import numpy as np
import pytest
import tensorflow as tf

from components.manifest.listing import ListedClip
from components.media.decoder import Decoder
from pipeline.cli import main
from pipeline.inference.model import ModelError, latest_version, open_model
from pipeline.inference.predictor import Predictor
from tests.components.media.videos import write_video
from tests.models.serving.test_convert import convert
from tests.pipeline.inference.predicting import opened, predict


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    assert convert(folder, "--set", "ingest.max_seconds=10") == 0
    return str(folder)


def test_what_is_no_file_and_what_cannot_be_reached_cost_themselves_only(model, tmp_path, capfd):
    os.mkfifo(tmp_path / "waits.mp4")
    (tmp_path / "empty.mp4").touch()
    good = tmp_path / os.fsdecode(b"gr\xfcn.mp4")
    os.rename(write_video(tmp_path / "good.mp4", range(20)), good)
    bad = {
        str(tmp_path / "waits.mp4"): "it is no file, but a folder, a pipe or a device",
        "/dev/stdin": "it is no file, but a folder, a pipe or a device",
        str(tmp_path): "it is no file, but a folder, a pipe or a device",
        str(tmp_path / "gone.mp4"): "",
        str(tmp_path / "empty.mp4"): "",
        "http://no-such-host.invalid/a.mp4": "",
        "gopher://h/a": "neither TensorFlow nor fsspec reads gopher://",
    }
    assert main(["predict", "--model", model, *bad, str(good)]) == 1
    lines = capfd.readouterr().out.splitlines()
    assert lines[: 2 * len(bad) : 2] == list(bad)
    for said, reason in zip(lines[1 : 2 * len(bad) : 2], bad.values(), strict=True):
        assert (
            said.startswith("  cannot be predicted: ") and reason in said and len(said) > len("  cannot be predicted: ")
        )
    # Its name is written as it can be.
    assert lines[-2].endswith("gr\\udcfcn.mp4") and lines[-1].startswith("  label: ")


def test_a_part_of_a_video_is_predicted(model, tmp_path):
    video = write_video(tmp_path / "v.mp4", range(40))
    (whole,) = predict(model, [video])
    (part,) = predict(model, [video], start=0.5, end=1.0)
    assert not np.array_equal(part.logits["label"], whole.logits["label"])
    (behind,) = predict(model, [video], start=100.0)
    assert behind.error.reason.startswith("no frame between 100 s and its end")


def test_segments_that_contain_each_other_come_out_in_order_and_as_alone(model, tmp_path):
    video = str(write_video(tmp_path / "v.mp4", range(40)))
    segments = [(0.0, 4.0), (0.5, 1.5), (0.5, 90.0), (1.0, 1.5), (2.0, 3.0)]
    clips = [ListedClip(video, video, "", *segment, f"{number}") for number, segment in enumerate(segments)]
    with Predictor(opened(model), decoders=3) as predictor:
        found = [one for group in predictor.predict(predictor.groups(clips)) for one in group]
    assert [one.clip.id for one in found] == ["0", "1", "2", "3", "4"]
    assert "are missing" in found[2].error.reason
    for one in (found[0], found[1], found[4]):
        (alone,) = predict(model, [video], start=one.clip.start, end=one.clip.end)
        np.testing.assert_allclose(one.logits["label"], alone.logits["label"], atol=1e-5)


def served(model, video, signature):
    """What a signature answers for the frames of a video."""
    with Decoder(opened(model).decode_config) as decoder:
        ((_, stored),) = decoder.store_segments(str(video), [(0.0, None)])
    inputs = {"frames": tf.constant([stored.frames]), "num_frames": tf.constant([len(stored.frames)])}
    return {name: value[0].numpy() for name, value in opened(model).signatures[signature](**inputs).items()}


def test_all_views_one_view_and_embeddings_are_those_of_the_served_signatures(model, tmp_path):
    video = write_video(tmp_path / "v.mp4", range(30))
    (all_views,), (one_view,) = predict(model, [video], embedding=True), predict(model, [video], one_view=True)
    for found, signature in ((all_views, "frames"), (one_view, "frames_one_view")):
        np.testing.assert_allclose(found.logits["label"], served(model, video, signature)["label/logits"], atol=1e-5)
    assert np.abs(all_views.logits["label"] - one_view.logits["label"]).max() > 1e-4
    np.testing.assert_allclose(all_views.embedding, served(model, video, "embedding")["embedding"], atol=1e-5)
    assert np.ptp(all_views.embedding) > 1e-3


def test_a_model_that_was_copied_in_part_is_refused(model, tmp_path, capfd):
    shutil.copytree(latest_version(model), tmp_path / "part")
    (tmp_path / "part" / "variables" / "variables.index").unlink()
    with pytest.raises(ModelError, match="part cannot be loaded: a file of it is missing or damaged, copy it again"):
        open_model(str(tmp_path / "part"))
    assert main(["predict", "--model", str(tmp_path / "part"), "a.mp4"]) == 2
    assert len(capfd.readouterr().out.splitlines()) == 1


def test_a_remote_video_is_predicted_as_its_local_copy_is(model, tmp_path):
    local = str(write_video(tmp_path / "v.mp4", range(20)))
    # TensorFlow's own file system in memory takes the way of every remote one.
    tf.io.gfile.copy(local, "ram://predict/v.mp4", overwrite=True)
    here, there, gone = predict(model, [local, "ram://predict/v.mp4", "ram://predict/gone.mp4"])
    np.testing.assert_array_equal(here.logits["label"], there.logits["label"])
    assert gone.error.reason.startswith("cannot copy it: ")
