"""A model server for tests: TensorFlow Serving's protos, a loaded SavedModel, and what that server does to requests.

TensorFlow Serving's binary is in no package registry. This one does what its documentation and `batching_util.cc`
say: requests that wait are merged into a batch, rows of different length are filled up with their tensor's first
element, a version is loaded before the one it replaces goes, and labels name versions.
"""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import queue
import re
import threading
from collections.abc import Iterator
from concurrent import futures

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

_MOST_ROWS = 4


class Refused(Exception):
    """A request that cannot be run; `code` is gRPC's."""

    def __init__(self, code, details):
        super().__init__(details)
        self.code = code


class ModelServer(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Serves versions of one model.

    Attributes:
      labels: Versions by label.
      batches: Rows of each batch that was computed.
      refuse: What the next requests are refused with, each once.
    """

    def __init__(self, name: str = "vivit"):
        self.name, self.labels, self.batches, self.refuse = name, {}, [], []
        self._versions, self._waiting = {}, queue.Queue()
        threading.Thread(target=self._compute, daemon=True).start()

    def load(self, version: int, path) -> None:
        """Loads a version and serves it as soon as it is there."""
        self.serve(version, tf.saved_model.load(str(path)).signatures)

    def serve(self, version: int, signatures) -> None:
        """Serves a version that is loaded."""
        self._versions[version] = signatures

    def unload(self, version: int) -> None:
        """Requests that run end well."""
        del self._versions[version]

    def run(self, name, version, label, signature, inputs) -> tuple[int, dict[str, np.ndarray]]:
        """The version that answers, and its outputs."""
        if self.refuse:
            raise self.refuse.pop()
        if name != self.name:
            raise Refused(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: Latest({name})")
        if label and label not in self.labels:
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, f"Unrecognized servable version label: {label}")
        version = self.labels[label] if label else version or max(self._versions)
        if version not in self._versions:
            raise Refused(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: Specific({name}, {version})")
        function = self._versions[version].get(signature)
        if function is None:
            raise Refused(grpc.StatusCode.FAILED_PRECONDITION, f'Serving signature name: "{signature}" not found')
        answer = futures.Future()
        self._waiting.put((function, inputs, answer))
        try:
            return version, answer.result()
        except tf.errors.InvalidArgumentError as error:
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, error.message) from error

    def Predict(self, request, context):
        """Of PredictionService."""
        spec = request.model_spec
        inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
        try:
            version, outputs = self.run(spec.name, spec.version.value, spec.version_label, spec.signature_name, inputs)
        except Refused as refused:
            context.abort(refused.code, str(refused))
        answer = predict_pb2.PredictResponse()
        answer.model_spec.version.value = version
        for name in request.output_filter or outputs:
            answer.outputs[name].CopyFrom(tf.make_tensor_proto(outputs[name]))
        return answer

    def _compute(self) -> None:
        left = None
        while True:
            batch = [left or self._waiting.get()]
            left = None
            with contextlib.suppress(queue.Empty):
                while len(batch) < _MOST_ROWS and left is None:
                    more = self._waiting.get_nowait()
                    if more[0] is batch[0][0]:
                        batch.append(more)
                    else:
                        left = more
            self._compute_batch(batch)

    def _compute_batch(self, batch) -> None:
        function = batch[0][0]
        self.batches.append(len(batch))
        try:
            inputs = {name: tf.constant(merge([one[1][name] for one in batch])) for name in batch[0][1]}
            outputs = {name: value.numpy() for name, value in function(**inputs).items()}
        except Exception as error:  # noqa: BLE001 (the requests raise it)
            for _, _, answer in batch:
                answer.set_exception(error)
            return
        row = 0
        for _, given, answer in batch:
            rows = len(next(iter(given.values())))
            answer.set_result({name: value[row : row + rows] for name, value in outputs.items()})
            row += rows


def merge(tensors: list[np.ndarray]) -> np.ndarray:
    """Tensors one after the other, each filled up with its first element to the largest of every dimension."""
    sizes = np.max([tensor.shape[1:] for tensor in tensors], axis=0, initial=0) if tensors[0].ndim > 1 else ()
    filled = []
    for tensor in tensors:
        whole = np.full((len(tensor), *map(int, sizes)), tensor.flat[0], tensor.dtype)
        whole[tuple(map(slice, tensor.shape))] = tensor
        filled.append(whole)
    return np.concatenate(filled)


@contextlib.contextmanager
def grpc_server(model_server: ModelServer, **options) -> Iterator[str]:
    """Serves it by gRPC, with the library's own limit of 4 MB a message; gives the client's address."""
    server = grpc.server(futures.ThreadPoolExecutor(16), **options)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(model_server, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"grpc://127.0.0.1:{port}"
    server.stop(grace=None).wait()


@contextlib.contextmanager
def rest_server(model_server: ModelServer, *, most_bytes: int = 1 << 22, page: bytes = b"") -> Iterator[str]:
    """Serves it by the REST API's columnar form, as a proxy that takes so many bytes passes it on, or shows a page."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if len(body) > most_bytes:
                return self._send(413, b"Request Entity Too Large")
            if page:
                return self._send(200, page)
            name, label = re.fullmatch(r"/v1/models/(\w+)(?:/labels/(\w+))?:predict", self.path).groups()
            request = json.loads(body)
            # An array of bytes as such would lose zeros at their end.
            inputs = {key: np.array(_plain(value), object) for key, value in request["inputs"].items()}
            inputs["num_frames"] = inputs["num_frames"].astype(np.int32)
            try:
                _, outputs = model_server.run(name, None, label, request["signature_name"], inputs)
            except Refused as refused:
                status = 503 if refused.code == grpc.StatusCode.UNAVAILABLE else 400
                return self._send(status, json.dumps({"error": str(refused)}).encode())
            lists = {key: value.tolist() for key, value in outputs.items()}
            return self._send(200, json.dumps({"outputs": lists}, default=bytes.decode).encode())

        def _send(self, status, body):
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def _plain(value):
    """A JSON value with its {"b64": …} as bytes."""
    if isinstance(value, dict):
        return base64.b64decode(value["b64"])
    return [_plain(one) for one in value] if isinstance(value, list) else value
