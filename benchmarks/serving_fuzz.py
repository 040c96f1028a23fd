"""Mutated requests to a server: make soak

Bodies in JSON, as binary tensors, raw, packed, and forms with pictures, with one to eight changes each; one in ten bodies is sent as
it is, and one request in ten is changed as a whole, headers included. The server must answer all with 200, 4xx or 503, never hang, stay
one process, and not grow.
"""

import argparse
import collections
import gzip
import io
import json
import random
import re
import socket
import time
import zlib
from pathlib import Path

import numpy as np
from PIL import Image
from serving import memory, server, workers

from mnist_edge.dataset import drawn

#: Values that break careless code.
_ODD = [
    "-1",
    "0",
    "4294967296",
    "18446744073709551616",
    "1e309",
    "NaN",
    "null",
    "true",
    '"\\ud800"',
    "[]",
    "{}",
    "[[[[[[",
    '"784"',
    "1.5",
    "-0",
    "1" * 5000,
]


def seeds(pixels: np.ndarray) -> list[tuple[str, bytes, dict[str, str]]]:
    """Return good requests: path, body, headers."""
    one = pixels[:2]
    tensor = {"name": "pixels", "datatype": "UINT8", "shape": list(one.shape)}
    text = json.dumps({"id": "a", "inputs": [tensor | {"data": one.ravel().tolist()}], "outputs": [{"name": "logits"}]}).encode()
    nested = json.dumps({"inputs": [tensor | {"data": one.tolist()}]}).encode()
    head = json.dumps(
        {"inputs": [tensor | {"parameters": {"binary_data_size": one.size}}], "parameters": {"binary_data_output": True}}
    ).encode()
    buffer = io.BytesIO()
    Image.fromarray(pixels[0, 0]).resize((100, 100)).save(buffer, "PNG")
    png = buffer.getvalue()
    form = b'--e\r\nContent-Disposition: form-data; name="p"; filename="a.png"\r\n\r\n' + png + b"\r\n--e--\r\n"
    length, infer = "Inference-Header-Content-Length", "/v2/models/lenet/infer"
    return [
        (infer, text, {}),
        (infer, nested, {}),
        (infer, head + one.tobytes(), {length: str(len(head))}),
        (infer, one.tobytes(), {length: "0"}),
        (infer, gzip.compress(head + one.tobytes()), {length: str(len(head)), "Content-Encoding": "gzip"}),
        (infer, zlib.compress(text), {"Content-Encoding": "deflate"}),
        ("/predict", form, {"Content-Type": "multipart/form-data; boundary=e"}),
        ("/predict?explain=1", png, {}),
    ]


def mutate(data: bytes, chance: random.Random) -> bytes:
    """Return bytes with a few changes: flipped, cut, doubled, inserted, or a number exchanged for an odd value."""
    changed = bytearray(data)
    for _ in range(chance.choice([1, 1, 1, 2, 8])):
        at = chance.randrange(len(changed) + 1)
        how = chance.randrange(7)
        if how == 0 and at < len(changed):
            changed[at] ^= 1 << chance.randrange(8)
        elif how == 1:
            del changed[at : at + chance.choice([1, 4, 100])]
        elif how == 2:
            changed[at:at] = changed[at : at + chance.choice([1, 4, 100])]
        elif how == 3:
            changed[at:at] = chance.randbytes(chance.choice([1, 4, 100]))
        elif how == 4:
            del changed[at:]
        elif numbers := list(re.finditer(rb"(?<![\w.])\d+(?![\w.])", bytes(changed[:300]))):
            found = chance.choice(numbers)
            changed[found.start() : found.end()] = chance.choice(_ODD).encode()
    return bytes(changed)


def ask(client: socket.socket, message: bytes) -> tuple[int, bool]:
    """Send a request; return the status, 0 if the connection was closed without one, and whether it is closed."""
    try:
        client.sendall(message)
        got = b""
        while b"\r\n\r\n" not in got:
            part = client.recv(65536)
            if not part:
                return 0, True
            got += part
        head, _, rest = got.partition(b"\r\n\r\n")
        length = int(re.search(rb"content-length: (\d+)", head)[1])  # type: ignore[index]
        while len(rest) < length:
            part = client.recv(65536)
            if not part:
                return 0, True
            rest += part
    except ConnectionError:
        return 0, True
    status = int(head[9:12])
    body, more = rest[:length], rest[length:]
    if status != 200 and list(json.loads(body)) != ["error"]:
        raise SystemExit(f"error: {status} without an error: {body[:200]!r}")
    # where a length lied, the rest of the message was a request of its own, and has an answer, too
    return status, bool(more) or b"connection: close" in head


def fuzz(port: int, count: int, seed: int) -> collections.Counter[int]:
    """Send so many mutated requests, and return how often each status came; 0 stands for a connection that was closed."""
    chance = random.Random(seed)
    good = seeds(drawn.draw("test", 20, seed).images)
    statuses: collections.Counter[int] = collections.Counter()
    client: socket.socket | None = None
    for _ in range(count):
        if client is None:
            client = socket.create_connection(("127.0.0.1", port), timeout=30)
        path, body, headers = chance.choice(good)
        whole = chance.random() < 0.1
        body = body if chance.random() < (0.5 if whole else 0.1) else mutate(body, chance)
        if chance.random() < 0.1 and headers:
            name = chance.choice(list(headers))
            headers = headers | {name: re.sub(r"[^\x21-\x7e ]", "", mutate(headers[name].encode(), chance).decode("latin-1")).strip()}
        lines = [
            f"POST {path} HTTP/1.1",
            "Host: localhost",
            f"Content-Length: {len(body)}",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        head = "\r\n".join([*lines, "", ""]).encode()
        if whole:
            client.settimeout(0.5)  # the server may rightly wait for more
            try:
                status, _ = ask(client, mutate(head, chance) + body)
            except TimeoutError:
                status = 408
            closed = True
        else:
            client.settimeout(30)
            status, closed = ask(client, head + body)
            if status == 0:
                raise SystemExit(f"error: no answer to {head!r} {body[:500]!r}")
        statuses[status] += 1
        if status >= 500 and status != 503:
            raise SystemExit(f"error: {status} for {head!r} {body[:2000]!r}")
        if closed:
            client.close()
            client = None
    if client is not None:
        client.close()
    return statuses


def main() -> None:
    """Fuzz a server, and print what it answered and how it grew."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with server("--no-log") as (port, pid, _):
        (worker,) = workers(pid)
        fuzz(port, given.requests // 10, given.seed + 1)
        early, started = memory(worker, "VmRSS"), time.monotonic()
        statuses = fuzz(port, given.requests, given.seed)
        late = memory(worker, "VmRSS")
        assert workers(pid) == [worker], "the worker died"
        threads = len(list(Path(f"/proc/{worker}/task").iterdir()))
    answers = ", ".join(f"{count:,} × {status or 'closed'}" for status, count in sorted(statuses.items()))
    print(f"{given.requests:,} mutated requests in {time.monotonic() - started:.0f} s: {answers}.")
    print(f"Memory of the worker {early / 1e6:.0f} MB after a tenth of them, {late / 1e6:.0f} MB after all; {threads} threads.")
    if late > 1.1 * early:
        raise SystemExit("error: the worker grew by more than a tenth")


if __name__ == "__main__":
    main()
