"""Transform: class names by TFX's own Beam implementation, and the indexes that stand for its examples."""

import functools
import io
import os
from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from PIL import Image
from tfx_bsl.tfxio.tf_example_record import TFExampleBeamRecord

from components.ingest.shard_file import ShardWriter
from models.clips.input_pipeline import transformed_source
from pipeline.nodes.clip_transform import index_shard, shards_of
from pipeline.nodes.transform import preprocessing_fn, read_classes
from schemas import features
from schemas.clip_index import ClipIndex, index_path
from schemas.schema import build_schema

HEADS = ["verb", "noun"]
TRAIN = [("run", "door"), ("Jump", "ночь"), ("run", "door"), ("run", "Äpfel"), ("climb up", "door")]
EVAL = [("run", "ночь"), ("swim", "door"), ("", "Door")]


def jpeg(seed, height, width):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def raw_examples(labels, frames_of):
    for number, (verb, noun) in enumerate(labels):
        frames = frames_of(number)
        yield features.raw_example(
            clip_id=f"clip{number}",
            group=f"video{number}",
            frames=frames,
            size=(24, 32),
            fps=10,
            start=0,
            duration=len(frames) / 10,
            labels={"verb": [verb], "noun": [noun]},
            slices={},
        ).SerializeToString()


def frames_of(number):
    """Clips differ in length and in size."""
    return [jpeg(10 * number + t, 16 + 8 * number, 24) for t in range(2 + number)]


@pytest.fixture(scope="module")
def classes(tmp_path_factory):
    """Class names by head, analysed on clips whose frames are no JPEG: were one decoded, the analysis would fail."""
    folder = tmp_path_factory.mktemp("transform")
    tfxio = TFExampleBeamRecord(physical_format="memory", schema=build_schema(HEADS))
    function = functools.partial(preprocessing_fn, custom_config={"heads": HEADS})
    undecodable = list(raw_examples(TRAIN, lambda number: [b"no JPEG"] * 2))
    with beam.Pipeline(runner="FnApiRunner") as pipeline, tft_beam.Context(temp_dir=str(folder / "temporary")):
        batches = pipeline | beam.Create(undecodable) | tfxio.BeamSource(batch_size=2)
        transform_fn = (batches, tfxio.TensorAdapterConfig()) | tft_beam.AnalyzeDataset(function)
        transform_fn | tft_beam.WriteTransformFn(str(folder / "transform"))
    output = tft.TFTransformOutput(str(folder / "transform"))
    return {head: read_classes(output, head) for head in HEADS}


def write_ingested(folder, labels):
    """Examples of an ingest with one shard, and their index."""
    shard = os.path.join(folder, "Split-train", "data_tfrecord-00000-of-00001.gz")
    os.makedirs(os.path.dirname(shard))
    with ShardWriter(shard) as writer:
        places = [writer.write(record) for record in raw_examples(labels, frames_of)]
    by_head = {head: [names[number] for names in labels] for number, head in enumerate(HEADS)}
    offsets, lengths = zip(*places, strict=True)
    groups = [f"video{number}" for number in range(len(labels))]
    ClipIndex("any", features.COMPRESSION, offsets, lengths, groups, by_head).write(index_path(shard))


@pytest.fixture(params=features.STORAGES)
def stored(request, tmp_path, classes):
    """(storage, folder of Transform's examples, their source) of the evaluation clips."""
    write_ingested(str(tmp_path / "ingested"), EVAL)
    for paths in shards_of(str(tmp_path / "ingested"), str(tmp_path / "written"), ["train"]):
        index_shard(paths, classes, request.param)
    indexes = [str(path) for path in (tmp_path / "written" / "Split-train").iterdir()]
    return request.param, tmp_path / "written", transformed_source(indexes, HEADS, request.param)


def test_ids_follow_the_alphabetical_order_of_the_names_not_their_frequency(classes):
    assert classes["verb"] == ["Jump", "climb up", "run"]


def test_names_may_be_of_any_script(classes):
    assert classes["noun"] == ["door", "Äpfel", "ночь"] == sorted({noun for _, noun in TRAIN})


def test_a_name_that_training_never_saw_has_the_id_minus_one(stored):
    _, _, source = stored
    assert source.labels_of["verb"].tolist() == [2, -1, -1]
    assert source.labels_of["noun"].tolist() == [2, 0, -1]


def test_clips_have_their_names_groups_and_pixels_by_either_storage(stored):
    _, _, source = stored
    found = list(source.records().map(source.element))
    assert source.groups() == ["video0", "video1", "video2"]
    for number, (frames, element) in enumerate(found):
        assert element["id"] == f"clip{number}".encode()
        assert element["group"] == f"video{number}".encode()
        wanted = [tf.io.decode_jpeg(frame, channels=3) for frame in frames_of(number)]
        decoded = [tf.io.decode_jpeg(frame) if frame.dtype == tf.string else frame for frame in frames]
        np.testing.assert_array_equal(decoded, wanted)


def test_jpeg_frames_are_not_stored_again(stored):
    storage, written, source = stored
    files = [path for path in written.rglob("*") if path.is_file()]
    if storage == "jpeg":
        assert sum(path.stat().st_size for path in files) < 1000
        assert [Path(shard).parts[-3] for shard in source.files] == ["ingested"]
    else:
        assert [Path(shard).parts[-4:-1] for shard in source.files] == [("written", "clips", "Split-train")]
