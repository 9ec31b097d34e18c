"""Proves, in a process of its own, that a SavedModel loads and serves: ``python -m components.gates.serving_check``.

Every signature runs on real clips, and its logits are compared with those that the trainer computed with its own input
pipeline and network, the embedding with the network's. Where rounding hides a difference in the logits, as in bfloat16,
the weights do not: each one is the trainer's, bit by bit. The warm-up requests run as a model server runs them; one
that fails keeps a version from loading. Imports TensorFlow, its messages and the contract only, as a model server
would.
"""

from __future__ import annotations

import argparse
import collections
import importlib
import itertools
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf
from google.protobuf import message
from tensorflow_serving.apis import prediction_log_pb2

from schemas import features, serving

# Views of a clip that `network` takes at a time, for the memory of large networks.
_CLIPS_PER_CALL = 4

# A raw example, serialised and parsed.
Clip = tuple[bytes, tf.train.Example]


class ServingError(RuntimeError):
    """The SavedModel does not serve what the trainer computed."""


def check_model(model_dir: str, examples: Iterable[bytes]) -> str:
    """Runs every signature of a SavedModel and compares; runs its warm-up requests.

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
    _check_classes(card, clips)
    weights = _check_weights(served, expected)
    each_view = _outputs_of_views(served, clips)
    largest = _check_logits(served, card, expected, clips, each_view)
    _check_embedding(served, expected, clips, each_view)
    warmup = replay_warmup(served, model_dir)
    names = _signature_names(served)
    logits = f"{len(clips)} clips through {len(names)} signatures, logits within {largest:.1e} of the trainer's"
    return f"{logits}, {weights}, {warmup}"


def _signature_names(served) -> list[str]:
    """Those of every model, and `embedding` where the model has it."""
    return [*serving.SIGNATURES, *({serving.EMBEDDING_SIGNATURE} & set(served.signatures))]


def _check_classes(card: serving.ModelCard, clips: Mapping[str, Clip]) -> None:
    for head, classes in card.classes.items():
        for _, example in clips.values():
            name = example.features.feature[features.label_key(head)].bytes_list.value[0].decode()
            if name not in classes:
                raise ServingError(f"head {head!r}: class {name!r} is unknown to the model")


def _check_weights(served, expected: serving.ExpectedLogits) -> str:
    if expected.weights is None:
        return "weights not compared: the trainer left no digests"
    compared: Sequence[tf.Variable] = ()
    for name in _signature_names(served):
        variables = _signature(served, name).variables
        # Making views takes no weight; the other signatures share one network.
        if name == serving.VIEWS_SIGNATURE or set(map(id, variables)) == set(map(id, compared)):
            continue
        compared = variables
        ours, theirs = map(collections.Counter, (serving.weights_of(variables), expected.weights))
        # A changed weight is in both differences, a missing or an additional one in one of them.
        lacking, foreign = theirs - ours, ours - theirs
        if different := max(lacking, foreign, key=collections.Counter.total):
            shapes = ", ".join(map(str, sorted({weight.shape for weight in different})))
            raise ServingError(f"{name}: {different.total()} weight(s) are not the trainer's, of shape {shapes}")
    return f"{len(expected.weights)} weights equal"


def _check_logits(
    served,
    card: serving.ModelCard,
    expected: serving.ExpectedLogits,
    clips: Mapping[str, Clip],
    each_view: Mapping[str, np.ndarray],
) -> float:
    """Returns the largest difference."""
    examples = tf.constant([serialized for serialized, _ in clips.values()])
    frames = _padded([_frames(example) for _, example in clips.values()])
    examples_outputs = _run(served, serving.EXAMPLES_SIGNATURE, {serving.EXAMPLES_INPUT: examples})
    frames_outputs = _run(served, serving.FRAMES_SIGNATURE, frames)
    one_view_outputs = _run(served, serving.ONE_VIEW_SIGNATURE, frames)

    device, largest = serving.compute_device(), 0.0
    for head, classes in card.classes.items():
        key = serving.logits_key(head)
        over_views = np.array([expected.views[clip][head] for clip in clips], np.float32)
        centre = np.array([expected.centre[clip][head] for clip in clips], np.float32)
        for name, got, wanted in (
            (serving.EXAMPLES_SIGNATURE, examples_outputs[key], over_views),
            (serving.FRAMES_SIGNATURE, frames_outputs[key], over_views),
            (f"{serving.NETWORK_SIGNATURE} over all views", each_view[key][:, :-1].mean(axis=1), over_views),
            (f"{serving.NETWORK_SIGNATURE}, centre view", each_view[key][:, -1], centre),
            (serving.ONE_VIEW_SIGNATURE, one_view_outputs[key], centre),
        ):
            tolerance = expected.tolerance(wanted, device)
            largest = max(largest, _compare(f"{name}, head {head!r}", got, wanted, tolerance))
        for outputs in (examples_outputs, frames_outputs, one_view_outputs):
            names = {tuple(name.decode() for name in row) for row in outputs[serving.classes_key(head)]}
            if names != {tuple(classes)}:
                raise ServingError(f"head {head!r} serves other class names than the model card: {names}")
    return largest


def _check_embedding(
    served, expected: serving.ExpectedLogits, clips: Mapping[str, Clip], each_view: Mapping[str, np.ndarray]
) -> None:
    """Compares the embedding of the first clip with that of its views, as shares of its length, where there is one."""
    name = serving.EMBEDDING_SIGNATURE
    if (name in served.signatures) != (serving.EMBEDDING in each_view):
        raise ServingError(f"of signature {name!r} and output {name!r} of {serving.NETWORK_SIGNATURE!r} one is missing")
    if name not in served.signatures:
        return
    example = next(example for _, example in clips.values())
    outputs = _run(served, name, _padded([_frames(example)]))
    of_views = each_view[serving.EMBEDDING][:1, :-1].mean(axis=1)
    length = np.linalg.norm(of_views)
    wanted = of_views / length
    tolerance = expected.tolerance(wanted, serving.compute_device())
    for key, got in (
        (serving.EMBEDDING, outputs[serving.EMBEDDING] / length),
        (serving.EMBEDDING_L2, outputs[serving.EMBEDDING_L2]),
    ):
        difference = np.max(np.abs(got - wanted)) if got.shape == wanted.shape else np.inf
        if not difference <= tolerance:  # NaN fails too.
            raise ServingError(f"{key}: {difference:.2e} from that of the views; at most {tolerance:.2g} is allowed")


def _outputs_of_views(served, clips: Mapping[str, Clip]) -> dict[str, np.ndarray]:
    """Outputs of the network, [B, V + 1, ...] by key: of all views and, last, the centre view."""
    rows = []
    for serialized, _ in clips.values():
        made = _run(served, serving.VIEWS_SIGNATURE, {serving.EXAMPLES_INPUT: tf.constant([serialized])})
        views = made[serving.CLIPS][0]
        parts = [
            _run(
                served, serving.NETWORK_SIGNATURE, {serving.CLIPS: tf.constant(views[start : start + _CLIPS_PER_CALL])}
            )
            for start in range(0, len(views), _CLIPS_PER_CALL)
        ]
        rows.append({key: np.concatenate([part[key] for part in parts]) for key in parts[0]})
    return {key: np.stack([row[key] for row in rows]) for key in rows[0]}


def replay_warmup(served, model_dir: str) -> str:
    """Runs the warm-up requests as a model server does when it loads a model; returns what ran, in words.

    Raises:
      ServingError: Where the file is missing or damaged, a request fails or answers with NaN or infinity, or there is
        none for a signature that answers clients.
    """
    cold, replayed, skipped = set(serving.WARMED_UP) & set(served.signatures), 0, 0
    for number, log in enumerate(_warmup_logs(os.path.join(model_dir, serving.WARMUP_REQUESTS)), start=1):
        if log.WhichOneof("log_type") != "predict_log":
            skipped += 1
            continue
        cold.discard(_replay(served, log.predict_log.request, f"warm-up request {number}"))
        replayed += 1
    if cold:
        raise ServingError(f"{serving.WARMUP_REQUESTS} has no request for {', '.join(sorted(cold))}")
    return f"{replayed} warm-up requests replayed" + (f", {skipped} of other kinds skipped" if skipped else "")


def _warmup_logs(path: str) -> Iterator[prediction_log_pb2.PredictionLog]:
    """The requests of a file, one after the other.

    Raises:
      ServingError: Where the file is missing or damaged.
    """
    whole = 0
    try:
        for record in tf.data.TFRecordDataset(path).as_numpy_iterator():
            yield prediction_log_pb2.PredictionLog.FromString(record)
            whole += 1
    except tf.errors.NotFoundError as error:
        raise ServingError(f"{serving.WARMUP_REQUESTS} is missing") from error
    except (tf.errors.OpError, message.DecodeError) as error:
        reason = str(error).partition("\n")[0]
        raise ServingError(f"{serving.WARMUP_REQUESTS} is damaged behind request {whole}: {reason}") from error


def _replay(served, request, title: str) -> str:
    """Runs one PredictRequest; returns its signature's name."""
    name = request.model_spec.signature_name or serving.EXAMPLES_SIGNATURE
    try:
        outputs = _run(served, name, {key: tf.constant(tf.make_ndarray(v)) for key, v in request.inputs.items()})
    except (ServingError, tf.errors.OpError, TypeError, ValueError) as error:
        raise ServingError(f"{title}, signature {name!r}, fails: {error}") from error
    for key, value in outputs.items():
        if np.issubdtype(value.dtype, np.floating) and not np.all(np.isfinite(value)):
            raise ServingError(f"{title}, signature {name!r}: {key} is not finite")
    return name


