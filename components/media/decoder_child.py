"""The process that decodes: file after file, as components/media/decoder.py requests. It imports no TensorFlow."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import gc
import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

from components.media.config import DecodeConfig
from components.media.probe import probe
from components.media.video import VideoError, store_segments


def main() -> None:
    """Answers the requests on standard input; ends with its parent, even within a video."""
    # The kernel signals the end of the pipe that only the parent can write to, even while no Python can run here.
    lifeline = int(sys.argv[1])
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETFL, os.O_ASYNC)
    # Where memory runs out, the kernel is to take this process and not its parent.
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
        score.write("1000")
    out = sys.stdout.buffer
    # A video and its codec hold each other: only the garbage collector frees their megabytes. It is quick where it need
    # not look at what was imported.
    gc.freeze()
    for line in sys.stdin.buffer:
        gc.collect()
        request = json.loads(line)
        if "probe" in request:
            _answer(out, dataclasses.asdict(probe(request["probe"], request["max_pixels"])))
            continue
        config = DecodeConfig(**request["config"])
        for place, stored in store_segments(request["path"], request["segments"], config):
            if isinstance(stored, VideoError):
                _answer(out, {"place": place, "stage": stored.stage, "reason": stored.reason})
            else:
                described = {name: getattr(stored, name) for name in ("size", "fps", "start", "short")}
                lengths = [*map(len, stored.frames)]
                _answer(out, {"place": place, "lengths": lengths, **described}, stored.frames)


def _answer(out: BinaryIO, head: Mapping[str, Any], frames: Sequence[bytes] = ()) -> None:
    out.write(json.dumps(head).encode() + b"\n")
    out.writelines(frames)
    out.flush()


if __name__ == "__main__":
    main()
