"""VideoExampleGen: videos in, raw examples out (one per clip), and a quarantine of what could not be decoded.

The input files are the JSON lines of `components.manifest.Clip`, one file per split. A bad video costs its own clip:
the clip becomes a row of the quarantine artifact, and the run stops only if too many are lost, or a whole class.
"""

from __future__ import annotations

import collections
import dataclasses
import json
import logging
import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import tensorflow as tf
from apache_beam.metrics import Metrics
from tfx.components.example_gen import utils
from tfx.components.example_gen.base_example_gen_executor import BaseExampleGenExecutor
from tfx.components.example_gen.component import FileBasedExampleGen
from tfx.dsl.components.base import executor_spec
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils, channel, standard_artifacts
from tfx.types.artifact import Artifact
from tfx.types.component_spec import ChannelParameter, ExecutionParameter
from tfx.types.standard_component_specs import FileBasedExampleGenSpec

from components.manifest import Clip
from components.video import IngestConfig, VideoError, store_clip
from schemas import features

INGEST_KEY = "ingest"
QUARANTINE_KEY = "quarantine"

_METRICS = "vivit/ingest"
_PROGRESS_SECONDS = 5
_logger = logging.getLogger("vivit.ingest")


class TooManyBadVideosError(RuntimeError):
    """More clips than the configuration allows, or all clips of a class, could not be decoded."""


class Quarantine(Artifact):
    """Clips that could not be decoded: JSON lines of id, path, stage, reason and bytes, one file per split."""

    # Kubeflow imports the class by this name; see components/__init__.py.
    TYPE_NAME = "components.Quarantine"


class VideoExampleGenSpec(FileBasedExampleGenSpec):
    """FileBasedExampleGen's spec, with the ingest configuration (JSON) and the quarantine."""

    PARAMETERS = {**FileBasedExampleGenSpec.PARAMETERS, INGEST_KEY: ExecutionParameter(type=str)}
    OUTPUTS = {**FileBasedExampleGenSpec.OUTPUTS, QUARANTINE_KEY: ChannelParameter(type=Quarantine)}


class _Progress:
    """Says every few seconds how many clips of a split this worker has done."""

    def __init__(self, split: str, total: int):
        self._split, self._total = split, total
        self._lock, self._done, self._said = threading.Lock(), 0, time.monotonic()

    def advance(self) -> None:
        with self._lock:
            self._done += 1
            if time.monotonic() - self._said >= _PROGRESS_SECONDS:
                self._said = time.monotonic()
                _logger.info("%s: %d of %d clips decoded", self._split, self._done, self._total)


class ClipToExample(beam.DoFn):
    """Turns one line of JSON into a raw example, or into a row of the quarantine."""

    def __init__(self, config: IngestConfig, split: str, total: int):
        self._config, self._split, self._total = config, split, total
        self._good, self._bad = (Metrics.counter(_METRICS, name) for name in ("good", "bad"))

    def setup(self) -> None:
        """Starts this worker's progress."""
        self._progress = _Progress(self._split, self._total)

    def process(self, line: str) -> Iterator:
        """Yields the example to the main output, or the row to `QUARANTINE_KEY`."""
        clip = Clip.from_json(line)
        self._progress.advance()
        try:
            yield clip_to_example(clip, self._config)
            self._good.inc()
        except VideoError as error:
            self._bad.inc()
            row = {"id": clip.id, "path": clip.path, "stage": error.stage, "reason": error.reason, "bytes": clip.size}
            yield beam.pvalue.TaggedOutput(QUARANTINE_KEY, json.dumps(row, ensure_ascii=False))


def clip_to_example(clip: Clip, config: IngestConfig) -> tf.train.Example:
    """Decodes one clip into its raw example.

    Raises:
      VideoError: If it cannot be decoded.
    """
    stored = store_clip(clip.path, config, start=clip.start, end=clip.end)
    return features.raw_example(
        clip_id=clip.id,
        group=clip.group,
        frames=stored.frames,
        size=stored.size,
        fps=stored.fps,
        start=stored.start,
        duration=stored.duration,
        labels={head: [name] for head, name in clip.labels.items()},
        slices=clip.slices,
    )


@beam.ptransform_fn
@beam.typehints.with_input_types(beam.Pipeline)
@beam.typehints.with_output_types(tf.train.Example)
def _ManifestToExamples(pipeline: beam.Pipeline, exec_properties: dict[str, Any], split_pattern: str):
    config = IngestConfig(**json.loads(exec_properties[INGEST_KEY]))
    manifest = os.path.join(exec_properties["input_base"], split_pattern)
    split, total = os.path.splitext(split_pattern)[0], sum(1 for _ in _lines(manifest))
    clips = (
        pipeline
        | "Read" >> beam.io.ReadFromText(manifest)
        # Spreads the clips over the workers: a manifest is too small a file to be split by itself.
        | "Spread" >> beam.Reshuffle()
        | "Decode" >> beam.ParDo(ClipToExample(config, split, total)).with_outputs(QUARANTINE_KEY, main="examples")
    )
    quarantine = os.path.join(exec_properties[QUARANTINE_KEY], split_pattern)
    _ = clips[QUARANTINE_KEY] | "Quarantine" >> beam.io.WriteToText(quarantine, shard_name_template="", num_shards=1)
    return clips["examples"]


