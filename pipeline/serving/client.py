"""Asks a model server about clips: by gRPC or REST of TensorFlow Serving, or by KServe's protocol of Triton and others.

    with Client("grpc://host:8500") as client:
        outputs = client.ask(frames)

`frames` are the JPEG frames of one clip as `components.media.decoder.Decoder` stores them, all of them: views are made
from all stored frames, and fewer would be other views. A client may be shared by threads.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence

import numpy as np

from pipeline.serving.transports import Grpc, KServe, Rest, ServingError, Target, UnavailableError

# Seconds before the next tries where a server is not available: it may be starting, or have its queue full.
_PAUSES = (0.1, 0.2, 0.4, 0.8, 1.6)
# By what stands before :// in a server's address.
_TRANSPORTS = {"grpc": Grpc, "http": Rest, "https": Rest, "kserve+http": KServe, "kserve+https": KServe}


class Client:
    """A client of one signature of one model."""

    def __init__(self, server: str, *, deadline: float = 300.0, **target):
        """Connects with the first request.

        Args:
          server: ``grpc://host:port``, ``http://host:port`` (REST), or ``kserve+http://host:port``.
          deadline: Seconds that one answer may take, with all tries.
          **target: Fields of `Target` but the address.

        Raises:
          ServingError: If the address has another form.
        """
        scheme, _, rest = server.partition("://")
        if scheme not in _TRANSPORTS or not rest:
            forms = ", ".join(f"{name}://host:port" for name in _TRANSPORTS)
            raise ServingError(f"{server!r} is no address of a server: it must be one of {forms}")
        address = rest if scheme == "grpc" else f"{scheme.removeprefix('kserve+')}://{rest}"
        self._transport = _TRANSPORTS[scheme](Target(address.rstrip("/"), **target))
        self._deadline = deadline

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._transport.close()

    def ask(self, frames: Sequence[bytes]) -> dict[str, np.ndarray]:
        """Outputs of the signature by name, see `schemas.serving`, for one clip; without the dimension of the batch.

        Raises:
          ServingError: If the request is over the limit, or the server refuses it.
          UnavailableError: If the server was not available in any of a few tries.
        """
        ends = time.monotonic() + self._deadline
        for pause in (*_PAUSES, None):
            try:
                outputs = self._transport.ask(frames, max(0.001, ends - time.monotonic()))
                return {name: value[0] for name, value in outputs.items()}
            except UnavailableError:
                # Many clients that were refused together do not come back together.
                if pause is None or time.monotonic() + pause > ends:
                    raise
                time.sleep(pause * random.uniform(0.5, 1.5))
        raise AssertionError("the last try returns or raises")
