"""Serves the newest version of a folder with Triton, KServe's protocol: ``python -m pipeline.serving.triton``.

Triton's own TensorFlow backend is gone, so its Python backend (nvidia-pytriton) runs the SavedModel. Where a newer
version appears in the folder it is loaded, and then takes the place of the older one between two requests.
"""

from __future__ import annotations

import argparse
import logging
import threading

import numpy as np
import tensorflow as tf

from pipeline.inference.model import OpenModel, latest_version, open_model
from pipeline.serving.transports import kserve_name
from schemas import serving

_SIGNATURES = (serving.FRAMES_SIGNATURE, serving.ONE_VIEW_SIGNATURE, serving.EMBEDDING_SIGNATURE)
_logger = logging.getLogger("vivit.serving")


class NewestVersion:
    """The newest version of a folder, loaded."""

    def __init__(self, folder: str):
        """Loads it.

        Raises:
          FileNotFoundError, ModelError: As `open_model`.
        """
        self._folder, self.model = folder, open_model(folder)

    def refresh(self) -> bool:
        """Loads a newer version if there is one, and only then serves it; returns whether it did."""
        if latest_version(self._folder) == self.model.path:
            return False
        self.model = open_model(self._folder)
        _logger.info("serving %s", self.model.path)
        return True

    def runner(self, signature: str):
        """An inference function of pytriton: requests to the outputs of a signature, each request by itself."""

        def run(requests) -> list[dict[str, np.ndarray]]:
            function = self.model.signatures[signature]
            return [
                {name: value.numpy() for name, value in function(**_tensors(request)).items()} for request in requests
            ]

        return run


def triton_server(newest: NewestVersion, *, name: str, instances: int, **config):
    """A server that is not started yet, with a model for each signature that clients ask; see `kserve_name`.

    Args:
      newest: The model.
      name: Its name.
      instances: Requests of a signature that are computed at a time.
      **config: Of pytriton's `TritonConfig`, such as `http_port` and `grpc_port`.
    """
    from pytriton.model_config import ModelConfig, Tensor
    from pytriton.triton import Triton, TritonConfig

    server = Triton(config=TritonConfig(**config))
    inputs = [
        Tensor(name=serving.FRAMES_INPUT, dtype=bytes, shape=(-1, -1)),
        Tensor(name=serving.NUM_FRAMES_INPUT, dtype=np.int32, shape=(-1,)),
    ]
    for signature in _SIGNATURES:
        if outputs := _outputs(newest.model, signature):
            server.bind(
                model_name=kserve_name(name, signature),
                infer_func=[newest.runner(signature)] * instances,
                inputs=inputs,
                outputs=[Tensor(name=key, dtype=dtype, shape=(-1, -1)) for key, dtype in outputs.items()],
                # Triton merges rows of one length alone: each request comes as it was sent.
                config=ModelConfig(batching=False),
                # A head that comes or goes with a version is no error.
                strict=False,
            )
    return server


def _tensors(request) -> dict[str, tf.Tensor]:
    return {name: tf.constant(request[name]) for name in (serving.FRAMES_INPUT, serving.NUM_FRAMES_INPUT)}


def _outputs(model: OpenModel, signature: str) -> dict[str, type]:
    """Names and types of a signature's outputs; none where an older release exported the model."""
    if signature not in model.signatures:
        return {}
    outputs = model.signatures[signature].structured_outputs
    return {name: bytes if spec.dtype == tf.string else spec.dtype.as_numpy_dtype for name, spec in outputs.items()}


def main() -> None:
    """Serves until it is stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="folder of numbered versions, such as run/pushed")
    parser.add_argument("--name", default="vivit", help="the model's name (default: vivit)")
    parser.add_argument("--http-port", type=int, default=8000)
    parser.add_argument("--grpc-port", type=int, default=8001)
    parser.add_argument("--instances", type=int, default=2, help="requests that are computed at a time (default: 2)")
    parser.add_argument("--poll", type=float, default=30, help="seconds between looks for newer versions (default: 30)")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname).1s %(name)s: %(message)s")
    newest, stopped = NewestVersion(arguments.model), threading.Event()

    def look() -> None:
        while not stopped.wait(arguments.poll):
            try:
                newest.refresh()
            except (OSError, ValueError) as error:
                _logger.error("the newest version cannot be served, the one before it is: %s", error)

    ports = {"http_port": arguments.http_port, "grpc_port": arguments.grpc_port}
    with triton_server(newest, name=arguments.name, instances=arguments.instances, **ports) as server:
        threading.Thread(target=look, daemon=True).start()
        try:
            server.serve()
        finally:
            stopped.set()


if __name__ == "__main__":
    main()
