"""Servers on this machine, for tests of remote paths."""

from __future__ import annotations

import contextlib
import functools
import http.server
import logging
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator

import fsspec

REGION = "us-east-1"


@contextlib.contextmanager
def s3_server() -> Iterator[fsspec.AbstractFileSystem]:
    """A real S3 server (moto) with a bucket ``videos``, which this process and its children find by the environment."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    # What a server before this one has held is held by the process.
    urllib.request.urlopen(urllib.request.Request(f"http://{host}:{port}/moto-api/reset", method="POST")).close()
    saved = dict(os.environ)
    os.environ.update(
        AWS_ENDPOINT_URL=f"http://{host}:{port}",
        AWS_ACCESS_KEY_ID="key",
        AWS_SECRET_ACCESS_KEY="secret",
        AWS_DEFAULT_REGION=REGION,
    )
    try:
        # fsspec keeps file systems by their options, and an older one knows an older server.
        fsspec.get_filesystem_class("s3").clear_instance_cache()
        system = fsspec.filesystem("s3", use_listings_cache=False)
        system.mkdir("videos")
        yield system
    finally:
        os.environ.clear()
        os.environ.update(saved)
        server.stop()


@contextlib.contextmanager
def http_server(folder: os.PathLike, status: int | None = None) -> Iterator[str]:
    """A web server of a folder's files, or one that answers everything with a status; gives its address."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def send_head(self):
            if status is None:
                return super().send_head()
            return self.send_error(status)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def job_server():
    """Address of Beam's own job server, on which any portable runner can be tried."""
    return _serving("apache_beam.runners.portability.local_job_service_main", "-p", "{port}")


def worker_pool(folder: os.PathLike, **environment: str):
    """Address of a pool of Beam's workers that start in `folder`, and have no variable of this process.

    A worker is started as plain ``python``, and this one's is meant.
    """
    bare = {"PATH": os.path.dirname(sys.executable), **environment}
    module = "apache_beam.runners.worker.worker_pool_main"
    return _serving(module, "--service_port={port}", env=bare, cwd=folder)


@contextlib.contextmanager
def _serving(module: str, *arguments: str, **process) -> Iterator[str]:
    """Address at which a module of Beam serves, as a process of its own with further arguments of Popen."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    command = [sys.executable, "-m", module, *(argument.format(port=address.split(":")[1]) for argument in arguments)]
    with subprocess.Popen(command, **process) as server:
        try:
            while not _accepts(address):
                assert server.poll() is None, f"{module} ended with code {server.returncode}"
                time.sleep(0.1)
            yield address
        finally:
            server.terminate()


def _accepts(address: str) -> bool:
    """True as soon as somebody listens at host:port."""
    host, port = address.split(":")
    with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
        return True
    return False
