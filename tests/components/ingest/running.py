"""Runs VideoExampleGen's own executor on small real videos."""

import hashlib
import os
from pathlib import Path

import tensorflow as tf
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types import artifact_utils, standard_artifacts

from components.ingest.config import IngestConfig
from components.ingest.example_gen import Quarantine, VideoExampleGen, VideoExampleGenExecutor
from components.ingest.quarantine import read_quarantine
from components.manifest.reader import read_manifest
from tests.components.media.videos import write_video

INGEST = IngestConfig(fps=10, short_side=24)


def write_manifest(folder, rows, damaged=()):
    """Videos of ten frames and their manifest, prepared as one file per split; `damaged` files hold text."""
    for path in {row[0] for row in rows}:
        if path in damaged:
            (folder / path).write_text("no video")
        else:
            write_video(folder / path, range(10))
    lines = [",".join(map(str, row)) for row in rows]
    (folder / "m.csv").write_text("\n".join(["path,start,end,label,split,camera", *lines]))
    manifest = read_manifest(folder / "m.csv")
    (folder / "manifest").mkdir()
    for split in ("train", "eval"):
        (folder / "manifest" / f"{split}.jsonl").write_text("".join(c.to_json() + "\n" for c in manifest.split(split)))
    return manifest, str(folder / "manifest")


def ingest(folder, input_base, config=INGEST, beam_args=("--runner=FnApiRunner",), kept=None):
    """Runs the component's own executor into a folder (any URI); gives its examples."""
    component = VideoExampleGen(input_base, ("train", "eval"), config, kept=kept or os.path.join(folder, "kept"))
    examples, quarantine = standard_artifacts.Examples(), Quarantine()
    examples.uri, quarantine.uri = os.path.join(folder, "examples"), os.path.join(folder, "quarantine")
    context = BaseBeamExecutor.Context(beam_pipeline_args=list(beam_args))
    VideoExampleGenExecutor(context).Do(
        {}, {"examples": [examples], "quarantine": [quarantine]}, dict(component.exec_properties)
    )
    return examples


def execute(folder, input_base, config=INGEST, kept=None):
    """Gives (examples by split, rows of the quarantine)."""
    examples = ingest(folder, input_base, config, kept=kept)
    found = {}
    for split in ("train", "eval"):
        paths = tf.io.gfile.glob(artifact_utils.get_split_uri([examples], split) + "/*")
        records = tf.data.TFRecordDataset(paths, compression_type="GZIP").as_numpy_iterator()
        found[split] = [tf.train.Example.FromString(record) for record in records]
    return found, read_quarantine(str(folder / "quarantine"))


def contents(folder):
    """What an ingest left in a folder: digest by file."""
    files = [path for name in ("examples", "quarantine") for path in Path(folder, name).rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
