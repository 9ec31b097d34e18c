"""preprocessing_fn, run by Transform's own Beam implementation: analysed on the train split, applied to both."""

import functools
import io

import apache_beam as beam
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from PIL import Image
from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder
from tfx_bsl.tfxio.tf_example_record import TFExampleBeamRecord

from pipeline.nodes.transform import preprocessing_fn, read_classes
from schemas import features
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


@pytest.fixture(scope="module", params=features.STORAGES)
def transformed(request, tmp_path_factory):
    """(storage, Transform's output, transformed examples by split).

    What is analysed has frames that are no JPEG: were a frame decoded there, the analysis would fail.
    """
    folder = tmp_path_factory.mktemp(request.param)
    tfxio = TFExampleBeamRecord(physical_format="memory", schema=build_schema(HEADS))
    function = functools.partial(preprocessing_fn, custom_config={"heads": HEADS, "storage": request.param})
    datasets = {"train": list(raw_examples(TRAIN, frames_of)), "eval": list(raw_examples(EVAL, frames_of))}
    undecodable = list(raw_examples(TRAIN, lambda number: [b"no JPEG"] * 2))
    with beam.Pipeline(runner="FnApiRunner") as pipeline, tft_beam.Context(temp_dir=str(folder / "temporary")):

        def batches(name, examples):
            read = pipeline | name >> beam.Create(examples) | f"{name} decoded" >> tfxio.BeamSource(batch_size=2)
            return read, tfxio.TensorAdapterConfig()

        transform_fn = batches("analysed", undecodable) | tft_beam.AnalyzeDataset(function)
        transform_fn | tft_beam.WriteTransformFn(str(folder / "transform"))
        for split, examples in datasets.items():
            data, metadata = (batches(split, examples), transform_fn) | f"{split} transformed" >> (
                tft_beam.TransformDataset(output_record_batches=True)
            )
            described = beam.pvalue.AsSingleton(metadata.deferred_metadata)
            encoded = data | f"{split} encoded" >> beam.FlatMap(
                lambda batch, meta: RecordBatchToExamplesEncoder(meta.schema).encode(batch[0]), described
            )
            encoded | f"{split} written" >> beam.io.WriteToTFRecord(str(folder / split), shard_name_template="")
    spec = features.transformed_spec(HEADS, request.param)
    parsed = {}
    for split in datasets:
        examples = [tf.io.parse_single_example(r, spec) for r in tf.data.TFRecordDataset(str(folder / split))]
        parsed[split] = {example[features.CLIP_ID].numpy().decode(): example for example in examples}
    return request.param, tft.TFTransformOutput(str(folder / "transform")), parsed


def ids(examples, head):
    return [int(examples[f"clip{number}"][features.label_id_key(head)]) for number in range(len(examples))]


def test_ids_follow_the_alphabetical_order_of_the_names_not_their_frequency(transformed):
    _, output, examples = transformed
    assert read_classes(output, "verb") == ["Jump", "climb up", "run"]
    assert ids(examples["train"], "verb") == [2, 0, 2, 2, 1]


def test_names_may_be_of_any_script(transformed):
    _, output, examples = transformed
    assert read_classes(output, "noun") == ["door", "Äpfel", "ночь"] == sorted({noun for _, noun in TRAIN})
    assert ids(examples["train"], "noun") == [0, 2, 0, 1, 0]


def test_a_name_that_training_never_saw_has_the_id_minus_one(transformed):
    _, _, examples = transformed
    assert ids(examples["eval"], "verb") == [2, -1, -1]
    assert ids(examples["eval"], "noun") == [2, 0, -1]


def test_frames_are_stored_as_configured_and_decode_to_the_same_pixels(transformed):
    storage, _, examples = transformed
    for number in range(len(TRAIN)):
        wanted = np.stack([tf.io.decode_jpeg(frame, channels=3) for frame in frames_of(number)])
        stored = examples["train"][f"clip{number}"][features.CLIP_FRAMES]
        if storage == "jpeg":
            assert stored.values.numpy().tolist() == frames_of(number)
        else:
            np.testing.assert_array_equal(tf.io.parse_tensor(stored, tf.uint8), wanted)
