"""The server as users start it: a process of its own, asked over the loopback."""

import http.client
import json
import os
import random
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import COMMAND, ROOT

LENET = ROOT / "models" / "lenet"


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The error of an answer, which has to be one as every path writes it."""
        document = self.json()
        assert list(document) == ["error"] and isinstance(document["error"], str), document
        return document["error"]


@dataclass
class Running:
    process: subprocess.Popen[str]
    port: int
    lines: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def ask(self, path: str, body: bytes | None = None, method: str | None = None, **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method or ("GET" if body is None else "POST"), path, body, named)
            reply = connection.getresponse()
            return Answer(reply.status, {name.lower(): value for name, value in reply.getheaders()}, reply.read())
        finally:
            connection.close()

    def raw(self, content: bytes, timeout: float = 20) -> bytes:
        """Send bytes on a connection of their own, and return what comes back until the server closes it."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout) as client:
            client.sendall(content)
            return read_all(client)

    def infer(self, pixels: bytes, **headers: str) -> Answer:
        return self.ask("/v2/models/lenet/infer", pixels, **{"Inference-Header-Content-Length": "0"} | headers)

    def workers(self) -> list[int]:
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def peak_memory(self) -> int:
        """Return the largest memory that a worker had, in bytes."""
        texts = [Path(f"/proc/{pid}/status").read_text() for pid in self.workers()]
        return max(1024 * int(text.partition("VmHWM:")[2].split()[0]) for text in texts)

    def log(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait for a line of the log."""
        return until(lambda: next((found for line in list(self.lines) if wanted(found := json.loads(line))), None))

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)


def read_all(client: socket.socket) -> bytes:
    parts = []
    while True:
        try:
            part = client.recv(65536)
        except ConnectionError:
            break
        if not part:
            break
        parts.append(part)
    return b"".join(parts)


def until(find: Callable[[], Any], seconds: float = 20) -> Any:
    """Wait until something is there, and return it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := find():
            return found
        time.sleep(0.02)
    raise AssertionError("it did not happen in time")


def free_port() -> int:
    """Return a port for a process that has to be told one, from those that the system gives to nobody who does not name them."""
    for port in random.sample(range(15_000, 32_000), 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


def started(*arguments: Any, env: dict[str, str] | None = None) -> Running:
    environment = (
        {k: v for k, v in os.environ.items() if not k.startswith("MNIST_EDGE_")} | {"MNIST_EDGE_PROOFS_DIR": os.devnull} | (env or {})
    )
    command = [str(word) for word in (COMMAND, "serve", *arguments, "--port", "0")]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout and process.stderr
    url = process.stdout.readline().strip()
    if not url:
        raise AssertionError(process.communicate()[1])
    running = Running(process, int(url.rstrip("/").rpartition(":")[2]))
    for stream, lines in ((process.stdout, running.lines), (process.stderr, running.errors)):
        threading.Thread(target=lambda stream=stream, lines=lines: lines.extend(iter(stream.readline, "")), daemon=True).start()
    return running


@pytest.fixture
def serve() -> Iterator[Callable[..., Running]]:
    """Start servers with options of their own; they are killed at the end."""
    all_started: list[Running] = []

    def start(*arguments: Any, **how: Any) -> Running:
        all_started.append(started(*arguments, **how))
        return all_started[-1]

    yield start
    for one in all_started:
        for worker in one.workers() if one.process.poll() is None else ():
            with suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
        one.process.kill()
        one.process.wait()


@pytest.fixture(scope="session")
def server() -> Iterator[Running]:
    """LeNet with the usual options. Tests only ask it."""
    running = started(LENET)
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="session")
def pixels() -> np.ndarray:
    """Five drawn digits, uint8 5×1×28×28."""
    from mnist_edge.dataset import drawn

    return drawn.draw("test", 5).images


@pytest.fixture(scope="session")
def logits(pixels: np.ndarray) -> np.ndarray:
    """What the model answers to them without a server, float32 5×10."""
    import warnings

    from mnist_edge import Predictor

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Predictor.load(LENET).logits(pixels)
