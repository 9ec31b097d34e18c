"""Files at any URI: manifests, videos, records, and what the commands write beside them.

Local files and gs:// are TensorFlow's; every other scheme (s3, az, hdfs, http, …) is read by fsspec and the package
that it names. The pipeline's artifacts are not opened here: TFX reads and writes them with TensorFlow alone.

Contract: whatever the file system, what goes wrong is a `FileError`.
"""

from __future__ import annotations

import contextlib
import datetime
import email.utils
import errno
import hashlib
import os
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

import fsspec
import tensorflow as tf

# Schemes that TensorFlow itself reads. tensorflow-io would add others, and ends the process with an abort (134).
_TENSORFLOW = ("", "file", "gs", "ram")
# Bytes that are read ahead of a record in a remote file.
_READ_AHEAD = 1 << 19
# Errors of the file itself. Any other error (no answer, no room, no credentials) may be temporary, and is no reason to
# call a video bad.
_LASTING = (
    *(FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError),
    *(tf.errors.NotFoundError, tf.errors.PermissionDeniedError),
    *(tf.errors.FailedPreconditionError, tf.errors.InvalidArgumentError),
)
_MISSING = (FileNotFoundError, NotADirectoryError, tf.errors.NotFoundError, tf.errors.FailedPreconditionError)
# The statuses among HTTP's 4xx that mean: try again later.
_PASSING_STATUS = (408, 425, 429)


class FileError(OSError):
    """A file cannot be read or written.

    Attributes:
      path: The file.
      reason: Why, without naming it.
      lasting: Whether the reason is the file itself, so that another try would fail in the same way.
    """

    def __init__(self, path: str, reason: str, *, lasting: bool):
        super().__init__(f"{path}: {reason}")
        self.path, self.reason, self.lasting = path, reason, lasting


class NoFileSystemError(FileError):
    """Nothing that is installed reads the scheme of a URI; the message says what to install."""

    def __init__(self, path: str, reason: str):
        super().__init__(path, reason, lasting=False)


class Stat(NamedTuple):
    """What a file system reports about a file.

    Attributes:
      size: Bytes; 0 where it reports none.
      version: Differs once the file changes: the time of its change (nanoseconds since 1970), or a hash of what the
        server reports instead; 0 where it reports nothing.
      is_folder: Whether it is a folder.
    """

    size: int
    version: int
    is_folder: bool


def scheme_of(path: str) -> str:
    """The scheme of a URI; empty for a local path."""
    return path.partition("://")[0] if "://" in path else ""


def is_tensorflows(path: str) -> bool:
    """Whether TensorFlow reads a path by itself."""
    return scheme_of(path) in _TENSORFLOW


def check_scheme(path: str) -> None:
    """Checks that something here reads the scheme of a path; accesses no file.

    Raises:
      NoFileSystemError: If nothing does.
    """
    if not is_tensorflows(path):
        _file_system_class(path)


def stat(path: str) -> Stat:
    """Size, version and type of a file.

    Raises:
      FileError: If there is none, or its status cannot be read.
    """
    with _translated(path):
        if is_tensorflows(path):
            found = tf.io.gfile.stat(path)
            return Stat(found.length, found.mtime_nsec, found.is_directory)
        system, name = _system(path)
        info = system.info(name)
        return Stat(info.get("size") or 0, _version(info), info["type"] == "directory")


def exists(path: str) -> bool:
    """Whether there is such a file or folder."""
    return _stat_or_none(path) is not None


def is_folder(path: str) -> bool:
    """Whether there is such a folder."""
    found = _stat_or_none(path)
    return found is not None and found.is_folder


def _stat_or_none(path: str) -> Stat | None:
    try:
        return stat(path)
    except FileError as error:
        if isinstance(error.__cause__, _MISSING):
            return None
        raise


def names_in(folder: str) -> list[str]:
    """Names in a folder. One that ends with a slash is a folder; on gs:// another may be one, too."""
    with _translated(folder):
        if is_tensorflows(folder):
            return tf.io.gfile.listdir(folder)
        system, name = _system(folder)
        return [
            os.path.basename(found["name"].rstrip("/")) + "/" * (found["type"] == "directory")
            for found in system.ls(name, detail=True)
            # Some object stores list a folder in itself.
            if found["name"].strip("/") != name.strip("/")
        ]


@contextlib.contextmanager
def opened(path: str) -> Iterator[BinaryIO]:
    """A file to read from any place of it."""
    with _translated(path):
        if "://" not in path:
            # GFile reads half a megabyte after every seek.
            file = open(path, "rb")  # noqa: SIM115 (closed below)
        elif is_tensorflows(path):
            file = tf.io.gfile.GFile(path, "rb")
        else:
            system, name = _system(path)
            file = system.open(name, "rb", block_size=_READ_AHEAD)
        with file:
            yield file


def read(path: str) -> bytes:
    """The whole of a file."""
    with _translated(path):
        if is_tensorflows(path):
            with tf.io.gfile.GFile(path, "rb") as file:
                return file.read()
        system, name = _system(path)
        return system.cat_file(name)


