"""`mnist-edge serve` under load, on this machine. Prints a part of RESULTS.md.

The client is one process with an event loop and no HTTP library: each connection sends the next request as soon as it has an answer.
"""

import argparse
import asyncio
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from processes import COMMAND, ENVIRONMENT, verdict

MODEL = Path(__file__).resolve().parents[1] / "models" / "lenet"
PLAIN = Path(__file__).resolve().parent / "plain"

#: The same server with a network that answers at once, to see what HTTP costs.
EMPTY = (sys.executable, str(Path(__file__).resolve().parent / "empty_network.py"))
RAW = {"Inference-Header-Content-Length": "0"}


def request(path: str, body: bytes, headers: dict[str, str]) -> bytes:
    """Return the bytes of a request."""
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}", *(f"{k}: {v}" for k, v in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


@dataclass
class Seen:
    """What a load saw: seconds of each request, answers by status, requests sent again after their connection broke, and those without an answer."""

    seconds: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)
    again: int = 0
    lost: int = 0


class Client(asyncio.Protocol):
    """One connection. It asks until it is told to stop, and connects again where its connection was closed."""

    def __init__(self, message: bytes, seen: Seen, more: Callable[[], bool], address: tuple[str, int]) -> None:
        self.message, self.seen, self.more, self.address = message, seen, more, address
        self.done = asyncio.get_running_loop().create_future()
        self.waiting = self.closes = False
        self.tries = 0
        self.started = 0.0
        self.got = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.got = b""
        self.closes = False
        if self.waiting:  # the connection broke before an answer came
            self.transport.write(self.message)
        else:
            self._next()

    def _next(self) -> None:
        if not self.more():
            self.transport.close()
            if not self.done.done():
                self.done.set_result(None)
            return
        self.started, self.waiting, self.tries = time.perf_counter(), True, 0
        self.transport.write(self.message)

    def data_received(self, data: bytes) -> None:
        """Take an answer."""
        self.got += data
        head, found, rest = self.got.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(re.search(rb"content-length: (\d+)", head)[1])  # type: ignore[index]
        if len(rest) < length:
            return
        self.seen.seconds.append(time.perf_counter() - self.started)
        status = int(head[9:12])
        self.seen.statuses[status] = self.seen.statuses.get(status, 0) + 1
        self.waiting, self.got = False, b""
        if b"connection: close" in head:
            self.closes = True
            self.transport.close()
        else:
            self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        """Connect again, and repeat a request that has no answer, at most three times."""
        if self.done.done():
            return
        if self.waiting:
            self.seen.again += 1
            self.tries += 1
            if self.tries > 3:
                self.seen.lost += 1
                self.waiting = False
        self.task = asyncio.get_running_loop().create_task(self._connect())

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(50):
            try:
                await loop.create_connection(lambda: self, *self.address)
                return
            except OSError:
                await asyncio.sleep(0.1)
        self.seen.lost += 1
        self.done.set_result(None)


async def load(port: int, message: bytes, connections: int, more: Callable[[], bool], seen: Seen) -> None:
    """Send a request over and over on so many connections while `more()` is true."""
    loop = asyncio.get_running_loop()
    clients = [Client(message, seen, more, ("127.0.0.1", port)) for _ in range(connections)]
    for client in clients:
        await loop.create_connection(lambda client=client: client, *client.address)  # type: ignore[misc]
    await asyncio.gather(*(client.done for client in clients))


def run(port: int, message: bytes, connections: int, count: int | None = None, until: Callable[[], bool] | None = None) -> Seen:
    """Send `count` requests, or requests until `until()` is true, and return what was seen."""
    seen, sent = Seen(), 0

    def more() -> bool:
        nonlocal sent
        sent += 1
        return not until() if until else sent <= (count or 0)

    asyncio.run(load(port, message, connections, more, seen))
    return seen


