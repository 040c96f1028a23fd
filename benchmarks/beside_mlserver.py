"""MLServer and `mnist-edge serve` with the same ONNX file under the same load. Prints a part of RESULTS.md.

MLServer lives in an environment of its own, build/mlserver, because it pins what it needs: `make bench` makes it.
"""

import argparse
import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from urllib.error import URLError
from urllib.request import urlopen

from processes import ENVIRONMENT
from serving import MODEL, PLAIN, Seen, free_port, request, run, server

HOUSE = Path(__file__).resolve().parents[1]
PYTHON = HOUSE / "build" / "mlserver" / "bin" / "python"

#: MLServer's own default is one process beside the server; with none the server runs the network itself.
PARALLEL = (1, 0)


@contextmanager
def mlserver(parallel_workers: int) -> Iterator[int]:
    """Start MLServer with LeNet; yield its port when it is ready."""
    port = free_port()
    with TemporaryDirectory() as name:
        folder = Path(name)
        settings = {"host": "127.0.0.1", "http_port": port, "grpc_port": free_port(), "metrics_port": free_port()}
        settings |= {"parallel_workers": parallel_workers, "debug": False}
        (folder / "settings.json").write_text(json.dumps(settings))
        model = {"name": "lenet", "implementation": "mlserver_model.Network", "parameters": {"uri": str(MODEL / "lenet.onnx")}}
        (folder / "model-settings.json").write_text(json.dumps(model))
        (folder / "mlserver_model.py").write_bytes((PLAIN / "mlserver_model.py").read_bytes())
        environment = ENVIRONMENT | {"PYTHONPATH": name}
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [PYTHON, "-m", "mlserver.cli.main", "start", name], stdout=log, stderr=log, env=environment, cwd=name
            )
            try:
                _wait(port, process, folder / "log")
                yield port
            finally:
                process.terminate()
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def _wait(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until and process.poll() is None:
        try:
            with urlopen(f"http://127.0.0.1:{port}/v2/models/lenet/ready", timeout=5):
                return
        except (URLError, OSError):
            time.sleep(0.2)
    raise SystemExit(f"error: MLServer did not start: {log.read_text()[-2000:]}")


def rate(seen: Seen, count: int) -> float:
    """Return requests a second of 16 connections. Every request has to be answered with 200."""
    assert seen.statuses == {200: count}, seen.statuses
    return 16 / (sum(seen.seconds) / count)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    if not PYTHON.exists():
        raise SystemExit("error: no MLServer in build/mlserver; make bench puts it there")
    version = subprocess.run(
        [PYTHON, "-c", "import mlserver; print(mlserver.__version__)"], check=True, capture_output=True, text=True
    ).stdout.strip()
    values = ",".join(map(str, os.urandom(784)))
    body = f'{{"inputs":[{{"name":"pixels","datatype":"UINT8","shape":[1,1,28,28],"data":[{values}]}}]}}'.encode()
    message = request("/v2/models/lenet/infer", body, {"Content-Type": "application/json"})
    ours: list[float] = []
    theirs: dict[int, list[float]] = {parallel: [] for parallel in PARALLEL}
    for _ in range(given.rounds):  # alternately, because they are compared
        with server() as (port, _, _):
            run(port, message, 16, 500)
            ours.append(rate(run(port, message, 16, given.requests), given.requests))
        for parallel, rates in theirs.items():
            with mlserver(parallel) as port:
                run(port, message, 16, 500)
                rates.append(rate(run(port, message, 16, given.requests), given.requests))
    best = max(map(median, theirs.values()))
    print(f"## `mnist-edge serve lenet` beside MLServer {version}\n")
    print(
        "Both answer one image as JSON on 16 connections, one request after the other on each, with the same `lenet.onnx` in one process."
    )
    print("MLServer has a runtime of a dozen lines, `plain/mlserver_model.py`.\n")
    print("| | requests/s |\n|---|---|")
    print(f"| `mnist-edge serve` | {median(ours):,.0f} |")
    for parallel, rates in theirs.items():
        print(f"| MLServer, `parallel_workers` {parallel}{' (its default)' if parallel == PARALLEL[0] else ''} | {median(rates):,.0f} |")
    ratio = median(ours) / best
    print("\n| ratio | is | aim, at least |\n|---|---|---|")
    print(f"| requests/s, ours to MLServer's better way | {ratio:.1f}{'' if ratio >= 5 else ' (missed)'} | 5 |")


if __name__ == "__main__":
    main()
