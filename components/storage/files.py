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
import glob
import hashlib
import os
import tempfile
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

import fsspec
import tensorflow as tf

# Schemes that TensorFlow itself reads. tensorflow-io would add others, and ends the process with an abort (134).
_TENSORFLOW = ("", "file", "gs", "ram")
# Schemes whose packages the extra `remote` of setup.py has.
_EXTRA = ("s3", "az", "abfs", "http", "https")
# Bytes that are read ahead of a record in a remote file.
_READ_AHEAD = 1 << 19
# Bytes of a file that are hashed at a time.
_PIECE = 1 << 20
# What a file system raises where there is no such file.
_MISSING = (FileNotFoundError, NotADirectoryError, tf.errors.NotFoundError, tf.errors.FailedPreconditionError)
# Errors of the file itself. Any other error (no answer, no room, no or old credentials) may be temporary, and is no
# reason to call a video bad. A server answers 404 or 410 where there is no such file.
_LASTING = (*_MISSING, IsADirectoryError, tf.errors.InvalidArgumentError)
_GONE = (404, 410)
# fsspec and what it reads with; an error of any other origin is a mistake of ours.
_ORIGINS = ("fsspec", "aiohttp", "asyncio", "azure", "botocore")


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
        if isinstance(error.__cause__, _MISSING) or getattr(error.__cause__, "status", None) in _GONE:
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


def matching(pattern: str) -> list[str]:
    """The files whose names match a pattern with ``*``, ``?`` and ``[]``, sorted; ``**`` is any number of folders.

    Raises:
      FileError: If nothing here reads the URI, or its server fails.
    """
    with _translated(pattern):
        if "://" not in pattern:
            return sorted(filter(os.path.isfile, glob.glob(pattern, recursive=True)))
        if is_tensorflows(pattern):
            return sorted(tf.io.gfile.glob(pattern))
        system, name = _system(pattern)
        return sorted(map(system.unstrip_protocol, system.glob(name)))


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


def sha256(path: str) -> str:
    """Hash of a file's content, hexadecimal; a piece of it is in memory at a time."""
    digest = hashlib.sha256()
    with opened(path) as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()


def content_version(path: str) -> str:
    """Differs once the content of a file or folder does: a hash of a local one, size and `Stat.version` of another.

    Raises:
      FileError: If there is none, or it cannot be read.
    """
    found = stat(path)
    if found.is_folder:
        names = sorted(name.rstrip("/") for name in names_in(path))
        inside = "\n".join(f"{name} {content_version(os.path.join(path, name))}" for name in names)
        return hashlib.sha256(inside.encode()).hexdigest()
    return sha256(path) if "://" not in path else f"{found.size} {found.version}"


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
            if max_bytes is not None and tf.io.gfile.stat(path).length > max_bytes:
                raise _too_large(path, max_bytes)
            tf.io.gfile.copy(path, file, overwrite=True)
            return
        system, name = _system(path)
        # A server may report no size, and send for ever.
        system.get_file(name, file, callback=_Limit(path, max_bytes))


@contextlib.contextmanager
def local_copy(path: str) -> Iterator[str]:
    """A local path with a file or folder of any URI; a local path stays as it is, a copy goes in the end.

    Raises:
      FileError: If it cannot be copied.
    """
    if "://" not in path:
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = os.path.join(folder, os.path.basename(path.rstrip("/")) or "copy")
        if is_folder(path):
            _download_folder(path, copy)
        else:
            download(path, copy)
        yield copy


def _download_folder(path: str, folder: str) -> None:
    os.makedirs(folder, exist_ok=True)
    for name in names_in(path):
        source, copy = os.path.join(path, name.rstrip("/")), os.path.join(folder, name.rstrip("/"))
        if name.endswith("/") or (is_tensorflows(path) and is_folder(source)):
            _download_folder(source, copy)
        else:
            download(source, copy)


def _too_large(path: str, max_bytes: int) -> FileError:
    return FileError(path, f"it has more than {max_bytes} bytes", lasting=True)


def _folder_of(path: str) -> str:
    return os.path.dirname(path if "://" in path else os.path.abspath(path))


class _Limit(fsspec.Callback):
    def __init__(self, path: str, most: int | None):
        super().__init__()
        self._path, self._most = path, most

    def relative_update(self, inc: int = 1) -> None:
        super().relative_update(inc)
        if self._most is not None and self.value > self._most:
            raise _too_large(self._path, self._most)


def _file_system_class(path: str) -> type[fsspec.AbstractFileSystem]:
    scheme = scheme_of(path)
    try:
        return fsspec.get_filesystem_class(scheme)
    except ValueError as error:
        raise NoFileSystemError(path, f"neither TensorFlow nor fsspec reads {scheme}://") from error
    except ImportError as error:
        extra = "; it is in the extra `remote`" if scheme in _EXTRA else ""
        raise NoFileSystemError(path, f"cannot read {scheme}://: {error}{extra}") from error


def _system(path: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """The file system of a URI, and how it names the file."""
    system_class = _file_system_class(path)
    options = system_class._get_kwargs_from_urls(path)
    if scheme_of(path) in ("http", "https"):
        import aiohttp

        # By default a copy may take five minutes in all, and a company's proxy is not used.
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=60)
        options["client_kwargs"] = {"timeout": timeout, "trust_env": True}
    try:
        # fsspec keeps it for the next call, one per process. Listings are requested each time: files change.
        system = system_class(use_listings_cache=False, **options)
    except Exception as error:  # a missing account, library or server; each file system has errors of its own
        raise FileError(path, f"cannot use {scheme_of(path)}://: {error}", lasting=False) from error
    return system, system_class._strip_protocol(path)


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
    if "modificationTime" in info:  # WebHDFS, milliseconds
        return info["modificationTime"] * 1_000_000
    tag = info.get("ETag") or info.get("etag") or info.get("Content-MD5")
    return int.from_bytes(hashlib.sha256(str(tag).encode()).digest()[:7], "big") if tag else 0


@contextlib.contextmanager
def _translated(path: str) -> Iterator[None]:
    """Turns every error of a file system into a `FileError`."""
    try:
        yield
    except FileError:
        raise
    except NotImplementedError as error:
        raise FileError(path, f"{scheme_of(path)}:// cannot do this: it can only be read", lasting=True) from error
    except (tf.errors.OpError, OSError) as error:
        # fsspec calls every failure of a web server a missing file; the cause is the server's own answer.
        cause = error.__cause__ if type(error.__cause__).__module__.startswith("aiohttp") else error
        raise _file_error(path, cause) from cause
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in _ORIGINS:
            raise
        raise _file_error(path, error) from error


def _file_error(path: str, error: Exception) -> FileError:
    reason = getattr(error, "strerror", None) or getattr(error, "message", None) or ""
    if not reason:
        reason = os.strerror(errno.ENOENT) if isinstance(error, _MISSING) else str(error) or type(error).__name__
    gone = getattr(error, "status", None) in _GONE
    # Local files have no server that may answer later.
    lasting = "://" not in path or isinstance(error, _LASTING) or gone
    return FileError(path, reason.removeprefix(f"{path}; "), lasting=lasting)
