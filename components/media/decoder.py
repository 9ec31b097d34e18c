"""Decodes in a child process, so that a video which hangs or kills its decoder loses its own clips only.

This is the parent; components/media/decoder_child.py is the child. Each request is a line of JSON; for each
segment the child answers with a line of JSON and the bytes of its frames.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import io
import json
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any

from components.media.config import DecodeConfig, LimitConfig, part
from components.media.decoder_child import OUT_OF_MEMORY
from components.media.probe import Probe
from components.media.video import StoredClip, VideoError

_CHUNK = 1 << 20
# A file is given up when this many of its segments in a row were each lost alone.
_PATIENCE = 3
# Seconds between the tries to copy a remote video while its file system fails.
_PAUSES = (1, 5)
# What a child needs of the environment: how file names are encoded, where libraries are, and how Python runs. Of the
# rest, such as keys to a cloud, a video that takes over its decoder learns nothing.
_ENVIRONMENT = re.compile(r"LANG|LC_\w+|LD_LIBRARY_PATH|LD_PRELOAD|TMPDIR|PYTHON\w*")
# Letters of a name, of up to four bytes each; file systems allow 255 bytes.
_NAME_LENGTH = 60


class LostDecoderError(VideoError):
    """A video hung or killed the process that decodes it; `hung` says which."""

    def __init__(self, path: str, reason: str, *, hung: bool):
        super().__init__(path, "decode", reason)
        self.hung = hung


class Decoder:
    """`store_segments` in a child process. Threads may share a decoder: concurrent calls have a child process each."""

    def __init__(self, config: DecodeConfig, ready: int = 0):
        """Starts `ready` children, which takes them a second; others with the first videos. They stay for the next."""
        self._config = part(DecodeConfig, config)
        self._idle = [_Child(self._config) for _ in range(ready)]

    def __enter__(self) -> Decoder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the child processes."""
        while self._idle:
            self._idle.pop().kill()

    def store_segments(
        self, path: str, segments: Sequence[tuple[float, float | None]]
    ) -> Iterator[tuple[int, StoredClip | VideoError]]:
        """As `components.media.video.store_segments`; a segment that hangs or kills its decoder gives a VideoError.

        Each segment may take `config.max_seconds` after the one before it. A record holds no video to decode: it is
        read as `components.media.records.store_records` does.

        Raises:
          FileError: If a remote video cannot be copied for a reason that is not its own.
        """
        # Deferred, as the child process stays without TensorFlow.
        from components.media.records import store_records
        from components.storage.record_files import is_record

        if is_record(path):
            yield from store_records(path, segments, self._config)
            return
        try:
            with local_copy(path, self._config.max_bytes) as file:
                waiting = list(range(len(segments)))
                try:
                    for place, stored in self._attempt(path, file, segments):
                        waiting.remove(place)
                        yield place, stored
                except LostDecoderError as lost:
                    if lost.hung and len(segments) == 1:
                        yield 0, lost
                    else:
                        yield from self._one_by_one(path, file, segments, waiting)
        except VideoError as error:
            yield from ((place, error) for place in range(len(segments)))

    def store_stream(self, path: str, frames: int, every: int = 1) -> Iterator[StoredClip]:
        """As `components.media.video.store_stream`; a video that hangs or kills its decoder raises a VideoError.

        Each part may take `config.max_seconds` after the one before it, and is decoded while that one is used. A record
        is one part.

        Raises:
          FileError: If a remote video cannot be copied for a reason that is not its own.
        """
        from components.media.records import store_record
        from components.storage.record_files import is_record

        if is_record(path):
            yield store_record(path, self._config)
            return
        what = {"frames": frames, "every": every}
        with local_copy(path, self._config.max_bytes) as file, self._requested(path, file, what) as child:
            while (stored := child.answer(path, time.monotonic() + self._config.max_seconds)[1]) is not None:
                if isinstance(stored, VideoError):
                    raise stored
                yield stored

    def _one_by_one(
        self, path, file, segments, waiting: Sequence[int]
    ) -> Iterator[tuple[int, StoredClip | VideoError]]:
        """Tries each segment alone, as the failing one is not known; gives the file up if all fail.

        One alone is tried again, too: what killed its decoder may have been the system, short of memory.
        """
        lost, last = 0, None
        for place in waiting:
            if lost < _PATIENCE:
                try:
                    ((_, last),) = self._attempt(path, file, [segments[place]])
                    lost = 0
                except LostDecoderError as error:
                    lost, last = lost + 1, error
            yield place, last

    def probe(self, path: str) -> Probe:
        """As `components.media.probe.probe`, of a local file; empty for one that hangs its decoder, or kills two."""
        for _ in range(2):
            child = self._free_child()
            try:
                child.send({"probe": path, "max_pixels": self._config.max_pixels})
                found = Probe(**child.line(time.monotonic() + self._config.max_seconds))
            except EOFError:
                # The system may have killed it, also before the request.
                child.kill()
                continue
            except TimeoutError:
                child.kill()
                break
            self._idle.append(child)
            return found
        return Probe()

    def _free_child(self) -> _Child:
        try:
            return self._idle.pop()
        except IndexError:
            return _Child(self._config)

    def _attempt(
        self, path: str, file: str, segments: Sequence[tuple[float, float | None]]
    ) -> Iterator[tuple[int, StoredClip | VideoError]]:
        """Stores segments in one pass.

        Raises:
          LostDecoderError: If the child hangs, or ends before it is done.
        """
        with self._requested(path, file, {"segments": list(segments)}) as child:
            for _ in segments:
                yield child.answer(path, time.monotonic() + self._config.max_seconds)

    @contextlib.contextmanager
    def _requested(self, path: str, file: str, what: dict[str, Any]) -> Iterator[_Child]:
        """A child that was sent a request; it stays for the next one where all its answers are read.

        Raises:
          LostDecoderError: If it hangs, or ends.
        """
        child = self._free_child()
        whole = False
        try:
            child.send({"path": file, **what, "config": dataclasses.asdict(self._config)})
            yield child
            whole = True
        except TimeoutError as error:
            raise self._lost(path, -signal.SIGXCPU) from error
        except EOFError as error:
            raise self._lost(path, child.exit_status()) from error
        finally:
            if whole:
                self._idle.append(child)
            else:
                child.kill()

    def _lost(self, path: str, status: int) -> LostDecoderError:
        """What to say of a child that ended with a status: of its own, or minus a signal."""
        hung = status == -signal.SIGXCPU
        if hung:
            reason = f"it took longer than ingest.max_seconds = {self._config.max_seconds:g} s"
        elif status == OUT_OF_MEMORY:
            reason = f"it needs more memory than ingest.max_memory_mb = {self._config.max_memory_mb} megabytes"
        else:
            ended_by = signal.Signals(-status).name if status < 0 else f"exit status {status}"
            reason = f"it ended the decoder process ({ended_by})"
        return LostDecoderError(path, reason, hung=hung)


