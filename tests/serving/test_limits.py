"""What the server refuses so that it can go on: too much, too slow, too many, a stranger."""

import contextlib
import gzip
import http.client
import json
import signal
import socket
import struct
import threading
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from serving_process import LENET, Running, read_all, started, until

from mnist_edge import Predictor
from mnist_edge.serving.models import Served
from mnist_edge.serving.refusals import GoneError

pytestmark = pytest.mark.slow

HEAD = b"POST /v2/models/lenet/infer HTTP/1.1\r\nHost: localhost\r\nInference-Header-Content-Length: 0\r\n"


def refusal(reply: bytes) -> tuple[int, str]:
    head, _, body = reply.partition(b"\r\n\r\n")
    assert b"content-type: application/json" in head
    return int(head[9:12]), json.loads(body)["error"]


@pytest.fixture(scope="module")
def strict() -> object:
    """A server with small limits."""
    limits = {"max-body": 0.01, "max-headers": 2000, "max-pixels": 90_000, "max-connections": 4, "header-timeout": 0.5, "body-timeout": 0.7}
    running = started(LENET, *(word for name, value in {**limits, "idle-timeout": 1}.items() for word in (f"--{name}", value)))
    yield running
    running.stop()
    assert not [line for line in running.errors if "Error" in line or "Traceback" in line]


@pytest.fixture
def slow() -> object:
    """A server whose batches take seconds, and that waits for none when it ends."""
    running = started(LENET.parent / "vit-cls", "--stop-timeout", 0.3, "--request-timeout", 60)
    yield running
    if running.process.poll() is None:
        running.stop()


def connect(running: Running) -> socket.socket:
    return socket.create_connection(("127.0.0.1", running.port), timeout=10)


