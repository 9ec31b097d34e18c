"""The client against servers with TensorFlow Serving's own protos: what it asks, and what it does when they refuse."""

from __future__ import annotations

import itertools
import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest

from pipeline.cli import main
from pipeline.inference.model import decode_config
from pipeline.serving.asking import ask
from pipeline.serving.client import Client
from pipeline.serving.transports import ServingError, UnavailableError
from schemas import serving
from tests.pipeline.serving.model_server import ModelServer, Refused, grpc_server, rest_server

# Of the canary, float32 on CPUs.
TOLERANCE = serving.ExpectedLogits({}, {}).tolerance(np.zeros(1), "CPU")


@pytest.fixture(scope="module")
def model_server(signatures):
    server = ModelServer()
    server.serve(1, signatures[1])
    server.labels = {"stable": 1}
    return server


@pytest.fixture(scope="module", params=[grpc_server, rest_server])
def address(request, model_server):
    with request.param(model_server) as address:
        yield address


@pytest.fixture(scope="module")
def grpc_address(model_server):
    with grpc_server(model_server) as address:
        yield address


def test_an_answer_is_the_models_own(address, clips, expected):
    with Client(address) as client:
        for frames, logits in zip(clips, expected[1], strict=True):
            outputs = client.ask(frames)
            np.testing.assert_allclose(outputs["label/logits"], logits, atol=TOLERANCE)
            assert outputs["label/probabilities"].sum() == pytest.approx(1, abs=1e-5)


def test_one_view_and_embeddings_are_signatures(address, clips, expected):
    with Client(address, signature="frames_one_view", label="stable") as client:
        assert np.abs(client.ask(clips[-1])["label/logits"] - expected[1][-1]).max() > 1e-3
    with Client(address, signature="embedding") as client:
        outputs = client.ask(clips[-1])
        assert outputs["embedding"].shape == (16,)
        assert np.linalg.norm(outputs["embedding_l2"]) == pytest.approx(1, abs=1e-5)


def test_200_requests_8_at_a_time_while_a_version_takes_the_place_of_another(versions, signatures, clips, expected):
    server = ModelServer()
    server.serve(1, signatures[1])
    answered, swapped = itertools.count(), threading.Event()

    def one(number):
        if next(answered) == 60:
            server.load(2, versions / "2")
            server.unload(1)
            swapped.set()
        started = time.perf_counter()
        logits = client.ask(clips[number % len(clips)])["label/logits"]
        return number, logits, time.perf_counter() - started

    with grpc_server(server) as address, Client(address) as client, ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(one, range(200)))
    assert swapped.is_set()
    by_version = {1: 0, 2: 0}
    for number, logits, _ in answers:
        differences = {version: np.abs(logits - expected[version][number % len(clips)]).max() for version in by_version}
        nearest = min(differences, key=differences.get)
        by_version[nearest] += 1
        assert differences[nearest] <= TOLERANCE
    assert min(by_version.values()) > 0
    # Rows of other lengths were padded in one batch.
    assert max(server.batches) > 1
    seconds = sorted(seconds for _, _, seconds in answers)
    assert seconds[190] < 10


def test_a_server_that_is_full_or_away_for_a_moment_is_asked_again(address, model_server, clips, expected):
    full = Refused(grpc.StatusCode.UNAVAILABLE, "The batch scheduling queue to which this task was submitted is full")
    model_server.refuse = [full, full]
    with Client(address) as client:
        np.testing.assert_allclose(client.ask(clips[0])["label/logits"], expected[1][0], atol=TOLERANCE)
    assert not model_server.refuse


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_nobody_there_is_said_within_the_deadline(scheme, clips):
    with (
        Client(f"{scheme}://127.0.0.1:9", deadline=0.3) as client,
        pytest.raises(UnavailableError, match="not available"),
    ):
        client.ask(clips[0])


def test_a_refusal_is_one_line_and_not_repeated(address, clips):
    for target, reason in (
        ({"name": "other"}, "Servable not found"),
        ({"label": "canary"}, "Unrecognized servable version label: canary"),
        ({"signature": "missing"}, "not found"),
    ):
        with Client(address, **target) as client, pytest.raises(ServingError, match=reason) as raised:
            client.ask(clips[0])
        assert "\n" not in str(raised.value)
    with Client(address) as client, pytest.raises(ServingError):
        client.ask([b"no JPEG"])


@pytest.mark.parametrize("page", [b"<html>Log in</html>", b"[]", b'{"outputs": 1}'])
def test_what_is_no_answer_of_a_model_server_is_said(model_server, clips, page):
    wanted = pytest.raises(ServingError, match="is it the right address")
    with rest_server(model_server, page=page) as address, Client(address) as client, wanted:
        client.ask(clips[0])


@pytest.mark.parametrize("limit", [{}, {"max_message_mb": 0.5}])
def test_a_message_over_the_limit_says_what_to_do(address, limit):
    # The servers here take 4 MB; the second client keeps to less by itself.
    with (
        Client(address, **limit) as client,
        pytest.raises(ServingError, match="raise the limit of the server") as raised,
    ):
        client.ask([b"\xff" * 1_000_000] * 6)
    assert "\n" not in str(raised.value)
    assert "lower jpeg_quality" in str(raised.value)


def test_an_address_without_a_known_scheme_is_refused():
    with pytest.raises(ServingError, match="it must be one of grpc://host:port"):
        Client("localhost:8500")


def test_a_bad_video_costs_itself_only(grpc_address, versions, videos, tmp_path, capfd):
    bad = tmp_path / os.fsdecode(b"gr\xfcn.mp4")
    bad.write_text("no video")
    command = ["request", "--server", grpc_address, "--model", str(versions), "--json"]
    assert main([*command, str(bad), videos[0], str(tmp_path), "ram://gone/a.mp4"]) == 1
    rows = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert ["error" in row for row in rows] == [True, False, True, True]
    assert rows[0]["video"].endswith("gr\\udcfcn.mp4")
    assert {one["class"] for one in rows[1]["heads"]["label"]} == {"jump", "rün", "swim"}
    assert main([*command[:-1], videos[1], videos[2]]) == 0
    assert capfd.readouterr().out.count("  label: ") == 2


def test_one_message_over_the_limit_costs_itself_only(grpc_address, versions, videos, clips):
    limit = sum(map(len, clips[0])) * 2 / 1e6
    with Client(grpc_address, max_message_mb=limit) as client:
        short, long = ask(client, decode_config(str(versions)), [videos[0], videos[-1]])
    assert short.error is None
    assert "raise the limit" in long.error


def test_the_benchmark_counts_answers_and_refusals(grpc_address, versions, capfd):
    command = ["bench", "serve", "--server", grpc_address, "--model", str(versions), "--requests", "4", "--json"]
    assert main(command) == 0
    times = json.loads(capfd.readouterr().out)
    assert (times["requests"], times["failed"]) == (4, 0)
    assert 0 < times["p50"] <= times["p95"]
    assert main([*command, "--name", "other"]) == 0
    assert json.loads(capfd.readouterr().out)["failed"] == 4
