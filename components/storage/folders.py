"""Folders of artifacts, which TensorFlow reads and writes. In a bucket, one that holds nothing may not be there."""

from __future__ import annotations

import contextlib
import os

import tensorflow as tf

from components.storage import files


def names(folder: str) -> list[str]:
    """Names in a folder; none where there is no folder."""
    try:
        return tf.io.gfile.listdir(folder)
    except tf.errors.NotFoundError:
        return []


def copy_files(folder: str, to: str) -> None:
    """Copies the files of a folder, if it is there, into another."""
    for name in names(folder):
        tf.io.gfile.makedirs(to)
        tf.io.gfile.copy(os.path.join(folder, name), os.path.join(to, name), overwrite=True)


def remove(folder: str) -> None:
    """Removes a folder with all that it holds, if it is there."""
    with contextlib.suppress(tf.errors.NotFoundError):
        tf.io.gfile.rmtree(folder)


def size(folder: str) -> int:
    """Bytes of all files in a folder."""
    paths = (os.path.join(where, name) for where, _, files_in in tf.io.gfile.walk(folder) for name in files_in)
    return sum(tf.io.gfile.stat(path).length for path in paths)


def artifact_store_problem(workdir: str) -> str:
    """Why TFX, which reads and writes artifacts with TensorFlow alone, cannot keep them in a workdir; empty if it can.

    tensorflow-io, which brings TensorFlow 2.16 further file systems, is loaded where the workdir needs it.
    """
    if files.is_tensorflows(workdir):
        return ""
    try:
        import tensorflow_io  # noqa: F401 (registers its file systems)
    except (ImportError, NotImplementedError, OSError, tf.errors.OpError) as error:
        # It is built for one release of TensorFlow, and breaks in several ways under another.
        reason = str(error)
    else:
        reason = "tensorflow-io adds no such scheme"
    scheme = files.scheme_of(workdir)
    if scheme in tf.io.gfile.get_registered_schemes():
        return ""
    return (
        f"TensorFlow {tf.__version__}, which runs here, keeps no artifacts at {scheme}:// ({reason}): use a workdir at "
        "gs://, a bucket that is mounted as a folder, or Python 3.10 with TensorFlow 2.16 and tensorflow-io (an image "
        "built with --build-arg LOCK=py310)"
    )