def write(path: str, data: bytes) -> None:
    """Writes a file, and the folders above it that are missing; object stores need none."""
    with _translated(path):
        if is_tensorflows(path):
            tf.io.gfile.makedirs(_folder_of(path))
            with tf.io.gfile.GFile(path, "wb") as file:
                file.write(data)
        else:
            system, name = _system(path)
            system.pipe_file(name, data)


def check_writable(path: str) -> None:
    """Checks that a file can be written, and keeps its content; creates an empty file if there is none.

    A file that exists at an object store is not checked.
    """
    if is_tensorflows(path):
        with _translated(path):
            tf.io.gfile.makedirs(_folder_of(path))
            with tf.io.gfile.GFile(path, "ab") as file:
                file.write(b"")
    elif not exists(path):
        write(path, b"")


def remove(path: str) -> None:
    """Removes a file."""
    with _translated(path):
        if is_tensorflows(path):
            tf.io.gfile.remove(path)
        else:
            system, name = _system(path)
            system.rm_file(name)


def rename(path: str, target: str) -> None:
    """Gives a file another name in the same file system; replaces what has that name."""
    with _translated(path):
        if is_tensorflows(path):
            tf.io.gfile.rename(path, target, overwrite=True)
        else:
            system, name = _system(path)
            system.mv(name, system._strip_protocol(target))


def download(path: str, file: str, max_bytes: int | None = None) -> None:
    """Copies a file to a local one.

    Raises:
      FileError: If it cannot be copied, or has more than `max_bytes`; what is over is not read.
    """
    with _translated(path):
        if is_tensorflows(path):
            tf.io.gfile.copy(path, file, overwrite=True)
            return
        system, name = _system(path)
        # A server may report no size, and send for ever.
        system.get_file(name, file, callback=_Limit(path, max_bytes))


def download_folder(path: str, folder: str) -> None:
    """Copies a folder of a scheme that TensorFlow does not read to a local one."""
    with _translated(path):
        system, name = _system(path)
        system.get(name.rstrip("/") + "/", folder.rstrip("/") + "/", recursive=True)


def _folder_of(path: str) -> str:
    return os.path.dirname(path if "://" in path else os.path.abspath(path))


class _Limit(fsspec.Callback):
    def __init__(self, path: str, most: int | None):
        super().__init__()
        self._path, self._most = path, most

    def relative_update(self, inc: int = 1) -> None:
        super().relative_update(inc)
        if self._most is not None and self.value > self._most:
            raise FileError(self._path, f"it has more than {self._most} bytes", lasting=True)


def _file_system_class(path: str) -> type[fsspec.AbstractFileSystem]:
    scheme = scheme_of(path)
    try:
        return fsspec.get_filesystem_class(scheme)
    except ValueError as error:
        raise NoFileSystemError(path, f"neither TensorFlow nor fsspec reads {scheme}://") from error
    except ImportError as error:
        raise NoFileSystemError(path, f"cannot read {scheme}://: {error}; it is in the extra `remote`") from error


def _system(path: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """The file system of a URI, and how it names the file."""
    system_class = _file_system_class(path)
    options = system_class._get_kwargs_from_urls(path)
    if scheme_of(path) in ("http", "https"):
        import aiohttp

        # By default a copy may take five minutes in all, and a company's proxy is not used.
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=60)
        options["client_kwargs"] = {"timeout": timeout, "trust_env": True}
    # fsspec keeps it for the next call, one per process. Listings are requested each time: files change.
    return system_class(use_listings_cache=False, **options), system_class._strip_protocol(path)


def _version(info: dict[str, Any]) -> int:
    """See `Stat.version`; each file system of fsspec has names of its own."""
    for key in ("LastModified", "last_modified", "Last-Modified", "mtime", "modified", "created"):
        when = info.get(key)
        if isinstance(when, str):
            with contextlib.suppress(ValueError):
                when = email.utils.parsedate_to_datetime(when)
        if isinstance(when, datetime.datetime):
            return int(when.timestamp() * 1_000_000) * 1000
        if isinstance(when, int | float):
            return int(when * 1e9)
    tag = info.get("ETag") or info.get("etag") or info.get("Content-MD5")
    return int.from_bytes(hashlib.sha256(str(tag).encode()).digest()[:7], "big") if tag else 0


@contextlib.contextmanager
def _translated(path: str) -> Iterator[None]:
    """Turns every error of a file system into a `FileError`."""
    try:
        yield
    except FileError:
        raise
    except (tf.errors.OpError, OSError) as error:
        reason = getattr(error, "strerror", None) or getattr(error, "message", None)
        if not reason:
            reason = os.strerror(errno.ENOENT) if isinstance(error, _MISSING) else str(error)
        # Local files have no server that may answer later.
        lasting = "://" not in path or isinstance(error, _LASTING)
        raise FileError(path, reason.removeprefix(f"{path}; "), lasting=lasting) from error
    except Exception as error:
        # botocore, aiohttp and azure have errors of their own; any other error does not come from a file.
        if type(error).__module__.partition(".")[0] not in ("botocore", "aiohttp", "azure", "fsspec", "asyncio"):
            raise
        status = getattr(error, "status", None) or getattr(error, "status_code", None) or 0
        lasting = 400 <= status < 500 and status not in _PASSING_STATUS
        raise FileError(path, str(error) or type(error).__name__, lasting=lasting) from error
