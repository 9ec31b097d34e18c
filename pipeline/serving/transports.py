"""One request to a model server and its answer, by each of the protocols that such servers speak.

Contract: a transport raises `ServingError` for whatever goes wrong, and `UnavailableError` where another try may go
well. None sends a message that is over the limit.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import json
import struct
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from http.client import HTTPException

import numpy as np

from schemas import serving

MB = 10**6
# What asks too much of a server, or of a proxy before it; what a later try may find gone.
_TOO_LARGE, _AGAIN = 413, (502, 503, 504)


class ServingError(ValueError):
    """A request was not answered; the message is one line, and says why."""


class UnavailableError(ServingError):
    """The server cannot be reached, or has too much to do."""


@dataclasses.dataclass(frozen=True)
class Target:
    """What is asked, and of whom.

    Attributes:
      address: host:port of gRPC, else the URL before ``/v1`` or ``/v2``.
      name: The model's name in the server.
      signature: `FRAMES_SIGNATURE`, `ONE_VIEW_SIGNATURE` or `EMBEDDING_SIGNATURE`.
      label: Of the version; empty for the newest.
      max_message_mb: Largest request, MB; protobuf's own limit is 2147.
    """

    address: str
    name: str = "vivit"
    signature: str = serving.FRAMES_SIGNATURE
    label: str = ""
    max_message_mb: float = 2147


def check_size(size: int, target: Target) -> None:
    """Raises ServingError for a request of more bytes than the target takes."""
    if size > target.max_message_mb * MB:
        raise _too_large(f"the request has {size / MB:.3g} MB, and {target.max_message_mb:.4g} MB are allowed")


class Grpc:
    """TensorFlow Serving's PredictionService; channels are shared by threads."""

    def __init__(self, target: Target):
        """Connects with the first request."""
        import grpc
        from tensorflow_serving.apis import prediction_service_pb2_grpc

        self._target, self._errors = target, grpc
        # Answers are small; the server checks what it receives.
        self._channel = grpc.insecure_channel(target.address, options=[("grpc.max_send_message_length", -1)])
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)

    def close(self) -> None:
        """Disconnects."""
        self._channel.close()

    def ask(self, frames: Sequence[bytes], timeout: float) -> dict[str, np.ndarray]:
        """Outputs by name for the JPEG frames of one clip; each has a first dimension of 1."""
        from tensorflow import make_ndarray
        from tensorflow.core.framework import types_pb2
        from tensorflow_serving.apis import predict_pb2

        request = predict_pb2.PredictRequest()
        request.model_spec.name, request.model_spec.signature_name = self._target.name, self._target.signature
        if self._target.label:
            request.model_spec.version_label = self._target.label
        tensor = request.inputs[serving.FRAMES_INPUT]
        tensor.dtype = types_pb2.DT_STRING
        tensor.tensor_shape.dim.add(size=1)
        tensor.tensor_shape.dim.add(size=len(frames))
        tensor.string_val.extend(frames)
        number = request.inputs[serving.NUM_FRAMES_INPUT]
        number.dtype = types_pb2.DT_INT32
        number.tensor_shape.dim.add(size=1)
        number.int_val.append(len(frames))
        check_size(request.ByteSize(), self._target)
        try:
            answer = self._stub.Predict(request, timeout=timeout)
        except self._errors.RpcError as error:
            raise self._translated(error) from error
        return {name: make_ndarray(value) for name, value in answer.outputs.items()}

    def _translated(self, error) -> ServingError:
        code, details = error.code(), _one_line(error.details() or "")
        if code == self._errors.StatusCode.UNAVAILABLE:
            return UnavailableError(f"{self._target.address} is not available: {details}")
        if code == self._errors.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in details:
            return _too_large(f"{self._target.address} takes no message of this size: {details}")
        return ServingError(f"{self._target.address} answers {code.name}: {details}")


