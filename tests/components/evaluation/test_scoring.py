"""Scoring a SavedModel: the logits that it serves, one forward pass a view, and shards that are scored stay scored."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from components.evaluation.scoring import NotScorableError, score_split, scored_model
from models.serving.export import ServedModel
from schemas import features, serving
from schemas.predictions import CANDIDATE, PRODUCTION, Predictions
from tests.components.gates.test_serving_check import CLASSES, CLIP, VIEWS, frames_of, network

LABELS = [("run", "door"), ("jump", "jar"), ("run", "ночь"), ("jump", "door"), ("run", "jar")]


@keras.saving.register_keras_serializable("tests")
class Counting(keras.layers.Layer):
    """Prints how many clips it sees."""

    def call(self, clips):
        tf.print("SEEN", tf.shape(clips)[0], output_stream="file:///dev/stderr")
        return clips + 0.0


def save(model, folder):
    card = serving.ModelCard(CLASSES, (VIEWS.temporal, VIEWS.spatial), ingest={}, config={})
    served = ServedModel(model, clip=CLIP, views=VIEWS, classes=CLASSES)
    served.save(str(folder), card, serving.ExpectedLogits({}, {}))
    return str(folder)


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    inner = network("float32")
    clip = keras.Input((*CLIP.shape, 3))
    return save(keras.Model(clip, inner(Counting()(clip))), tmp_path_factory.mktemp("model"))


@pytest.fixture
def shards(tmp_path):
    """Two shards with three and two clips."""
    paths = [str(tmp_path / f"shard-{number}.gz") for number in range(2)]
    for path, numbers in zip(paths, (range(3), range(3, 5)), strict=True):
        with tf.io.TFRecordWriter(path, "GZIP") as writer:
            for number in numbers:
                verb, noun = LABELS[number]
                example = features.raw_example(
                    clip_id=f"clip{number}",
                    group=f"video{number // 2}",
                    frames=frames_of(number),
                    size=(20, 24),
                    fps=10,
                    start=1.5,
                    duration=2,
                    labels={"verb": [verb], "noun": [noun]},
                    slices={"camera": "left"},
                )
                writer.write(example.SerializeToString())
    return paths


def score(models, shards, tmp_path, output="table"):
    score_split(
        models,
        shards,
        split="eval",
        paths={"clip0": "videos/0.mp4"},
        kept=str(tmp_path / "kept"),
        output=str(tmp_path / output),
        batch_views=4,
    )
    return Predictions.read(str(tmp_path / output))


def seen(capfd):
    return sum(int(count) for count in re.findall(r"SEEN (\d+)", capfd.readouterr().err))


def test_the_logits_are_those_that_the_model_serves(model_dir, shards, tmp_path):
    table = score({CANDIDATE: scored_model(model_dir, "a")}, shards, tmp_path)
    served = tf.saved_model.load(model_dir).signatures[serving.EXAMPLES_SIGNATURE]
    records = list(tf.data.TFRecordDataset(shards, compression_type="GZIP").as_numpy_iterator())
    wanted = served(examples=tf.constant(records))
    for head in CLASSES:
        np.testing.assert_allclose(
            table.scores[CANDIDATE][head].logits, wanted[serving.logits_key(head)].numpy(), atol=1e-5
        )
        np.testing.assert_allclose(
            table.scores[CANDIDATE][head].probabilities, wanted[serving.probabilities_key(head)].numpy(), atol=1e-5
        )


def test_a_row_describes_its_clip(model_dir, shards, tmp_path):
    clips = score({CANDIDATE: scored_model(model_dir, "a")}, shards, tmp_path).clips
    assert clips.ids == [f"clip{number}" for number in range(5)]
    assert clips.groups == ["video0", "video0", "video1", "video1", "video2"]
    assert clips.paths == ["videos/0.mp4", "", "", "", ""]
    assert clips.labels == {"noun": [noun for _, noun in LABELS], "verb": [verb for verb, _ in LABELS]}
    assert clips.slices == {"camera": ["left"] * 5}
    assert (clips.starts.tolist(), clips.durations.tolist(), clips.split) == ([1.5] * 5, [2.0] * 5, "eval")


def test_each_model_sees_each_view_once_and_the_centre_view(model_dir, shards, tmp_path, capfd):
    score({CANDIDATE: scored_model(model_dir, "a"), PRODUCTION: scored_model(model_dir, "b", "7")}, shards, tmp_path)
    assert seen(capfd) == 2 * 5 * (VIEWS.count + 1)


def test_a_shard_that_is_scored_is_not_scored_again_even_as_production(model_dir, shards, tmp_path, capfd):
    first = score({CANDIDATE: scored_model(model_dir, "a")}, shards[:1], tmp_path)
    assert seen(capfd) == 3 * (VIEWS.count + 1)
    models = {CANDIDATE: scored_model(model_dir, "b"), PRODUCTION: scored_model(model_dir, "a", "7")}
    both = score(models, shards, tmp_path, "both")
    assert seen(capfd) == (5 + 2) * (VIEWS.count + 1)
    np.testing.assert_array_equal(both.scores[PRODUCTION]["verb"].logits[:3], first.scores[CANDIDATE]["verb"].logits)
    assert both.models[PRODUCTION].version == "7"


def test_scores_of_other_models_are_removed(model_dir, shards, tmp_path):
    score({CANDIDATE: scored_model(model_dir, "a")}, shards, tmp_path)
    score({CANDIDATE: scored_model(model_dir, "b")}, shards, tmp_path, "other")
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["b"]


def test_a_class_that_a_model_does_not_know_has_no_rank_and_no_loss(model_dir, shards, tmp_path):
    card = serving.ModelCard.read(model_dir)
    assert "ночь" in card.classes["noun"]
    table = score({CANDIDATE: scored_model(model_dir, "a")}, shards, tmp_path)
    scores = table.scores[CANDIDATE]["noun"]
    relabelled = type(scores).of(scores.logits, scores.centre_logits, card.classes["noun"], ["cup"] * 5)
    assert (relabelled.rank == 0).all()
    assert np.isnan(relabelled.loss).all()


def test_a_model_without_the_signatures_is_refused_by_name(model_dir, tmp_path):
    loaded = tf.saved_model.load(model_dir)
    path = str(tmp_path / "old")
    tf.saved_model.save(loaded, path, signatures={"serving_default": loaded.signatures["serving_default"]})
    with pytest.raises(NotScorableError, match="holds no model of this pipeline"):
        scored_model(path, "a")
    serving.ModelCard.read(model_dir).write(path)
    with pytest.raises(NotScorableError, match="has no signature views, network: an older release exported it"):
        scored_model(path, "a")
