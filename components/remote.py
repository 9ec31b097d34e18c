"""Remote paths: every file is opened through `tf.io.gfile`, whose file systems come from two places.

gs:// is built into TensorFlow; s3://, az:// and hdfs:// come with tensorflow-io, which is loaded when one is met.
"""

from __future__ import annotations

import tensorflow as tf

TENSORFLOW_IO = "tensorflow-io==0.37.1"


# What a remote file system answers of a file itself. Anything else (no answer, no room, no credentials) may pass, and
# is no reason to call a video bad.
_OF_THE_FILE = (
    *(tf.errors.NotFoundError, tf.errors.PermissionDeniedError),
    *(tf.errors.FailedPreconditionError, tf.errors.InvalidArgumentError),
)


def is_lasting(path: str, error: Exception) -> bool:
    """Whether what a file system raised tells of the file `path`, so that another try would end alike."""
    return "://" not in path or isinstance(error, _OF_THE_FILE)


def reason_of(path: str, error: Exception) -> str:
    """What a file system's error says of the file `path`, without naming it."""
    reason = getattr(error, "strerror", None) or getattr(error, "message", None) or str(error)
    return reason.removeprefix(f"{path}; ")


class NoFileSystemError(OSError):
    """Nothing that is installed reads the scheme of a URI."""


def load_filesystem(path: str) -> None:
    """Makes `tf.io.gfile` ready for a path.

    Args:
      path: A local path, or a URI.

    Raises:
      NoFileSystemError: If its scheme is unknown, saying what to install.
    """
    scheme = path.partition("://")[0] if "://" in path else ""
    if scheme in tf.io.gfile.get_registered_schemes():
        return
    reason = "it is installed, but has no such scheme"
    try:
        import tensorflow_io  # noqa: F401 (registers its file systems)
    except (ImportError, NotImplementedError, OSError, tf.errors.OpError) as error:
        # It is built for one release of TensorFlow, and breaks in several ways under another.
        reason = f"here: {error}"
    if scheme not in tf.io.gfile.get_registered_schemes():
        raise NoFileSystemError(
            f"TensorFlow cannot read {scheme}:// by itself; `pip install {TENSORFLOW_IO}` adds s3://, az:// and "
            f"hdfs:// to TensorFlow 2.16 ({reason})"
        )