def _find(examples: Iterable[bytes], ids: Iterable[str]) -> dict[str, Clip]:
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


def _padded(clips: Sequence[Sequence[bytes]]) -> dict[str, tf.Tensor]:
    """A request of JPEG frames, padded with what model servers pad with: the first frame, and "", in turn."""
    longest = max(map(len, clips)) + 2
    rows = [[*clip, *itertools.islice(itertools.cycle([clip[0], b""]), longest - len(clip))] for clip in clips]
    return {
        serving.FRAMES_INPUT: tf.constant(rows),
        serving.NUM_FRAMES_INPUT: tf.constant([len(clip) for clip in clips]),
    }


def _signature(served, name: str):
    if name not in served.signatures:
        raise ServingError(f"no signature {name!r}; the model has {', '.join(served.signatures)}")
    return served.signatures[name]


def _run(served, name: str, inputs: Mapping[str, tf.Tensor]) -> dict[str, np.ndarray]:
    return {key: value.numpy() for key, value in _signature(served, name)(**inputs).items()}


def _compare(title: str, got: np.ndarray, wanted: np.ndarray, tolerance: float) -> float:
    """Largest difference of logits [n, K].

    Raises:
      ServingError: Where it is over the tolerance, or another class is first and no near tie explains it.
    """
    if got.shape != wanted.shape:
        raise ServingError(f"{title}: shape {got.shape}; the trainer had {wanted.shape}")
    difference = float(np.max(np.abs(got - wanted)))
    if not difference <= tolerance:  # NaN fails too.
        raise ServingError(f"{title}: {difference:.2e} from the trainer's; at most {tolerance:.2g} is allowed")
    for row, trained in zip(got, wanted, strict=True):
        margin = trained.max() - trained[row.argmax()]
        if margin > tolerance:
            raise ServingError(f"{title}: another class is first, which the trainer had {margin:.2e} below its first")
    return difference


def _records(folder: str) -> Iterable[bytes]:
    paths = sorted(tf.io.gfile.glob(os.path.join(folder, "*")))
    return tf.data.TFRecordDataset(paths, compression_type=features.COMPRESSION).as_numpy_iterator()


def main() -> int:
    """Prints one line of JSON, {"ok": bool, "detail": text}; the exit status is 0 in either case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="the SavedModel")
    parser.add_argument("--examples", required=True, help="folder of raw examples, GZIP TFRecords")
    parser.add_argument("--plugin", help="module that brings the file system of both")
    arguments = parser.parse_args()
    if arguments.plugin:
        importlib.import_module(arguments.plugin)
    try:
        verdict = {"ok": True, "detail": check_model(arguments.model, _records(arguments.examples))}
    except (ServingError, message.DecodeError, tf.errors.OpError, OSError, ValueError, KeyError) as error:
        verdict = {"ok": False, "detail": f"{type(error).__name__}: {error}"}
    print(json.dumps(verdict), flush=True)
    if arguments.plugin:
        # After use of its S3 file system, tensorflow-io aborts a process that ends in another way.
        os._exit(0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
