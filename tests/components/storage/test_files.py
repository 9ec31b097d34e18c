"""Files at any URI: the same calls, results and errors on every file system; what is missing is named."""

import subprocess
import sys
import time
from pathlib import Path

import fsspec
import pytest
import tensorflow as tf

from components.manifest.importers.importing import import_data_set
from components.manifest.reader import ManifestError, read_manifest
from components.media.decoder import Decoder
from components.storage import files
from components.storage.files import NoFileSystemError
from tests.components.ingest.running import INGEST, contents, ingest, write_manifest
from tests.components.media.videos import write_video
from tests.servers import http_server, s3_server

ROWS = [
    ("a.mp4", "", "", "run", "train", ""),
    ("b.mp4", "", "", "jump", "train", ""),
    ("c.mp4", "", "", "jump", "eval", ""),
]


@pytest.fixture(scope="module")
def s3():
    with s3_server() as system:
        yield system


@pytest.fixture(params=["local", "ram", "s3"])
def root(request, tmp_path):
    """A folder with a file, on each file system."""
    if request.param == "s3":
        request.getfixturevalue("s3")
    root = {"local": str(tmp_path / "root"), "ram": f"ram:/{tmp_path}", "s3": f"s3://videos{tmp_path}"}[request.param]
    files.write(f"{root}/a/b.txt", b"0123456789")
    return root


def test_a_file_is_written_read_and_looked_up_alike_everywhere(root):
    assert files.read(f"{root}/a/b.txt") == b"0123456789"
    with files.opened(f"{root}/a/b.txt") as file:
        file.seek(4)
        assert file.read(3) == b"456"
        file.seek(1)
        assert file.read(2) == b"12"
    assert files.stat(f"{root}/a/b.txt")[::2] == (10, False)
    assert [files.exists(f"{root}/{name}") for name in ("a", "a/b.txt", "b", "a/b.txt/c")] == [True, True, False, False]
    assert [files.is_folder(f"{root}/{name}") for name in ("a", "a/b.txt", "b")] == [True, False, False]
    files.write(f"{root}/c.txt", b"")
    # TensorFlow marks the folders of some file systems only.
    assert sorted(name.rstrip("/") for name in files.names_in(root)) == ["a", "c.txt"]
    assert files.names_in(f"{root}/a") == ["b.txt"]
    files.rename(f"{root}/a/b.txt", f"{root}/c.txt")
    assert (files.read(f"{root}/c.txt"), files.exists(f"{root}/a/b.txt")) == (b"0123456789", False)
    files.remove(f"{root}/c.txt")
    assert not files.exists(f"{root}/c.txt")


def test_a_file_that_changes_has_another_version(root):
    if root.startswith("ram"):
        pytest.skip("TensorFlow's file system in memory knows no times")
    before = files.stat(f"{root}/a/b.txt")
    assert files.stat(f"{root}/a/b.txt") == before
    time.sleep(1.1)  # S3 counts seconds.
    files.write(f"{root}/a/b.txt", b"9876543210")
    assert files.stat(f"{root}/a/b.txt").version != before.version


def test_a_file_is_tried_for_writing_and_keeps_what_it_holds(root):
    for path in (f"{root}/a/b.txt", f"{root}/new/b.txt"):
        files.check_writable(path)
    assert (files.read(f"{root}/a/b.txt"), files.read(f"{root}/new/b.txt")) == (b"0123456789", b"")


def test_a_file_that_is_missing_is_the_files_own_fault(root, tmp_path):
    for call in (files.stat, files.read, lambda path: files.download(path, str(tmp_path / "copy"))):
        with pytest.raises(files.FileError) as raised:
            call(f"{root}/none.mp4")
        assert raised.value.lasting
        assert raised.value.reason
        assert root not in raised.value.reason
        assert str(raised.value) == f"{root}/none.mp4: {raised.value.reason}"


def test_a_server_that_does_not_answer_is_no_fault_of_the_file(s3, monkeypatch):
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(files.FileError, match="Could not connect") as raised:
        files.stat("s3://videos/a.mp4")
    assert not raised.value.lasting
    with pytest.raises(files.FileError):
        files.exists("s3://videos/a.mp4")
    fsspec.get_filesystem_class("s3").clear_instance_cache()


def test_a_web_servers_files_are_read(tmp_path):
    (tmp_path / "a.bin").write_bytes(bytes(range(256)) * 10)
    with http_server(tmp_path) as address:
        found = files.stat(f"{address}/a.bin?token=1")
        assert (found.size, found.is_folder) == (2560, False)
        assert abs(found.version - (tmp_path / "a.bin").stat().st_mtime_ns) < 2e9
        files.download(f"{address}/a.bin", str(tmp_path / "copy"), max_bytes=2560)
        assert (tmp_path / "copy").read_bytes() == (tmp_path / "a.bin").read_bytes()
        with pytest.raises(files.FileError, match="more than 2559 bytes") as raised:
            files.download(f"{address}/a.bin", str(tmp_path / "copy"), max_bytes=2559)
        assert raised.value.lasting
        assert not files.exists(f"{address}/b.bin")
        for call in (files.stat, files.read):
            with pytest.raises(files.FileError) as raised:
                call(f"{address}/b.bin")
            assert raised.value.lasting
        with pytest.raises(files.FileError, match="http:// cannot do this: it can only be read"):
            files.remove(f"{address}/a.bin")


