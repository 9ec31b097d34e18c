"""Remote paths: what reads them is loaded, or the error says what to install."""

import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf

from components.importers.importing import import_data_set
from components.manifest import ManifestError, read_manifest
from components.remote import NoFileSystemError
from tests.components.ingest import contents, ingest, write_manifest

ROWS = [
    ("a.mp4", "", "", "run", "train", ""),
    ("b.mp4", "", "", "jump", "train", ""),
    ("c.mp4", "", "", "jump", "eval", ""),
]

WITHOUT_THEN_WITH_TENSORFLOW_IO = """
import sys
import pytest
import tensorflow as tf
from components.remote import NoFileSystemError, load_filesystem
load_filesystem("/local"), load_filesystem("gs://bucket/object")
sys.modules["tensorflow_io"] = None
try:
    load_filesystem("s3://bucket/object")
except NoFileSystemError as error:
    print(error)
del sys.modules["tensorflow_io"]
load_filesystem("s3://bucket/object")
print("s3" in tf.io.gfile.get_registered_schemes())
"""


def test_tensorflow_io_is_loaded_where_a_scheme_needs_it_and_named_where_it_is_missing():
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_THEN_WITH_TENSORFLOW_IO],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    error, loaded = done.stdout.splitlines()
    assert error.startswith("TensorFlow cannot read s3:// by itself; `pip install tensorflow-io==")
    assert loaded == "True"


def test_a_manifest_with_a_path_that_nothing_reads_is_refused(tmp_path):
    manifest = tmp_path / "m.csv"
    manifest.write_text("path,label\nftp://host/a.mp4,run")
    with pytest.raises(ManifestError, match=r"row 2: cannot read ftp://host/a.mp4: TensorFlow cannot read ftp://"):
        read_manifest(manifest)
    with pytest.raises(NoFileSystemError, match="TensorFlow cannot read ftp://"):
        read_manifest("ftp://host/m.csv")


def test_an_import_with_a_path_that_nothing_reads_is_refused(tmp_path):
    (tmp_path / "train.csv").write_text("label,youtube_id,time_start,time_end\na,x,0,10\n")
    for annotations, videos, output in [
        ("ftp://host/train.csv", str(tmp_path), str(tmp_path / "m.csv")),
        (str(tmp_path / "train.csv"), "ftp://host/videos", str(tmp_path / "m.csv")),
        (str(tmp_path / "train.csv"), str(tmp_path), "ftp://host/m.csv"),
    ]:
        with pytest.raises(NoFileSystemError, match="TensorFlow cannot read ftp://"):
            import_data_set("kinetics", [annotations], videos=videos, output=output)


def test_an_ingest_from_and_to_a_remote_file_system_writes_the_same_bytes(tmp_path):
    (tmp_path / "local").mkdir()
    _, prepared = write_manifest(tmp_path, ROWS)
    ingest(tmp_path / "local", prepared)

    # TensorFlow's own file system in memory takes the way of every remote one.
    remote = "ram://ingest"
    for video in tmp_path.glob("*.mp4"):
        tf.io.gfile.copy(str(video), f"{remote}/{video.name}")
    for split in ("train", "eval"):
        lines = Path(prepared, f"{split}.jsonl").read_text().replace(f"{tmp_path}/", f"{remote}/")
        with tf.io.gfile.GFile(f"{remote}/manifest/{split}.jsonl", "w") as file:
            file.write(lines)
    ingest(remote, f"{remote}/manifest")

    (tmp_path / "copy").mkdir()
    for folder, _, files in tf.io.gfile.walk(remote):
        for name in files:
            copy = tmp_path / "copy" / Path(folder, name).relative_to("ram:/ingest")
            copy.parent.mkdir(parents=True, exist_ok=True)
            tf.io.gfile.copy(f"{folder}/{name}", str(copy))
    assert contents(tmp_path / "copy") == contents(tmp_path / "local")
