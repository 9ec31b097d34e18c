"""The client against a real Triton server (nvidia-pytriton, in no lock) that serves a SavedModel."""

from __future__ import annotations

import itertools
import shutil
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from pipeline.serving.client import Client
from pipeline.serving.transports import ServingError
from schemas import serving

pytest.importorskip("pytriton", reason="nvidia-pytriton is not installed, see docs/serving.md")

TOLERANCE = serving.ExpectedLogits({}, {}).tolerance(np.zeros(1), "CPU")


@pytest.fixture
def triton(versions, tmp_path):
    """The newest version of a folder, in a server, and its address."""
    from pipeline.serving.triton import NewestVersion, triton_server

    shutil.copytree(versions / "1", tmp_path / "1")
    newest = NewestVersion(str(tmp_path))
    with socket.socket() as http, socket.socket() as grpc:
        http.bind(("127.0.0.1", 0))
        grpc.bind(("127.0.0.1", 0))
        ports = {"http_port": http.getsockname()[1], "grpc_port": grpc.getsockname()[1]}
    local = {"http_address": "127.0.0.1", "grpc_address": "127.0.0.1", "allow_metrics": False}
    server = triton_server(newest, name="vivit", instances=2, **ports, **local)
    server.run()
    yield newest, tmp_path, f"kserve+http://127.0.0.1:{ports['http_port']}"
    server.stop()


def test_200_requests_8_at_a_time_while_a_version_takes_the_place_of_another(triton, versions, clips, expected):
    newest, folder, address = triton
    answered = itertools.count()

    def one(number):
        if next(answered) == 60:
            shutil.copytree(versions / "2", folder / "2")
            assert newest.refresh()
        started = time.perf_counter()
        logits = client.ask(clips[number % len(clips)])["label/logits"]
        return number, logits, time.perf_counter() - started

    with Client(address) as client, ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(one, range(200)))
    seen = set()
    for number, logits, _ in answers:
        differences = {version: np.abs(logits - expected[version][number % len(clips)]).max() for version in (1, 2)}
        nearest = min(differences, key=differences.get)
        seen.add(nearest)
        assert differences[nearest] <= TOLERANCE
    assert seen == {1, 2}

    with Client(address, signature="embedding") as client:
        assert np.linalg.norm(client.ask(clips[0])["embedding_l2"]) == pytest.approx(1, abs=1e-5)
    with Client(address, name="other") as client, pytest.raises(ServingError, match="unknown model"):
        client.ask(clips[0])
