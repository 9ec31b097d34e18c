"""The process that decodes: file after file, as components/media/decoder.py requests. It imports no TensorFlow."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import gc
import json
import math
import os
import resource
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO

from components.media.config import DecodeConfig
from components.media.probe import probe
from components.media.video import StoredClip, VideoError, store_segments, store_stream

# The exit status of a process that needs more memory than it may have.
OUT_OF_MEMORY = errno.ENOMEM


def main(lifeline: int, max_memory_mb: int, max_seconds: float) -> None:
    """Answers the requests on standard input; ends with its parent, even within a video.

    Args:
      lifeline: A pipe that ends with the parent.
      max_memory_mb: Most memory that this process writes to, megabytes.
      max_seconds: Most time on a CPU for one answer, seconds.
    """
    # The kernel signals the end of the pipe that only the parent can write to, even while no Python can run here.
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETFL, os.O_ASYNC)
    # Where memory runs out, the kernel is to take this process and not its parent.
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
        score.write("1000")
    # Whatever a video makes of its decoder, it cannot take all memory, write to a file or leave a core dump. Memory is
    # what is written to: the address space, most of it libraries and room for threads, says little.
    _lower(resource.RLIMIT_DATA, max_memory_mb * 10**6)
    _lower(resource.RLIMIT_FSIZE, 0)
    _lower(resource.RLIMIT_CORE, 0)
    try:
        _answer_all(max_seconds)
    except MemoryError:
        os._exit(OUT_OF_MEMORY)


def _answer_all(max_seconds: float) -> None:
    out = sys.stdout.buffer
    # A video and its codec hold each other: only the garbage collector frees their megabytes. It is quick where it need
    # not look at what was imported.
    gc.freeze()
    for line in sys.stdin.buffer:
        gc.collect()
        _allow_time(max_seconds)
        request = json.loads(line)
        if "probe" in request:
            _answer(out, dataclasses.asdict(probe(request["probe"], request["max_pixels"])))
            continue
        for place, stored in _stored(request):
            if stored is None:
                _answer(out, {"place": place, "ended": True})
            elif isinstance(stored, VideoError):
                _answer(out, {"place": place, "stage": stored.stage, "reason": stored.reason})
            else:
                described = {name: getattr(stored, name) for name in ("size", "fps", "start", "short")}
                lengths = [*map(len, stored.frames)]
                _answer(out, {"place": place, "lengths": lengths, **described}, stored.frames)
            _allow_time(max_seconds)


def _stored(request: Mapping[str, Any]) -> Iterator[tuple[int, StoredClip | VideoError | None]]:
    """The segments of a request; or all parts of its video, and last the error that ends them, or None."""
    path, config = request["path"], DecodeConfig(**request["config"])
    if "segments" in request:
        yield from store_segments(path, request["segments"], config)
        return
    place = -1
    try:
        for place, stored in enumerate(store_stream(path, request["frames"], config, request["every"])):
            yield place, stored
        yield place + 1, None
    except VideoError as error:
        yield place + 1, error


def _allow_time(seconds: float) -> None:
    """Lets the kernel end this process if its next answer takes longer on a CPU: even while its parent is stopped."""
    _lower(resource.RLIMIT_CPU, math.ceil(time.process_time() + seconds) + 1, for_good=False)


def _lower(limit: int, most: int, *, for_good: bool = True) -> None:
    """Sets a limit of this process, at most to the one that it was started with."""
    _, hard = resource.getrlimit(limit)
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(limit, (most, most if for_good else hard))


def _answer(out: BinaryIO, head: Mapping[str, Any], frames: Sequence[bytes] = ()) -> None:
    out.write(json.dumps(head).encode() + b"\n")
    out.writelines(frames)
    out.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