def test_a_body_that_is_too_large(strict: Running) -> None:
    answer = strict.infer(bytes(784 * 14))
    assert answer.status == 413 and "10,485 bytes" in answer.error
    assert strict.infer(bytes(784 * 13)).status == 200
    chunk = b"2000\r\n" + bytes(0x2000) + b"\r\n"
    reply = strict.raw(HEAD + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n" + chunk + chunk)
    assert refusal(reply)[0] == 413


def test_a_declared_size_is_refused_before_it_is_sent_and_the_rest_is_not_read_for_ever(strict: Running) -> None:
    with connect(strict) as client:
        client.sendall(HEAD + b"Content-Length: 999999999999\r\n\r\n")
        assert b"413" in client.recv(65536)
        with pytest.raises(ConnectionError):
            for _ in range(10_000):
                client.sendall(bytes(4096))


@pytest.mark.parametrize("header", [b"X-A: " + b"a" * 3000, b"X-A: b\r\n" * 1000, b"X-A: " + b"a" * 3_000_000])
def test_headers_that_are_too_large(strict: Running, header: bytes) -> None:
    with connect(strict) as client:
        try:
            client.sendall(b"GET /v2 HTTP/1.1\r\n" + header)
        except ConnectionError:  # refused while it still sends
            return
        reply = read_all(client)
    if reply:  # the system drops it where the client goes on sending
        assert refusal(reply)[0] == 431


def test_an_address_that_is_too_long(strict: Running) -> None:
    status, error = refusal(strict.raw(b"GET /" + b"a" * 3000 + b" HTTP/1.1\r\n\r\n"))
    assert status == 431 and "2,000 bytes" in error


def test_headers_are_counted_without_what_came_with_them(strict: Running) -> None:
    """Requests in a row, the last one cut in its headers: together they are larger than the limit, none is."""
    whole = HEAD + b"Content-Length: 784\r\n\r\n" + bytes(784)
    last = HEAD + b"X-A: " + b"a" * 1500 + b"\r\nConnection: close\r\nContent-Length: 784\r\n\r\n" + bytes(784)
    with connect(strict) as client:
        client.sendall(whole * 4 + last[:1000])
        time.sleep(0.05)
        client.sendall(last[1000:])
        assert read_all(client).count(b"200 OK") == 5
    with connect(strict) as client:
        client.sendall(b"GET /v2 HTTP/1.1\r\nX-A: " + b"a" * 1900)
        time.sleep(0.05)
        client.sendall(b"a" * 200 + b"\r\n\r\n")
        assert refusal(read_all(client))[0] == 431


def test_slow_headers(strict: Running) -> None:
    began = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        replies = list(pool.map(strict.raw, (b"", b"GET /v2 HT", b"GET /v2 HTTP/1.1\r\nHost: lo", b"\r\n\r\n")))
    assert time.monotonic() - began < 5
    assert [refusal(reply)[0] for reply in replies] == [408] * 4


def test_headers_that_trickle(strict: Running) -> None:
    with connect(strict) as client:
        client.sendall(b"GET /v2 HTTP/1.1\r\n")
        with pytest.raises(ConnectionError):
            for _ in range(100):
                client.sendall(b"X-A: b\r\n")
                time.sleep(0.05)


def test_a_slow_body(strict: Running) -> None:
    for more in (b"", b"Expect: 100-continue\r\n"):
        reply = strict.raw(HEAD + more + b"X-Request-Id: slow\r\nContent-Length: 784\r\n\r\n" + bytes(100))
        status, error = refusal(reply.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n"))
        assert status == 408 and "0.7 s" in error
    line = strict.log(lambda line: line["id"] == "slow")
    assert (line["status"], line["path"]) == (408, "/v2/models/lenet/infer")


def test_a_client_that_goes_away_is_logged_and_nothing_else_happens(strict: Running) -> None:
    with connect(strict) as client:
        client.sendall(HEAD + b"Content-Length: 784\r\n\r\n" + bytes(100))
        time.sleep(0.1)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
    assert strict.log(lambda line: line["status"] == 499)["in"] in (0, 100)
    assert strict.infer(bytes(784)).status == 200


def refused_connections(client: socket.socket) -> int:
    """Ask on a connection that is open, and close it."""
    client.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    return int(read_all(client).split(b"\nmnist_edge_connections_refused_total ")[1].split()[0])


def test_too_many_connections(strict: Running) -> None:
    time.sleep(1.6)  # those of other tests are closed
    with connect(strict) as client:
        before = refused_connections(client)
    clients = [connect(strict) for _ in range(4)]
    try:
        for client in clients:
            client.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b"200 OK" in client.recv(65536)
        reply = strict.raw(b"")
        assert refusal(reply)[0] == 503 and b"retry-after: 1" in reply
        assert refused_connections(clients[0]) == before + 1
    finally:
        for client in clients:
            client.close()


def test_a_connection_too_many_reads_its_error_though_it_has_sent_a_request(strict: Running) -> None:
    time.sleep(1.6)  # those of other tests are closed
    clients = [connect(strict) for _ in range(4)]
    try:
        for client in clients:
            client.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b"200 OK" in client.recv(65536)
        for _ in range(10):
            assert refusal(strict.raw(HEAD + b"Content-Length: 784\r\n\r\n" + bytes(784)))[0] == 503
    finally:
        for client in clients:
            client.close()


def test_a_body_of_twice_what_is_dropped_reads_413(server: Running) -> None:
    """With a client that sends all before it reads, as Python's does."""
    for _ in range(3):
        assert server.infer(bytes(20 * 2**20)).status == 413


def test_what_is_whole_is_answered_before_what_is_not(server: Running) -> None:
    one = b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: whole\r\n\r\n"
    reply = server.raw(one + b"\x16\x03\x01 garbage\r\n\r\n")
    assert reply.count(b"200 OK") == 1 and refusal(reply[reply.index(b"HTTP/1.1 400") :])[0] == 400
    assert server.log(lambda line: line["id"] == "whole")["status"] == 200
    assert server.log(lambda line: line["status"] == 400 and line["path"] == "")["error"] == "this is not an HTTP/1.1 request"
    reply = server.raw(one * 70)
    assert reply.count(b"200 OK") == 65 and refusal(reply[reply.index(b"HTTP/1.1 503") :])[0] == 503
    chunk = HEAD + b"Transfer-Encoding: chunked\r\nX-Request-Id: bad-chunk\r\n\r\nxyz\r\n"
    reply = server.raw(one + chunk)
    assert reply.count(b"200 OK") == 1 and b"HTTP/1.1 400" in reply
    assert refusal(server.raw(chunk))[0] == 400
    assert server.log(lambda line: line["id"] == "bad-chunk")["status"] == 400


def test_headers_that_are_too_large_are_logged_and_counted(strict: Running) -> None:
    strict.raw(b"GET /" + b"b" * 3000 + b" HTTP/1.1\r\n\r\n")
    assert "2,000 bytes" in strict.log(lambda line: line["status"] == 431)["error"]
    assert 'mnist_edge_requests_total{path="other",code="431"}' in strict.ask("/metrics").body.decode()
    assert "mnist_edge_in_flight 1\n" in strict.ask("/metrics").body.decode()


def test_what_a_client_sends_does_not_stand_in_the_log(server: Running) -> None:
    assert "'SECRET-1'" in server.ask("/predict?model=SECRET-1", b"x", X_Request_Id="secret-1").error
    assert "'SECRET-2'" in server.ask("/predict?SECRET-2=1", b"x", X_Request_Id="secret-2").error
    body = json.dumps({"inputs": [{"name": "SECRET-3"}]}).encode()
    assert "'SECRET-3'" in server.ask("/v2/models/lenet/infer", body, X_Request_Id="secret-3").error
    assert server.log(lambda line: line["id"] == "secret-1")["error"] == "no model … is served here; name one: ?model=lenet"
    assert server.log(lambda line: line["id"] == "secret-2")["error"].startswith("unknown parameter …; known")
    assert server.log(lambda line: line["id"] == "secret-3")["error"] == "the input's name has to be 'pixels', and is …"


def test_a_form_of_many_parts_is_not_read_to_its_end(server: Running) -> None:
    form = gzip.compress(b"--b\r\nA:b\r\n\r\n\r\n" * 500_000 + b"--b--\r\n")
    answer = server.ask("/predict", form, Content_Encoding="gzip", Content_Type="multipart/form-data; boundary=b")
    assert answer.status == 400 and "more than 100 parts" in answer.error
    damaged = server.ask("/predict", b"--c\r\n", Content_Type="multipart/form-data; boundary=b")
    assert damaged.status == 400 and not any("boundary" in line for line in server.errors)  # the form's reader writes nothing itself


def test_a_batch_is_given_up_between_its_parts() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        served = Served("lenet", "1", "onnx_onnxv1", "0123456789", Predictor.load(LENET))
    given_up, run, sizes = threading.Event(), served.predictor._run, []

    def once(pixels: np.ndarray) -> np.ndarray:
        sizes.append(len(pixels))
        given_up.set()
        return run(pixels)

    served.predictor._run = once
    with pytest.raises(GoneError):
        served.logits(np.zeros((1000, 1, 28, 28), np.uint8), given_up)
    assert len(sizes) == 1 and sizes[0] < 1000
    with pytest.raises(GoneError):
        served.logits(np.zeros((1, 1, 28, 28), np.uint8), given_up)


def test_a_batch_of_a_client_that_went_away_is_logged_as_499_and_not_counted(slow: Running) -> None:
    batch = bytes(784 * 8000)
    head = HEAD.replace(b"lenet", b"vit-cls") + f"X-Request-Id: gone\r\nContent-Length: {len(batch)}\r\n\r\n".encode()
    with connect(slow) as client:
        client.sendall(head + batch)
        until(lambda: "mnist_edge_in_flight 2\n" in slow.ask("/metrics").body.decode())
        time.sleep(0.3)
    assert slow.log(lambda line: line["id"] == "gone")["status"] == 499
    text = slow.ask("/metrics").body.decode()
    assert 'mnist_edge_requests_total{path="infer",code="499"} 1\n' in text
    assert not [line for line in text.splitlines() if line.startswith("mnist_edge_answers_total") and not line.endswith(" 0")]


def test_what_is_not_answered_when_the_server_ends_gets_503(slow: Running) -> None:
    """Half a body, and a batch that takes too long."""
    batch = bytes(784 * 8000)
    head = HEAD.replace(b"lenet", b"vit-cls") + f"Content-Length: {len(batch)}\r\n\r\n".encode()
    with connect(slow) as half, connect(slow) as long:
        half.sendall(head + batch[:1000])
        long.sendall(head + batch)
        until(lambda: "mnist_edge_in_flight 3\n" in slow.ask("/metrics").body.decode())
        time.sleep(0.3)
        slow.process.send_signal(signal.SIGTERM)
        for client in (half, long):
            reply = read_all(client)
            assert refusal(reply)[0] == 503 and b"retry-after: 1" in reply
    assert slow.process.wait(20) == 0


def test_an_idle_connection_is_closed(strict: Running) -> None:
    with connect(strict) as client:
        client.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        began = time.monotonic()
        assert b"200 OK" in read_all(client)
    assert time.monotonic() - began < 5


def test_too_many_requests_at_once(serve: Callable[..., Running]) -> None:
    """One batch keeps the thread busy; a second one finds no room, and is told to come again. What is quick is answered all the while."""
    busy = serve(LENET.parent / "vit-cls", "--max-requests", 1, "--request-timeout", 1)
    batch = bytes(784 * 8000)
    head = HEAD.replace(b"lenet", b"vit-cls") + f"Content-Length: {len(batch)}\r\n\r\n".encode()
    with connect(busy) as first:
        first.sendall(head + batch)
        time.sleep(0.2)
        second = busy.ask("/v2/models/vit-cls/infer", batch, Inference_Header_Content_Length="0")
        assert (second.status, second.headers["retry-after"]) == (503, "1") and "being answered already" in second.error
        assert busy.ask("/v2/health/live").status == 200
        reply = first.recv(65536)
    assert b"503" in reply and b"there was no answer within 1 s" in reply


def test_bodies_that_are_too_large_together(serve: Callable[..., Running]) -> None:
    small = serve(LENET, "--max-body", 0.05, "--max-buffered", 0.05)
    with connect(small) as first:
        first.sendall(HEAD + b"Content-Length: 47040\r\n\r\n" + bytes(47039))
        answer = until(lambda: (reply := small.infer(bytes(7840))).status == 503 and reply)  # once the other body is there
        assert answer.headers["retry-after"] == "1"
    until(lambda: small.infer(bytes(7840)).status == 200)  # and once it is gone


def test_a_client_that_never_reads(serve: Callable[..., Running]) -> None:
    """It asks and takes nothing: its connection is dropped, and others are answered."""
    running = serve(LENET, "--body-timeout", 0.5)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        client.connect(("127.0.0.1", running.port))
        with pytest.raises(ConnectionError):
            for _ in range(300):
                client.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert running.ask("/v2/health/live").status == 200
                time.sleep(0.05)


def test_too_many_requests_in_a_row(serve: Callable[..., Running]) -> None:
    """A client that sends thousands before it reads an answer is cut off, and takes no memory for them."""
    running = serve(LENET)
    ask = b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
    assert running.raw(ask * 60 + ask.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")).count(b"200 OK") == 61
    with contextlib.suppress(ConnectionError):
        running.raw(ask * 50_000)
    assert running.ask("/v2/health/live").status == 200
    assert running.peak_memory() < 160e6


def test_the_token(serve: Callable[..., Running], tmp_path: Path) -> None:
    (tmp_path / "token").write_text("correct-horse-battery\n")
    guarded = serve(LENET, "--token-file", tmp_path / "token")
    for path in ("/v2/health/live", "/v2/health/ready", "/", "/page.js", "/docs", "/openapi.json"):
        assert guarded.ask(path).status == 200, path
    for path in ("/v2/models/x", "/v2/models/lenet/versions/1", "/nothing"):  # names and versions are not for strangers
        answer = guarded.ask(path)
        assert answer.status == 401 and "lenet" not in answer.error
    assert guarded.ask("/", method="DELETE").status == 405
    for path in ("/v2", "/v2/models/lenet", "/metrics"):
        for headers in (
            {},
            {"Authorization": "Bearer wrong-horse-battery"},
            {"Authorization": "correct-horse-battery"},
            {"Authorization": "Basic x"},
        ):
            answer = guarded.ask(path, **headers)
            assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer") and "Bearer TOKEN" in answer.error
        assert guarded.ask(path, Authorization="Bearer correct-horse-battery").status == 200
    assert guarded.infer(bytes(784)).status == 401
    assert "correct" not in Path(f"/proc/{guarded.process.pid}/cmdline").read_text()
    assert guarded.ask("/openapi.json").json()["paths"]["/v2"]["get"]["security"] == [{"token": []}]
    by_variable = serve(LENET, env={"MNIST_EDGE_TOKEN": "correct-horse-battery"})
    assert (by_variable.ask("/v2").status, by_variable.ask("/v2", Authorization="bearer correct-horse-battery").status) == (401, 200)


def test_another_name_for_this_machine_is_refused(server: Running) -> None:
    """As when a website points its own name here (DNS rebinding)."""
    for name, status in (
        ("evil.example", 421),
        (f"localhost:{server.port}", 200),
        ("127.0.0.1", 200),
        ("[::1]:80", 200),
        ("localhost.evil", 421),
    ):
        answer = server.ask("/v2", Host=name)
        assert answer.status == status, name
    assert "this machine only" in server.ask("/v2", Host="evil.example").error
    for path in ("/nothing", "/v2/models/other", "/v2/models/lenet/infer"):
        assert server.ask(path, Host="evil.example").status == 421


@pytest.mark.parametrize("host", ["127.1", "127.0.0.2"])
def test_other_addresses_of_the_loopback_are_guarded_too(serve: Callable[..., Running], host: str) -> None:
    running = serve(LENET, "--host", host)
    address = "127.0.0.1" if host == "127.1" else host
    with socket.create_connection((address, running.port), timeout=10) as client:
        for name, status in ((b"evil.example", b"421"), (address.encode(), b"200"), (host.encode() + b":80", b"200")):
            client.sendall(b"GET /v2 HTTP/1.1\r\nHost: " + name + b"\r\n\r\n")
            assert client.recv(65536).startswith(b"HTTP/1.1 " + status), name
    assert not any("anyone" in line for line in running.errors)


def test_an_address_other_than_the_loopback_takes_any_name_and_says_that_all_can_ask(serve: Callable[..., Running]) -> None:
    wide = serve(LENET, "--host", "0.0.0.0")
    assert wide.ask("/v2", Host="digits.example").status == 200
    assert any("anyone who can reach 0.0.0.0 can use this server" in line for line in wide.errors)


def test_a_request_id(server: Running) -> None:
    assert server.ask("/v2", X_Request_Id="order-7:a").headers["x-request-id"] == "order-7:a"
    assert server.log(lambda line: line["id"] == "order-7:a")["path"] == "/v2"
    for bad in ('a"b', "x" * 200, "a b", ""):
        made = server.ask("/v2", X_Request_Id=bad).headers["x-request-id"]
        assert made != bad and len(made) < 40
    first, second = (server.ask("/v2").headers["x-request-id"] for _ in range(2))
    assert first != second


def test_a_path_cannot_forge_a_line_of_the_log(server: Running) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    connection.request("GET", "/a%0a%7b%22status%22:1%7d%1b[31m%22")
    connection.getresponse().read()
    connection.close()
    assert server.log(lambda line: line["path"].startswith("/a\n"))["status"] == 404