def free_port() -> int:
    """Return a port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def server(*options: str, command: Sequence[str] = (COMMAND,)) -> Iterator[tuple[int, int, float]]:
    """Start the server; yield its port, its process and the seconds until it was ready."""
    port = free_port()
    started = time.perf_counter()
    process = subprocess.Popen(
        [*command, "serve", str(MODEL), "--port", str(port), *options], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=ENVIRONMENT
    )
    assert process.stdout
    process.stdout.readline()
    ready = time.perf_counter() - started
    drain = subprocess.Popen(["cat"], stdin=process.stdout, stdout=subprocess.DEVNULL)
    process.stdout.close()
    try:
        yield port, process.pid, ready
    finally:
        process.terminate()
        process.wait(30)
        drain.wait(30)


def workers(pid: int) -> list[int]:
    """Return the processes of a server's workers."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def cpu(pid: int) -> float:
    """Return the seconds that a process's threads have computed."""
    return sum(int(task.read_text().split()[0]) for task in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def memory(pid: int, what: str = "VmHWM") -> float:
    """Return a process's peak memory, or another figure of its status, in bytes."""
    return 1024 * int(re.search(rf"{what}:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1])  # type: ignore[index]


def network_seconds() -> float:
    """Return the CPU seconds that the network takes for an image, in a process of its own."""
    code = (
        "import sys, time, numpy as np; from mnist_edge import Predictor; p = Predictor.load(sys.argv[1]); "
        "x = np.random.default_rng(0).integers(0, 256, (1, 1, 28, 28), np.uint8); [p.logits(x) for _ in range(2000)]; "
        "a = time.process_time(); [p.logits(x) for _ in range(20000)]; print((time.process_time() - a) / 20000)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(MODEL)], check=True, capture_output=True, text=True, env=ENVIRONMENT
    )
    return float(done.stdout)


def cost(message: bytes, count: int, command: Sequence[str] = (COMMAND,)) -> tuple[float, Seen]:
    """Return the CPU seconds of a request, and what the client saw."""
    with server(command=command) as (port, pid, _):
        return _cost(port, workers(pid)[0], message, count)


def bare_cost(message: bytes, count: int) -> float:
    """Return the CPU seconds of a request to the shortest application that uvicorn can serve."""
    port = free_port()
    process = subprocess.Popen([sys.executable, str(PLAIN / "bare_asgi.py"), str(port)], env=ENVIRONMENT)
    try:
        for _ in range(200):
            with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.05)
        return _cost(port, process.pid, message, count)[0]
    finally:
        process.terminate()
        process.wait(30)


def _cost(port: int, pid: int, message: bytes, count: int) -> tuple[float, Seen]:
    run(port, message, 16, 3000)
    before = cpu(pid)
    seen = run(port, message, 16, count)
    return (cpu(pid) - before) / count, seen


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=20_000, help="for each kind of request")
    parser.add_argument("--soak", type=int, default=1_000_000, help="requests to one worker, to see that memory stays flat")
    parser.add_argument("--seconds", type=float, default=2.0, help="of load before and after each restart and kill")
    parser.add_argument("--interrupt", nargs=5, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.interrupt:
        seconds, *numbers = given.interrupt
        interrupt(float(seconds), *map(int, numbers))
        return
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
    pixels = os.urandom(784)
    values = ",".join(map(str, pixels))
    inputs = '"inputs":[{"name":"pixels","datatype":"UINT8","shape":[1,1,28,28]'
    text = f'{{{inputs},"data":[{values}]}}]}}'.encode()
    head = f'{{{inputs},"parameters":{{"binary_data_size":784}}}}],"parameters":{{"binary_data_output":true}}}}'.encode()
    path = "/v2/models/lenet/infer"
    messages = {
        "raw, 784 bytes": request(path, pixels, RAW),
        "binary tensor": request(path, head + pixels, {"Inference-Header-Content-Length": str(len(head))}),
        "JSON": request(path, text, {"Content-Type": "application/json"}),
    }
    print("## `mnist-edge serve lenet`, one worker, 16 connections\n")
    empty, bare = [], []
    for _ in range(5):  # alternately, because they are compared
        empty.append(cost(messages["raw, 784 bytes"], given.requests, EMPTY)[0])
        bare.append(bare_cost(messages["raw, 784 bytes"], given.requests))
    beyond, anchor = median(empty), median(bare)
    print(
        f"CPU a request of 784 raw bytes, with the log on and a network that answers at once: {1e6 * beyond:.0f} µs. The shortest application that"
    )
    print(
        f"uvicorn can serve, `plain/bare_asgi.py`, takes {1e6 * anchor:.0f} µs. The network alone, over and over, takes {1e6 * network_seconds():.0f} µs; between other"
    )
    print("work it takes longer, because its weights leave the processor's cache.\n")
    print("| request | CPU, µs | requests/s | p50, ms | p99, ms | p99 / p50 |")
    print("|---|---|---|---|---|---|")
    spreads = []
    for name, message in messages.items():
        each, seen = cost(message, given.requests)
        assert seen.statuses == {200: given.requests}, seen.statuses
        times = sorted(seen.seconds)
        p50, p99 = median(times), times[int(0.99 * len(times))]
        spreads.append(p99 / p50)
        rate = 16 / (sum(times) / len(times))
        print(f"| {name} | {1e6 * each:.0f} | {rate:,.0f} | {1e3 * p50:.2f} | {1e3 * p99:.2f} | {p99 / p50:.1f} |")
    starts = []
    for _ in range(9):
        with server() as (_, _, ready):
            starts.append(ready)
    with server() as (port, pid, _):
        (worker,) = workers(pid)
        run(port, messages["raw, 784 bytes"], 16, 3000)
        early = memory(worker, "VmRSS")
        run(port, messages["raw, 784 bytes"], 16, given.soak)
        late, peak = memory(worker, "VmRSS"), memory(worker)
    restart, killed = interruptions(messages["raw, 784 bytes"], given.seconds)
    print("\n| figure | is | aim, at most |")
    print("|---|---|---|")
    print(f"| CPU a raw request beyond the network, µs | {verdict(1e6 * beyond, 60)} | 60 |")
    print(f"| the same, to the shortest application | {verdict(beyond / anchor, 1.9)} | 1.9 (60 to 32 µs, where the aim was set) |")
    print(f"| p99 / p50, raw | {verdict(spreads[0], 4)} | 4 |")
    print(f"| start to ready, ms, median of 9 | {verdict(1e3 * median(starts), 400)} | 400 |")
    print(f"| peak memory of the worker, MB, after {given.soak:,} requests | {verdict(peak / 1e6, 85)} | 85 |")
    print(f"| its memory then, to that after 3,000 requests | {verdict(late / early, 1.05)} | 1.05 (flat) |")
    for what, seen in (("SIGHUP (both workers exchanged)", restart), ("a worker killed with SIGKILL", killed)):
        answers = seen.statuses.get(200, 0)
        print(
            f"| requests lost, two workers, {what}; {answers:,} answered, {seen.again} sent again on a new connection | {verdict(seen.lost, 0)} | 0 |"
        )


def interruptions(message: bytes, seconds: float) -> tuple[Seen, Seen]:
    """Return what clients saw while both workers were exchanged, and while one was killed."""
    found = []
    for kill in (False, True):
        with server("--workers", "2") as (port, pid, _):
            before = workers(pid)
            sent = [str(before[0] if kill else pid), str(int(signal.SIGKILL if kill else signal.SIGHUP))]
            command = [sys.executable, __file__, "--interrupt", str(seconds), str(pid), *sent, str(1 if kill else 2)]
            helper = subprocess.Popen(command)
            seen = run(port, message, 16, until=lambda helper=helper: helper.poll() is not None)  # type: ignore[misc]
            assert helper.returncode == 0 and set(seen.statuses) == {200}, (helper.returncode, seen.statuses)
            found.append(seen)
    return found[0], found[1]


def interrupt(seconds: float, server_pid: int, pid: int, number: int, changes: int) -> None:
    """Send a signal after a while, and return a while after so many workers are others."""
    before = set(workers(server_pid))
    time.sleep(seconds)
    os.kill(pid, number)
    until = time.monotonic() + 120
    while len(before - set(workers(server_pid))) < changes or len(workers(server_pid)) != len(before):
        if time.monotonic() > until:
            raise SystemExit("error: the workers did not change")
        time.sleep(0.1)
    time.sleep(seconds)


if __name__ == "__main__":
    main()