@pytest.mark.parametrize("status", [403, 429, 503, None])
def test_a_web_servers_failure_is_no_fault_of_the_file(tmp_path, status):
    with http_server(tmp_path, status=status) as address:
        url = f"{address}/a.mp4"
    if status is None:
        # The server has gone.
        with pytest.raises(files.FileError) as raised:
            files.stat(url)
        assert not raised.value.lasting
        return
    with http_server(tmp_path, status=status) as address:
        for call in (files.stat, files.read, files.exists, files.is_folder):
            with pytest.raises(files.FileError) as raised:
                call(f"{address}/a.mp4")
            assert not raised.value.lasting


def test_a_file_system_that_lacks_its_account_is_an_error_of_its_own(monkeypatch):
    for name in ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_CONNECTION_STRING"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(files.FileError, match="cannot use az://: ") as raised:
        files.stat("az://container/a.mp4")
    assert not raised.value.lasting


def test_a_folder_of_any_file_system_is_copied_whole(root):
    files.write(f"{root}/a/d/e.txt", b"deeper")
    with files.local_copy(f"{root}/a") as copy:
        found = {str(path.relative_to(copy)): path.read_bytes() for path in Path(copy).rglob("*.txt")}
    assert found == {"b.txt": b"0123456789", "d/e.txt": b"deeper"}


def test_a_video_of_a_web_server_is_decoded_as_its_copy_is(tmp_path):
    path = write_video(tmp_path / "v.mp4", range(10))
    with http_server(tmp_path) as address, Decoder(INGEST) as decoder:
        ((_, here),) = decoder.store_segments(path, [(0, None)])
        ((_, there),) = decoder.store_segments(f"{address}/v.mp4?{'signature=' * 50}", [(0, None)])
    assert there == here


WITHOUT_S3FS = """
import sys
sys.modules["s3fs"] = None
from components.storage.files import NoFileSystemError, check_scheme
check_scheme("/local"), check_scheme("gs://bucket/object"), check_scheme("hdfs://host/object")
try:
    check_scheme("s3://bucket/object")
except NoFileSystemError as error:
    print(error)
"""


def test_what_is_not_installed_is_named():
    done = subprocess.run([sys.executable, "-c", WITHOUT_S3FS], capture_output=True, text=True, check=True)
    assert done.stdout == (
        "s3://bucket/object: cannot read s3://: Install s3fs to access S3; it is in the extra `remote`\n"
    )


def test_tensorflow_io_is_not_loaded_to_read(s3):
    # It registers file systems that end the process with an abort.
    code = "import sys; from components.storage import files; files.exists('s3://videos/a'); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert ("s3fs" in loaded, "tensorflow_io" in loaded) == (True, False)


def test_a_manifest_with_a_path_that_nothing_reads_is_refused(tmp_path):
    manifest = tmp_path / "m.csv"
    manifest.write_text("path,label\ngopher://host/a.mp4,run")
    with pytest.raises(
        ManifestError, match=r"row 2: cannot read gopher://host/a.mp4: neither TensorFlow nor fsspec reads gopher://"
    ):
        read_manifest(manifest)
    with pytest.raises(NoFileSystemError, match="neither TensorFlow nor fsspec reads gopher://"):
        read_manifest("gopher://host/m.csv")


def test_an_import_with_a_path_that_nothing_reads_is_refused(tmp_path):
    (tmp_path / "train.csv").write_text("label,youtube_id,time_start,time_end\na,x,0,10\n")
    for annotations, videos, output in [
        ("gopher://host/train.csv", str(tmp_path), str(tmp_path / "m.csv")),
        (str(tmp_path / "train.csv"), "gopher://host/videos", str(tmp_path / "m.csv")),
        (str(tmp_path / "train.csv"), str(tmp_path), "gopher://host/m.csv"),
    ]:
        with pytest.raises(NoFileSystemError, match="neither TensorFlow nor fsspec reads gopher://"):
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
    for folder, _, names in tf.io.gfile.walk(remote):
        for name in names:
            copy = tmp_path / "copy" / Path(folder, name).relative_to("ram:/ingest")
            copy.parent.mkdir(parents=True, exist_ok=True)
            tf.io.gfile.copy(f"{folder}/{name}", str(copy))
    assert contents(tmp_path / "copy") == contents(tmp_path / "local")