class Rest:
    """TensorFlow Serving's REST API."""

    def __init__(self, target: Target):
        """Connects with each request."""
        self._target = target
        label = f"/labels/{urllib.parse.quote(target.label)}" if target.label else ""
        self._url = f"{target.address}/v1/models/{urllib.parse.quote(target.name)}{label}:predict"

    def close(self) -> None:
        """Does nothing."""

    def ask(self, frames: Sequence[bytes], timeout: float) -> dict[str, np.ndarray]:
        """As `Grpc.ask`; strings come as text."""
        encoded = [{"b64": base64.b64encode(frame).decode()} for frame in frames]
        inputs = {serving.FRAMES_INPUT: [encoded], serving.NUM_FRAMES_INPUT: [len(frames)]}
        body = json.dumps({"signature_name": self._target.signature, "inputs": inputs}).encode()
        answer = _post(self._target, self._url, body, {"Content-Type": "application/json"}, timeout)
        with _understood(self._target):
            return {name: np.asarray(value) for name, value in json.loads(answer)["outputs"].items()}


class KServe:
    """KServe's protocol version 2 by HTTP, with tensors in binary, as Triton has it: in JSON, JPEG is no text.

    A signature is a model of its own there, see `kserve_name`; a model server without labels serves the newest version.
    """

    def __init__(self, target: Target):
        """Connects with each request."""
        self._target = target
        name = urllib.parse.quote(kserve_name(target.name, target.signature))
        self._url = f"{target.address}/v2/models/{name}/infer"

    def close(self) -> None:
        """Does nothing."""

    def ask(self, frames: Sequence[bytes], timeout: float) -> dict[str, np.ndarray]:
        """As `Grpc.ask`."""
        strings = b"".join(struct.pack("<I", len(frame)) + frame for frame in frames)
        number = struct.pack("<i", len(frames))
        head = {
            "inputs": [
                _kserve_input(serving.FRAMES_INPUT, "BYTES", [1, len(frames)], strings),
                _kserve_input(serving.NUM_FRAMES_INPUT, "INT32", [1], number),
            ],
            "parameters": {"binary_data_output": False},
        }
        text = json.dumps(head).encode()
        headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(text))}
        answer = _post(self._target, self._url, text + strings + number, headers, timeout)
        with _understood(self._target):
            outputs = json.loads(answer)["outputs"]
            return {one["name"]: np.asarray(one["data"]).reshape(one["shape"]) for one in outputs}


def kserve_name(name: str, signature: str) -> str:
    """The name of the model that a signature is, where a server has no signatures."""
    return name if signature == serving.FRAMES_SIGNATURE else f"{name}_{signature}"


def _kserve_input(name: str, datatype: str, shape: Sequence[int], data: bytes) -> dict:
    return {"name": name, "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": len(data)}}


def _post(target: Target, url: str, body: bytes, headers: Mapping[str, str], timeout: float) -> bytes:
    check_size(len(body), target)
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, dict(headers)), timeout=timeout) as answer:
            return answer.read()
    except urllib.error.HTTPError as error:
        reason = _reason(error)
        if error.code == _TOO_LARGE:
            raise _too_large(f"{target.address} takes no message of this size: {reason}") from error
        kind = UnavailableError if error.code in _AGAIN else ServingError
        raise kind(f"{target.address} answers {error.code}: {reason}") from error
    except TimeoutError as error:
        raise ServingError(f"{target.address} did not answer within {timeout:.0f} s") from error
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, TimeoutError):
            raise ServingError(f"{target.address} did not answer within {timeout:.0f} s") from error
        raise UnavailableError(f"{target.address} is not available: {_one_line(str(reason))}") from error


@contextlib.contextmanager
def _understood(target: Target) -> Iterator[None]:
    """Turns what an answer lacks into a `ServingError`: a login page of a proxy is an answer, too."""
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ServingError(f"{target.address} gives no answer of a model server: is it the right address?") from error


def _reason(error: urllib.error.HTTPError) -> str:
    text = ""
    # The connection may break within the answer, which may be of a proxy.
    with contextlib.suppress(OSError, HTTPException):
        text = error.read().decode(errors="replace")
    try:
        text = json.loads(text)["error"]
    except (json.JSONDecodeError, KeyError, TypeError):
        text = text or error.reason
    return _one_line(str(text))


def _too_large(what: str) -> ServingError:
    return ServingError(
        f"{what}; raise the limit of the server and of what stands before it, ask about a part of the video, or ingest "
        "with a lower jpeg_quality"
    )


def _one_line(text: str, most: int = 300) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else f"{text[: most - 1]}…"
