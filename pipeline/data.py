"""Prepares a data set for the pipeline: checks the manifest and writes what the pipeline reads.

Below the workdir: ``data/manifest-<hash>/<split>.jsonl`` with one clip a line, ``data/schema-<hash>/schema.pbtxt``, and
``data/pace.json``. Manifests and schemas are named by their content and never replaced: unchanged inputs stay cached,
and a run that waits in a queue reads what it was compiled for. The pace of a training changes no weight: the last one
that was prepared holds.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Sequence

import tensorflow as tf
from google.protobuf import text_format

from components.ingest.quarantine import check_losses, quarantine_row
from components.manifest.reader import Clip, Manifest, read_manifest
from components.manifest.table import SPLITS, ManifestError
from components.media.video import VideoError
from components.storage import files
from components.storage.folders import artifact_store_problem
from pipeline import settings
from pipeline.plan.weights import FirstWeights, find_first_weights
from pipeline.recipe import Recipe
from pipeline.settings import ConfigError
from schemas.schema import build_schema

# How the folders begin that `prepare` writes clips to.
_MANIFEST = "manifest-"


@dataclasses.dataclass(frozen=True)
class PreparedData:
    """The pipeline's description of a data set.

    Attributes:
      manifest_dir: Folder of the ``<split>.jsonl`` files.
      pace_file: The `PaceConfig` as JSON. The Trainer reads this file, so that no fingerprint contains it.
      schema_file: The TensorFlow Metadata schema of the raw examples.
      first_weights: What `model.init_from` names.
      splits: Names of the splits.
      heads: Label heads.
      slices: Slice columns.
    """

    manifest_dir: str
    pace_file: str
    schema_file: str
    first_weights: FirstWeights
    splits: tuple[str, ...]
    heads: tuple[str, ...]
    slices: tuple[str, ...]


def prepare(
    source: str, workdir: str, recipe: Recipe, manifest: Manifest | None = None
) -> tuple[PreparedData, Manifest]:
    """Checks a manifest and writes it, with its schema, below the workdir.

    Args:
      source: CSV, JSONL, folder of classes, or folder of clips that an earlier call has written, in any workdir.
      workdir: Folder (any URI) of the run.
      recipe: Its `data` names heads and slices; its `evaluation.split` must have clips.
      manifest: What was read of `source` already.

    Raises:
      ManifestError: If a row cannot be used, or the evaluated split is empty.
      TooManyBadVideosError: If more files cannot be read than `recipe.ingest` allows.
      ConfigError: If the training clips do not fill a batch, `model.init_from` cannot be read, or nothing here writes
        artifacts to the workdir.
    """
    problem = artifact_store_problem(workdir)
    if problem:
        raise ConfigError(problem)
    first = find_first_weights(recipe.model.init_from, workdir)
    manifest = manifest or _read(source, recipe)
    if not manifest.split(recipe.evaluation.split):
        raise ManifestError(
            manifest.source, [f"no clip in split {recipe.evaluation.split!r}, which evaluation.split names"]
        )
    unreadable = [clip for clip in manifest.clips if clip.id in manifest.unreadable]
    lost = [quarantine_row(clip, VideoError(clip.path, "open", manifest.unreadable[clip.id])) for clip in unreadable]
    # Ingest would find them, too, but only after the others are decoded.
    check_losses(manifest.clips, lost, recipe.ingest.max_bad_fraction)
    num_train, batch_size = len(manifest.split("train")), recipe.train.batch_size
    if num_train < batch_size:
        raise ConfigError(
            f"train.batch_size is {batch_size}, but {source} has {num_train} training clips: lower it, e.g. "
            f"--set train.batch_size={max(1, num_train // 4)}"
        )
    splits = tuple(split for split in SPLITS if manifest.split(split))
    lines = {split: "".join(clip.to_json() + "\n" for clip in manifest.split(split)) for split in splits}
    data = locate(
        workdir,
        manifest_dir=os.path.join(workdir, "data", f"{_MANIFEST}{_digest(repr(lines))}"),
        first_weights=first,
        splits=splits,
        heads=manifest.heads,
        slices=manifest.slices,
    )
    for split, text in lines.items():
        _write_if_changed(os.path.join(data.manifest_dir, f"{split}.jsonl"), text)
    _write_if_changed(data.schema_file, _schema_text(manifest.heads, manifest.slices))
    _write_if_changed(data.pace_file, settings.to_json(recipe.pace))
    return data, manifest


def _read(source: str, recipe: Recipe) -> Manifest:
    """The clips of a manifest, or those that `prepare` has written, which were checked then."""
    folder = source.rstrip("/")
    paths = [os.path.join(folder, f"{split}.jsonl") for split in SPLITS]
    if not os.path.basename(folder).startswith(_MANIFEST) or not files.exists(paths[0]):
        return read_manifest(source, heads=recipe.data.heads, slices=recipe.data.slices)
    lines = [line for path in paths if files.exists(path) for line in files.read(path).decode().splitlines()]
    clips = sorted(map(Clip.from_json, lines), key=lambda clip: clip.id)
    # The order of the heads is not kept there.
    heads, slices = recipe.data.heads or tuple(clips[0].labels), recipe.data.slices
    try:
        chosen = [
            dataclasses.replace(
                clip,
                labels={head: clip.labels[head] for head in heads},
                slices=clip.slices if slices is None else {name: clip.slices[name] for name in slices},
            )
            for clip in clips
        ]
    except KeyError as error:
        raise ManifestError(
            folder,
            [f"it was prepared without {error}, which data.heads or data.slices names: prepare the manifest anew"],
        ) from error
    return Manifest(folder, tuple(chosen))


def locate(
    workdir: str,
    *,
    manifest_dir: str,
    first_weights: FirstWeights,
    splits: Sequence[str],
    heads: Sequence[str],
    slices: Sequence[str],
) -> PreparedData:
    """Where `prepare` puts a data set with this manifest, these heads and slices."""
    return PreparedData(
        manifest_dir=manifest_dir,
        pace_file=os.path.join(workdir, "data", "pace.json"),
        schema_file=os.path.join(workdir, "data", f"schema-{_digest(_schema_text(heads, slices))}", "schema.pbtxt"),
        first_weights=first_weights,
        splits=tuple(splits),
        heads=tuple(heads),
        slices=tuple(slices),
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _schema_text(heads: Sequence[str], slices: Sequence[str]) -> str:
    return text_format.MessageToString(build_schema(heads, slices))


def _write_if_changed(path: str, text: str) -> None:
    if tf.io.gfile.exists(path):
        with tf.io.gfile.GFile(path) as file:
            if file.read() == text:
                return
    tf.io.gfile.makedirs(os.path.dirname(path))
    with tf.io.gfile.GFile(path, "w") as file:
        file.write(text)
