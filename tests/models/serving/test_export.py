"""The same video gives the same logits by every route."""

from __future__ import annotations

import glob
import json

import numpy as np
import pytest
import tensorflow as tf

from models.clips import images, input_pipeline, sampling
from models.network.vivit import build_vivit
from models.serving.export import ServedModel
from pipeline.cli import main
from pipeline.recipe import load_recipe
from schemas import features, serving
from tests.conftest import TINY
from tests.models.serving.test_signatures import warmup_requests
from tests.pipeline.inference.predicting import predict

TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def centre_model(two_heads_run, tmp_path_factory):
    """A network with random weights, and its SavedModel over the centre view alone."""
    recipe = load_recipe("demo", TINY)
    card = serving.ModelCard.read(str(two_heads_run.pushed[0]))
    heads = {head: len(names) for head, names in card.classes.items()}
    model = build_vivit(recipe.model, clip_shape=recipe.clip.shape, heads=heads)
    rng = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(weight.numpy() + rng.normal(0, 0.1, weight.shape))
    folder = str(tmp_path_factory.mktemp("centre"))
    served = ServedModel(model, clip=recipe.clip, views=sampling.CENTRE_VIEW, classes=card.classes)
    served.save(folder, card, serving.ExpectedLogits({}, {}))
    return model, recipe, folder


def _raw_examples(run) -> dict[str, bytes]:
    files = glob.glob(run.artifact("VideoExampleGen", "examples") + "/Split-eval/*")
    found = {}
    for serialized in tf.data.TFRecordDataset(files, compression_type="GZIP").as_numpy_iterator():
        example = tf.train.Example.FromString(serialized)
        found[example.features.feature[features.CLIP_ID].bytes_list.value[0].decode()] = serialized
    return found


@pytest.mark.end_to_end
def test_training_examples_frames_and_predict_agree(two_heads_run, centre_model):
    model, recipe, folder = centre_model
    raw = _raw_examples(two_heads_run)
    served = tf.saved_model.load(folder)
    (manifest,) = (two_heads_run.workdir / "data").glob("manifest-*/eval.jsonl")
    paths = {row["id"]: row["path"] for row in map(json.loads, manifest.open())}
    transformed = glob.glob(two_heads_run.artifact("Transform", "transformed_examples") + "/Split-eval/*")
    source = input_pipeline.transformed_source(transformed, ("verb", "noun"), "raw")
    dataset = input_pipeline.eval_dataset(source, clip=recipe.clip, batch_size=4)
    predicted = dict(zip(paths.values(), predict(folder, paths.values()), strict=True))
    compared = 0
    for batch in dataset:
        trained = model(images.normalise(batch["clip"]), training=False)
        for row, clip_id in enumerate(name.decode() for name in batch["id"].numpy()):
            frames = tf.train.Example.FromString(raw[clip_id]).features.feature[features.CLIP_FRAMES].bytes_list.value
            by_examples = served.signatures["serving_default"](examples=tf.constant([raw[clip_id]]))
            by_frames = served.signatures["frames"](
                frames=tf.constant([[*frames, frames[0], b""]]), num_frames=tf.constant([len(frames)])
            )
            for head in ("verb", "noun"):
                wanted = trained[head][row].numpy()
                assert np.ptp(wanted) > 0.01, "logits that do not differ prove nothing"
                for route in (by_examples, by_frames):
                    assert np.abs(route[f"{head}/logits"][0].numpy() - wanted).max() <= TOLERANCE
                assert np.abs(np.array(predicted[paths[clip_id]].logits[head]) - wanted).max() <= TOLERANCE
                compared += 1
    assert compared == 2 * 16


@pytest.mark.end_to_end
@pytest.mark.parametrize("name", ["two_heads_run", "colours_run"])
def test_a_trained_model_is_warmed_up_with_the_frames_of_an_evaluated_clip(name, request):
    run = request.getfixturevalue(name)
    expected = serving.ExpectedLogits.read(str(run.pushed[0]))
    raw = tf.train.Example.FromString(_raw_examples(run)[next(iter(expected.views))])
    clip = raw.features.feature[features.CLIP_FRAMES].bytes_list.value
    frames = warmup_requests(run.pushed[0])["frames"]["frames"][0]
    assert 1 <= len(frames) <= len(clip)
    for given, stored in zip(frames, clip, strict=False):
        ours, theirs = (tf.io.decode_jpeg(jpeg).numpy().astype(int) for jpeg in (given, stored))
        # Storage "raw" encodes them once more.
        assert np.abs(ours - theirs).mean() < 4


@pytest.mark.end_to_end
def test_vivit_predict_names_the_classes_of_a_pushed_model(colours_run, capfd):
    videos = [str(colours_run.data / name / "00.mp4") for name in ("red", "green", "blue")]
    assert main(["predict", "--json", "--model", str(colours_run.workdir / "pushed"), *videos]) == 0
    rows = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [row["heads"]["label"][0]["class"] for row in rows] == ["red", "green", "blue"]


@pytest.mark.end_to_end
def test_vivit_predict_says_which_file_it_cannot_predict(colours_run, tmp_path, capfd):
    bad = tmp_path / "notes.mp4"
    bad.write_text("not a video")
    good = str(colours_run.data / "red" / "00.mp4")
    assert main(["predict", "--model", str(colours_run.workdir / "pushed"), str(bad), good]) == 1
    out = capfd.readouterr().out
    assert f"{bad}\n  cannot be predicted: " in out
    assert "label: red" in out
