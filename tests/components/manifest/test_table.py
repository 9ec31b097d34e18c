"""The videos of a folder: whatever is there, each is listed once, and what is not listed is reported."""

import os

import pytest
import tensorflow as tf

from components.manifest.folders import folder_rows
from components.manifest.table import ManifestError, video_files
from tests.components.manifest.folders import make_unlistable


@pytest.fixture
def write(tmp_path):
    """Writes empty files."""

    def write_files(*names):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        return str(tmp_path)

    return write_files


def test_videos_and_other_files_are_listed_in_order(write):
    root = write("run/2.MP4", "run/a/1.mkv", "c.avi", "run/notes.txt", "run/._2.mp4", ".cache/3.mp4")
    assert video_files(root) == (
        ["c.avi", "run/2.MP4", "run/a/1.mkv"],
        [".cache/3.mp4", "run/._2.mp4", "run/notes.txt"],
        {},
    )
    assert video_files(f"{root}/") == video_files(root)


def test_a_remote_folder_is_listed_as_a_local_one(tmp_path, write):
    root = write("run/2.MP4", "run/a/1.mkv", "c.avi", "run/notes.txt", "run/._2.mp4", ".cache/3.mp4")
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.join(folder, name)
            tf.io.gfile.makedirs(folder.replace(root, "ram://listed"))
            tf.io.gfile.copy(path, path.replace(root, "ram://listed"), overwrite=True)
    assert video_files("ram://listed") == video_files(root)


def test_links_in_a_circle_are_followed_once(tmp_path, write):
    root = write("run/1.mp4")
    (tmp_path / "run" / "up").symlink_to("..")
    assert video_files(root) == (["run/1.mp4"], ["run/up"], {})


def test_a_folder_has_its_own_name_before_that_of_a_link(tmp_path, write):
    root = write("set/zebra/1.mp4", "elsewhere/2.mp4")
    (tmp_path / "set" / "ape").symlink_to("zebra")
    (tmp_path / "set" / "cat").symlink_to(tmp_path / "elsewhere")
    assert video_files(f"{root}/set") == (["cat/2.mp4", "zebra/1.mp4"], ["ape"], {})


def test_a_folder_that_cannot_be_listed_is_reported_but_no_data_set_goes_without_it(tmp_path, write):
    root = write("jump/1.mp4", "run/2.mp4")
    make_unlistable(tmp_path / "jump")
    videos, _, skipped = video_files(root)
    assert videos == ["jump/1.mp4", "run/2.mp4"]
    ((folder, reason),) = skipped.items()
    assert folder.startswith("jump/ddd")
    assert reason == "File name too long"
    with pytest.raises(ManifestError, match="cannot list jump/ddd.*ddd/: File name too long"):
        folder_rows(root)


def test_a_folder_called_like_a_video_is_one_unless_it_holds_one(tmp_path, write):
    root = write("run/frames.mp4/1.jpg", "run/2.mp4/clips/3.mp4")
    (tmp_path / "run" / "empty.mp4").mkdir()
    assert video_files(root).videos == ["run/2.mp4/clips/3.mp4", "run/empty.mp4", "run/frames.mp4"]


def test_a_name_that_is_not_utf8_is_listed_but_refused_in_a_manifest(write):
    root = write("run/1.mp4")
    for name in (b"run/\xff\xe9.mp4", b"run/\xff.txt"):
        open(os.path.join(root.encode(), name), "wb").close()
    videos, others, _ = video_files(root)
    assert videos == ["run/1.mp4", os.fsdecode(b"run/\xff\xe9.mp4")]
    assert others == ["run/\\udcff.txt"]
    with pytest.raises(ManifestError) as caught:
        folder_rows(root)
    assert caught.value.problems == (r"'run/\udcff\udce9.mp4': its name is not UTF-8; rename it",)


def test_a_folder_that_is_not_there_is_reported(tmp_path):
    for root in (str(tmp_path / "gone"), "ram://gone"):
        with pytest.raises(ManifestError, match="no such folder"):
            video_files(root)
