"""Proves, in a process of its own, that a SavedModel loads and serves: ``python -m components.gates.serving_check``.

Every signature runs on real clips, and its logits are compared with those that the trainer computed with its own input
pipeline and network. Imports TensorFlow and the contract only, as a model server would.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Sequence

import numpy as np
import tensorflow as tf

from schemas import features, serving

# Sums in another order differ in the last digits of a float32.
TOLERANCE = 1e-4


class ServingError(RuntimeError):
    """The SavedModel does not serve what the trainer computed."""


def check_model(model_dir: str, examples: Iterable[bytes]) -> str:
    """Runs every signature of a SavedModel and compares.

    Args:
      model_dir: The SavedModel.
      examples: Serialised raw examples, among them those of the expected logits.

    Returns:
      What was checked, in words.

    Raises:
      ServingError: On the first difference.
    """
    card, expected = serving.ModelCard.read(model_dir), serving.ExpectedLogits.read(model_dir)
    served = tf.saved_model.load(model_dir)
    clips = _find(examples, expected.views)
    batch = tf.constant([example for example, _ in clips.values()])

    outputs = _run(served, serving.EXAMPLES_SIGNATURE, {serving.EXAMPLES_INPUT: batch})
    frames = _padded([_frames(example) for _, example in clips.values()])
    from_frames = _run(served, serving.FRAMES_SIGNATURE, {serving.FRAMES_INPUT: frames})
    evaluated = _run(served, serving.EVALUATION_SIGNATURE, {serving.EXAMPLES_INPUT: batch})
    ids = _run(served, serving.TRANSFORM_SIGNATURE, {serving.EXAMPLES_INPUT: batch})

    largest = 0.0
    for head, classes in card.classes.items():
        over_views = np.array([expected.views[clip][head] for clip in clips], np.float32)
        centre = np.array([expected.centre[clip][head] for clip in clips], np.float32)
        for name, got, wanted in (
            (serving.EXAMPLES_SIGNATURE, outputs[serving.logits_key(head)], over_views),
            (serving.FRAMES_SIGNATURE, from_frames[serving.logits_key(head)], over_views),
            (serving.EVALUATION_SIGNATURE, evaluated[head], _softmax(over_views)),
            (f"{serving.EVALUATION_SIGNATURE}, centre view", evaluated[serving.centre_view(head)], _softmax(centre)),
        ):
            largest = max(largest, _compare(name, head, got, wanted))
        served_names = {tuple(name.decode() for name in names) for names in outputs[serving.classes_key(head)]}
        if served_names != {tuple(classes)}:
            raise ServingError(f"head {head!r} serves other class names than the model card: {served_names}")
        for (_, example), class_id in zip(clips.values(), ids[features.label_id_key(head)], strict=True):
            name = example.features.feature[features.label_key(head)].bytes_list.value[0].decode()
            if class_id < 0:
                raise ServingError(f"head {head!r}: class {name!r} is unknown to the model")
            if classes[class_id] != name:
                raise ServingError(f"head {head!r}: class {name!r} became id {class_id}, {classes[class_id]!r}")
    return f"{len(clips)} clips through 4 signatures, logits within {largest:.1e} of the trainer's"


def _find(examples: Iterable[bytes], ids: Iterable[str]) -> dict[str, tuple[bytes, tf.train.Example]]:
    missing, found = set(ids), {}
    for serialized in examples:
        example = tf.train.Example.FromString(serialized)
        clip_id = example.features.feature[features.CLIP_ID].bytes_list.value[0].decode()
        if clip_id in missing:
            missing.remove(clip_id)
            found[clip_id] = serialized, example
            if not missing:
                break
    if missing or not found:
        raise ServingError(f"no raw example of clip(s) {', '.join(sorted(missing)) or 'any'}")
    return found


def _frames(example: tf.train.Example) -> Sequence[bytes]:
    return example.features.feature[features.CLIP_FRAMES].bytes_list.value


def _padded(frames: Sequence[Sequence[bytes]]) -> tf.Tensor:
    longest = max(map(len, frames))
    return tf.constant([[*clip, *[b""] * (longest - len(clip))] for clip in frames])


def _run(served, name: str, inputs: dict[str, tf.Tensor]) -> dict[str, np.ndarray]:
    if name not in served.signatures:
        raise ServingError(f"no signature {name!r}; the model has {', '.join(served.signatures)}")
    return {key: value.numpy() for key, value in served.signatures[name](**inputs).items()}


def _compare(name: str, head: str, got: np.ndarray, wanted: np.ndarray) -> float:
    if got.shape != wanted.shape:
        raise ServingError(f"{name}, head {head!r}: shape {got.shape}; the trainer had {wanted.shape}")
    difference = float(np.max(np.abs(got - wanted)))
    if not difference <= TOLERANCE:  # NaN fails too.
        raise ServingError(
            f"{name}, head {head!r}: {difference:.2e} from the trainer's; at most {TOLERANCE} is allowed"
        )
    return difference


def _softmax(logits: np.ndarray) -> np.ndarray:
    exponents = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponents / exponents.sum(axis=-1, keepdims=True)


def _records(folder: str) -> Iterable[bytes]:
    paths = sorted(tf.io.gfile.glob(os.path.join(folder, "*")))
    return tf.data.TFRecordDataset(paths, compression_type=features.COMPRESSION).as_numpy_iterator()


def main() -> int:
    """Prints one line of JSON, {"ok": bool, "detail": text}; the exit status is 0 in either case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="the SavedModel")
    parser.add_argument("--examples", required=True, help="folder of raw examples, GZIP TFRecords")
    arguments = parser.parse_args()
    try:
        verdict = {"ok": True, "detail": check_model(arguments.model, _records(arguments.examples))}
    except (ServingError, tf.errors.OpError, OSError, ValueError, KeyError) as error:
        verdict = {"ok": False, "detail": f"{type(error).__name__}: {error}"}
    print(json.dumps(verdict))
    return 0


if __name__ == "__main__":
    sys.exit(main())