@contextlib.contextmanager
def local_copy(path: str, max_bytes: int) -> Iterator[str]:
    """Path of a local copy of a remote file: the child knows no remote file systems.

    A record in a remote file keeps its path: it is read where it is.

    Raises:
      VideoError: If there is no such file, it may not be read, or has more than `max_bytes`.
      FileError: If the file system fails, several times in a row.
    """
    from components.storage.record_files import is_record

    if "://" not in path or is_record(path):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        # The part of a URL behind its ? may be long, and is no name.
        name = os.path.basename(path.partition("?")[0] if path.startswith(("http://", "https://")) else path)
        copy = os.path.join(folder, name[-_NAME_LENGTH:] or "video")
        _copy(path, copy, max_bytes)
        yield copy


def _copy(path: str, copy: str, max_bytes: int) -> None:
    from components.storage import files

    for pause in (*_PAUSES, None):
        try:
            size = files.stat(path).size
            if size > max_bytes:
                raise VideoError(path, "open", f"it has {size} bytes, more than ingest.max_bytes = {max_bytes}")
            files.download(path, copy, max_bytes)
            return
        except files.FileError as error:
            if error.lasting:
                raise VideoError(path, "open", f"cannot copy it: {error.reason}") from error
            if pause is None:
                raise
            time.sleep(pause)


class _Pipe(io.RawIOBase):
    """A pipe that is read until a deadline, by the monotonic clock; TimeoutError then."""

    def __init__(self, descriptor: int):
        self._descriptor, self.deadline = descriptor, 0.0
        self._ready = select.poll()
        self._ready.register(descriptor, select.POLLIN)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:
        if not self._ready.poll(max(0, self.deadline - time.monotonic()) * 1000):
            raise TimeoutError
        return os.readv(self._descriptor, [buffer])


class _Child:
    def __init__(self, limits: LimitConfig):
        environment = {name: value for name, value in os.environ.items() if _ENVIRONMENT.fullmatch(name)}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
        # A decoder has one core; a thread of NumPy's for each of many would take memory only.
        environment["OPENBLAS_NUM_THREADS"] = "1"
        kept, self._lifeline = os.pipe()
        arguments = map(str, (kept, limits.max_memory_mb, limits.max_seconds))
        command = [sys.executable, "-m", "components.media.decoder_child", *arguments]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, pass_fds=[kept]
        )
        os.close(kept)
        # A clip is megabytes: in pipes of 64 KiB, both sides would wait for each other hundreds of times. Linux refuses
        # where a user has many pipes as large; other systems do not have it.
        with contextlib.suppress(PermissionError, AttributeError):
            fcntl.fcntl(self._process.stdout, fcntl.F_SETPIPE_SZ, _CHUNK)
        self._pipe = _Pipe(self._process.stdout.fileno())
        self._answers = io.BufferedReader(self._pipe, _CHUNK)

    def send(self, request: dict[str, Any]) -> None:
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise EOFError from error

    def line(self, deadline: float) -> dict[str, Any]:
        self._pipe.deadline = deadline
        line = self._answers.readline()
        if not line.endswith(b"\n"):
            raise EOFError
        return json.loads(line)

    def answer(self, path: str, deadline: float) -> tuple[int, StoredClip | VideoError | None]:
        """The place of a clip, and the clip or its error; None behind the last part of a stream."""
        head = self.line(deadline)
        place = head["place"]
        if "ended" in head:
            return place, None
        if "reason" in head:
            return place, VideoError(path, head["stage"], head["reason"])
        frames = tuple(map(self._answers.read, head["lengths"]))
        if [*map(len, frames)] != head["lengths"]:
            raise EOFError
        return place, StoredClip(frames, tuple(head["size"]), head["fps"], head["start"], head["short"])

    def exit_status(self) -> int:
        """The status of a child that ended, or minus the signal that ended it."""
        return self._process.wait()

    def kill(self) -> None:
        with self._process:
            self._process.kill()
            # What a child that was dead already has not read cannot be flushed.
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        os.close(self._lifeline)
