"""Parity with the reference's preprocessing: frame indices, resizes and crops, augmentation, records to batches."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf

from benchmarks.parity.comparison import Comparison, compare
from models.clips import augment, colour, images, input_pipeline, randaugment, sampling
from models.clips import sequence_examples as dmvr
from models.clips.sampling import ClipConfig, ViewsConfig
from models.clips.source import indexed_source

NORMALISED, COLOURED = 1e-6, 1e-5


def check_preprocessing_case(case: Path) -> list[Comparison]:
    """Runs one case of a golden folder's ``preprocessing``.

    Args:
      case: As `benchmarks.parity.comparison.golden_cases` lists it.

    Raises:
      ValueError: the case is none of those known.
    """
    if case.name not in _CHECKS:
        raise ValueError(f"Unknown preprocessing case {case}; known are {', '.join(_CHECKS)}.")
    return list(_CHECKS[case.name](case))


def _frame_indices(case: Path) -> Iterator[Comparison]:
    for row in json.loads(case.with_suffix(".json").read_text()):
        n, clip = tf.constant(row["video_frames"]), ClipConfig(row["num_frames"], row["stride"])
        name = f"{case.name}/{row['video_frames']}-frames-{row['num_frames']}x{row['stride']}"
        indices = sampling.view_indices(n, clip, row["num_test_clips"])
        yield compare(name, f"{row['num_test_clips']} evaluation clips", np.ravel(indices), row["eval_indices"])
        yield compare(name, "training offsets", sampling.train_offsets(n, clip), row["train_num_offsets"])
        for offset, expected in row["train_indices_at_offset"].items():
            yield compare(
                name, f"training clip at offset {offset}", sampling.looped_indices(int(offset), n, clip), expected
            )


def _spatial(case: Path) -> Iterator[Comparison]:
    meta, golden = json.loads(case.with_suffix(".json").read_text()), np.load(case.with_suffix(".npz"))
    smallest, size = meta["min_resize"], meta["crop_size"]
    for height, width in meta["sizes"]:
        source = f"{height}x{width}"
        name = f"{case.name}/{source}"
        resized = images.resize_smallest(tf.constant(golden[f"{source}/input"]), smallest)
        central = images.central_crop(resized, size)
        three = tf.reshape(images.three_crops(resized, size), [-1, size, size, 3])
        yield compare(name, "resize_smallest", resized, golden[f"{source}/resize_smallest_{smallest}"])
        yield compare(name, "central crop", central, golden[f"{source}/central_crop_{size}"])
        yield compare(name, "three crops", three, golden[f"{source}/three_crops_{size}"])
        normalised = golden[f"{source}/normalised_zero_centred"]
        yield compare(name, "normalised", images.normalise(central[: len(normalised)]), normalised, NORMALISED)


def _train_ops(case: Path) -> Iterator[Comparison]:
    meta, golden = json.loads(case.with_suffix(".json").read_text()), np.load(case.with_suffix(".npz"))
    frames, size = tf.constant(golden["input"]), meta["crop"]
    source_size = tf.shape(frames)[1:3]
    for index in range(sum(key.startswith("scale_jitter_") for key in golden)):
        factors = tf.constant(meta[f"scale_jitter_{index}"], tf.float32)
        new_size = tf.cast(factors * tf.cast(source_size, tf.float32), tf.int32)
        resized = images.resize(frames, new_size)
        offset = tf.constant(meta[f"crop_{index}_offset"][1:3])
        grid = augment.sampling_positions(source_size, new_size, offset, size)
        expected = golden[f"crop_{index}"]
        yield compare(case.name, f"scale jitter {index}", resized, golden[f"scale_jitter_{index}"])
        yield compare(case.name, f"crop {index}", images.crop(resized, *offset, size), expected)
        resampled = images.interleaved(augment.resample(frames[tf.newaxis], grid[tf.newaxis]))[0]
        yield compare(case.name, f"jitter and crop {index} in one", resampled, expected)
    upright = tf.range(size)
    mirror = tf.cast(tf.stack([upright, upright[::-1]]), tf.float32)[tf.newaxis]
    flipped = images.interleaved(augment.resample(tf.constant(golden["crop_0"])[tf.newaxis], mirror))[0]
    yield compare(case.name, "flip", flipped, golden["flip_of_crop_0"])
    normalised = tf.constant(golden["normalised"])
    yield compare(case.name, "normalised", images.normalise(golden["flip_of_crop_0"]), normalised, NORMALISED)
    arguments = {name.removesuffix("_delta"): value for name, value in meta["colour"].items()}
    draws = colour.ColourDraws(jitter=True, drop=False, **arguments)
    coloured = images.interleaved(colour.jitter(images.planes(normalised), draws))
    yield compare(case.name, "colour", coloured, golden["colour_out"], COLOURED)
    dropped = golden["colour_drop_of_normalised"]
    grey = images.interleaved(colour.greyscale(images.planes(normalised)))
    yield compare(case.name, "colour drop", grey, dropped, COLOURED)


def _randaugment(case: Path) -> Iterator[Comparison]:
    golden = np.load(case.with_suffix(".npz"))
    operations = {
        "AutoContrast": lambda clip, magnitude: randaugment.autocontrast(clip),
        "Equalize": lambda clip, magnitude: randaugment.equalize(clip),
        "Invert": lambda clip, magnitude: randaugment.invert(clip),
        "Posterize": randaugment.posterize,
        "Solarize": lambda clip, magnitude: randaugment.solarize(clip, magnitude, parity=True),
        "Color": randaugment.color,
        "Contrast": lambda clip, magnitude: randaugment.contrast(clip, magnitude, parity=True),
        "Brightness": randaugment.brightness,
        "Sharpness": lambda clip, magnitude: randaugment.sharpness(clip, magnitude, parity=True),
        "SolarizeAdd": randaugment.solarize_add,
    }
    clip = images.planes(tf.constant(golden["input"]))
    for key in golden:
        if key != "input":
            magnitude, operation = key.split("/")
            changed = operations[operation](clip, int(magnitude.removeprefix("m")))
            yield compare(case.name, key, images.interleaved(changed), golden[key])


def _records(case: Path) -> Iterator[Comparison]:
    meta, golden = json.loads((case / "meta.json").read_text()), np.load(case / "expected.npz")

    def parse(serialised):
        frames, indices, clip_id = dmvr.parse(serialised)
        return frames, {"id": clip_id, "labels": dmvr.label_vector(indices, meta["num_classes"])}

    files = sorted(str(path) for path in case.glob("*.tfrecord-*"))
    source = indexed_source([dmvr.index_of(path) for path in files], (), parse)
    for name, settings in meta["cases"].items():
        clip = ClipConfig(settings["num_frames"], settings["stride"], settings["min_resize"], settings["crop"])
        views = ViewsConfig(settings["clips"], 3 if settings["three"] else 1)
        (batch,) = input_pipeline.eval_dataset(source, clip=clip, batch_size=meta["n"], views=views)
        pixels = tf.reshape(batch["clip"], [-1, *clip.shape, 3])
        yield compare(f"{case.name}/{name}", "clips", pixels, golden[f"{name}/inputs_uint8"])
        labels = tf.repeat(batch["labels"], views.count, axis=0)
        yield compare(f"{case.name}/{name}", "labels", labels, golden[f"{name}/label"])


_CHECKS: dict[str, Callable[[Path], Iterator[Comparison]]] = {
    "frame_indices": _frame_indices,
    "spatial": _spatial,
    "train_ops": _train_ops,
    "randaugment_ops": _randaugment,
    "records": _records,
}