class VideoExampleGenExecutor(BaseExampleGenExecutor):
    """Decodes the clips with Beam, then holds the losses against what the configuration allows."""

    def GetInputSourceToExamplePTransform(self) -> beam.PTransform:  # noqa: N802 (TFX's name)
        """The transform from a split's manifest to its raw examples."""
        return _ManifestToExamples

    def Do(self, input_dict, output_dict, exec_properties) -> None:  # noqa: N802 (TFX's name)
        """Writes the examples and the quarantine.

        Raises:
          TooManyBadVideosError: If more is lost than allowed.
        """
        quarantine = artifact_utils.get_single_uri(output_dict[QUARANTINE_KEY])
        tf.io.gfile.makedirs(quarantine)
        super().Do(input_dict, output_dict, {**exec_properties, QUARANTINE_KEY: quarantine})
        config = IngestConfig(**json.loads(exec_properties[INGEST_KEY]))
        check_losses(_read_clips(exec_properties["input_base"]), read_quarantine(quarantine), config.max_bad_fraction)


def read_quarantine(uri: str) -> list[dict[str, Any]]:
    """Rows of a quarantine artifact, of all splits."""
    return [json.loads(line) for line in _lines(os.path.join(uri, "*.jsonl"))]


def _read_clips(uri: str) -> list[Clip]:
    return [Clip.from_json(line) for line in _lines(os.path.join(uri, "*.jsonl"))]


def _lines(pattern: str) -> Iterator[str]:
    for path in sorted(tf.io.gfile.glob(pattern)):
        with tf.io.gfile.GFile(path) as file:
            yield from (line for line in file if line.strip())


def check_losses(clips: list[Clip], lost: list[dict[str, Any]], max_bad_fraction: float) -> None:
    """Raises TooManyBadVideosError if more than `max_bad_fraction` of the clips, or a class of a split, is lost."""
    if not lost:
        return
    lost_ids = {row["id"] for row in lost}
    problems = []
    if len(lost) > max_bad_fraction * len(clips):
        problems.append(
            f"{len(lost)} of {len(clips)} clips cannot be decoded ({len(lost) / len(clips):.1%}; "
            f"ingest.max_bad_fraction allows {max_bad_fraction:.1%})"
        )
    left = collections.Counter()
    for clip in clips:
        for head, name in clip.labels.items():
            left[clip.split, head, name] += clip.id not in lost_ids
    problems += [f"no clip is left of {head} {name!r} in {split}" for (split, head, name), n in left.items() if not n]
    if problems:
        rows = [f"  {row['path']}: {row['reason']}" for row in lost[:20]]
        more = [f"  … and {len(lost) - 20} more"] if len(lost) > 20 else []
        raise TooManyBadVideosError("\n".join(["; ".join(problems) + ":", *rows, *more]))


class VideoExampleGen(FileBasedExampleGen):
    """Ingests the clips of prepared manifests.

    Outputs: `examples` (raw examples, see schemas/features.py) and `quarantine`.
    """

    SPEC_CLASS = VideoExampleGenSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(VideoExampleGenExecutor)

    def __init__(self, input_base: str, splits: tuple[str, ...], ingest: IngestConfig):
        """Makes the component.

        Args:
          input_base: Folder (any URI) with one ``<split>.jsonl`` of `Clip` rows per split.
          splits: Names of the splits.
          ingest: Rate, size and quality of the stored frames.
        """
        input_config = example_gen_pb2.Input(
            splits=[example_gen_pb2.Input.Split(name=name, pattern=f"{name}.jsonl") for name in splits]
        )
        spec = VideoExampleGenSpec(
            input_base=input_base,
            input_config=input_config,
            output_config=utils.make_default_output_config(input_config),
            output_data_format=example_gen_pb2.FORMAT_TF_EXAMPLE,
            output_file_format=example_gen_pb2.FORMAT_TFRECORDS_GZIP,
            ingest=json.dumps(dataclasses.asdict(ingest), sort_keys=True),
            examples=channel.Channel(type=standard_artifacts.Examples),
            quarantine=channel.Channel(type=Quarantine),
        )
        # FileBasedExampleGen's own __init__ builds the stock spec; its base takes ours.
        super(FileBasedExampleGen, self).__init__(spec=spec)
