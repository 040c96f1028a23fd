"""Starting, stopping, and what happens to workers: killed, exchanged, orphaned."""

import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from conftest import COMMAND, Command
from once import lacking
from proving import as_if_made_elsewhere, elsewhere
from serving_process import LENET, Running, free_port, read_all, until

pytestmark = pytest.mark.proof


class Asking:
    """A client that asks on one connection over and over, and connects again only where the server says that it closes."""

    def __init__(self, running: Running) -> None:
        self.statuses: list[int] = []
        self.broken: list[str] = []
        self.versions: set[str] = set()
        self._stop = False
        self._thread = threading.Thread(target=self._ask, args=(running.port,))
        self._thread.start()

    def _ask(self, port: int) -> None:
        import http.client

        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        while not self._stop:
            try:
                connection.request("POST", "/v2/models/lenet/infer", bytes(784), {"Inference-Header-Content-Length": "0"})
                reply = connection.getresponse()
                body = reply.read()
                self.statuses.append(reply.status)
                self.versions.add(json.loads(body[: int(reply.headers["Inference-Header-Content-Length"])])["model_version"])
            except OSError as error:
                self.broken.append(repr(error))
                connection.close()

    def stop(self) -> None:
        self._stop = True
        self._thread.join(30)


def refuses(port: int) -> bool:
    """Say whether nothing takes connections there."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


def has_ended(pid: int) -> bool:
    """Say whether a process is gone, or is only waited for."""
    try:
        return not Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return True


def test_sigterm_ends_it_after_what_is_in_progress(serve: Callable[..., Running]) -> None:
    running = serve(LENET)
    head = b"POST /v2/models/lenet/infer HTTP/1.1\r\nHost: localhost\r\nInference-Header-Content-Length: 0\r\nContent-Length: 784\r\n\r\n"
    with socket.create_connection(("127.0.0.1", running.port), timeout=10) as client:
        client.sendall(head + bytes(700))
        time.sleep(0.2)
        running.process.send_signal(signal.SIGTERM)
        until(lambda: refuses(running.port))
        client.sendall(bytes(84))
        reply = client.recv(65536)
    assert b"200 OK" in reply and b"connection: close" in reply
    assert running.process.wait(20) == 0
    assert not any("error" in line for line in running.errors)


def test_ctrl_c_ends_it(serve: Callable[..., Running]) -> None:
    running = serve(LENET, "--workers", 2)
    running.process.send_signal(signal.SIGINT)
    assert running.process.wait(20) == 130
    until(lambda: "error: interrupted\n" in running.errors)


def test_workers_end_with_their_parent(serve: Callable[..., Running]) -> None:
    running = serve(LENET, "--workers", 2)
    pids = running.workers()
    running.process.kill()
    until(lambda: all(has_ended(pid) for pid in pids))


def test_a_worker_that_dies_is_replaced(serve: Callable[..., Running]) -> None:
    running = serve(LENET, "--workers", 2)
    first = running.workers()
    for _ in range(10):
        assert running.infer(bytes(784)).status == 200
    answered = 'mnist_edge_requests_total{path="infer",code="200"} 10\n'
    until(lambda: answered in running.ask("/metrics").body.decode())  # a request is counted once it is answered
    os.kill(first[0], signal.SIGKILL)
    now = until(lambda: len(running.workers()) == 2 and first[0] not in running.workers() and running.workers())
    assert first[1] in now
    until(lambda: any("ended (SIGKILL); another takes its place" in line for line in running.errors))
    until(lambda: "mnist_edge_worker_starts_total 3\n" in running.ask("/metrics").body.decode())
    assert answered in running.ask("/metrics").body.decode()


def test_a_new_version_is_taken_up_and_no_request_is_lost(serve: Callable[..., Running], tmp_path: Path) -> None:
    """The artifact changes on the disk; nothing happens until SIGHUP; then both workers are exchanged under load."""
    shutil.copytree(LENET, tmp_path / "models" / "lenet")
    target = tmp_path / "models" / "lenet"
    running = serve(target, "--workers", 2)
    (before,) = running.ask("/v2/models/lenet").json()["versions"]
    publish_int8(target)
    old = set(running.workers())
    clients = [Asking(running) for _ in range(4)]
    time.sleep(0.3)
    assert running.ask("/v2/models/lenet").json()["versions"] == [before]
    running.process.send_signal(signal.SIGHUP)
    until(lambda: not old & set(running.workers()) and len(running.workers()) == 2, 60)
    time.sleep(0.3)
    for client in clients:
        client.stop()
    assert [client.broken for client in clients] == [[]] * 4
    assert {status for client in clients for status in client.statuses} == {200}
    (after,) = running.ask("/v2/models/lenet").json()["versions"]
    assert after != before and set.union(*(client.versions for client in clients)) == {before, after}
    assert until(lambda: [line for line in running.errors if "the workers were replaced; now serving: lenet" in line])


def test_workers_are_neither_too_many_nor_of_two_versions(serve: Callable[..., Running], tmp_path: Path) -> None:
    """A worker dies while others are exchanged; then one dies after the files were exchanged without SIGHUP."""
    target = tmp_path / "models" / "lenet"
    shutil.copytree(LENET, target)
    as_if_made_elsewhere(target, platform=elsewhere())
    running = serve(target, "--workers", 2)
    old = running.workers()
    running.process.send_signal(signal.SIGHUP)
    until(lambda: len(running.workers()) > 2)
    os.kill(old[0], signal.SIGKILL)  # the one whose place is to be taken
    until(lambda: [line for line in running.errors if "the workers were replaced" in line], 60)
    until(lambda: len([line for line in running.errors if line.startswith("warning: lenet.onnx: not proven with")]) == 2)  # said again
    until(lambda: len(running.workers()) == 2 and not set(old) & set(running.workers()))
    time.sleep(1)
    assert len(running.workers()) == 2
    (before,) = running.ask("/v2/models/lenet").json()["versions"]
    publish_int8(target)
    middle = running.workers()
    os.kill(middle[0], signal.SIGKILL)
    until(lambda: [line for line in running.errors if "not the versions that are served; the workers are being replaced" in line])
    until(lambda: len(running.workers()) == 2 and not set(middle) & set(running.workers()), 60)
    for _ in range(10):
        assert running.ask("/v2/models/lenet").json()["versions"] != [before]


def publish_int8(target: Path) -> None:
    """Give a copy of LeNet a new version: its int8 artifact in place of the usual one; other bytes, and still PyTorch's answers."""
    from mnist_edge.common.files import sha256_bytes

    manifest = json.loads((target / "manifest.json").read_text())
    manifest["artifacts"] = [one for one in manifest["artifacts"] if one["file"] == "lenet.int8-static.onnx"]
    del manifest["sha256"]
    manifest["sha256"] = sha256_bytes(json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode())
    (target / "manifest.json").write_text(json.dumps(manifest))


def test_a_damaged_new_version_is_not_taken_up(serve: Callable[..., Running], tmp_path: Path) -> None:
    shutil.copytree(LENET, tmp_path / "lenet")
    running = serve(tmp_path / "lenet", "--workers", 2)
    workers = running.workers()
    artifact = tmp_path / "lenet" / "lenet.onnx"
    whole = artifact.read_bytes()
    artifact.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert running.infer(bytes(784)).status == 200
    running.process.send_signal(signal.SIGHUP)
    until(lambda: [line for line in running.errors if "the ones before it keep running" in line and "refused, its SHA-256 is" in line])
    time.sleep(1.5)  # it is tried once, and not for each worker
    assert len([line for line in running.errors if line.startswith("error: ")]) == 1
    assert running.workers() == workers and running.infer(bytes(784)).status == 200
    for worker in workers:  # now there is none, until the file is mended
        os.kill(worker, signal.SIGKILL)
    until(lambda: [line for line in running.errors if "no other is left; trying again" in line])
    artifact.write_bytes(whole)
    until(lambda: running.workers() and running.infer(bytes(784)).status == 200, 60)


@pytest.mark.parametrize(
    ("damage", "code", "words"),
    [
        ("artifact", 1, "lenet.onnx: refused, its SHA-256 is"),
        ("golden", 1, "golden.npz: refused"),
        ("manifest", 1, "manifest.json"),
        ("answers", 3, "does not answer as PyTorch did"),
    ],
)
def test_it_does_not_start_with_what_is_not_sound(run_process: Command, tmp_path: Path, damage: str, code: int, words: str) -> None:
    folder = tmp_path / "models" / "lenet"
    shutil.copytree(LENET, folder)
    file = folder / {"artifact": "lenet.onnx", "golden": "golden.npz", "manifest": "manifest.json", "answers": "golden.npz"}[damage]
    if damage == "answers":
        from mnist_edge.common.files import sha256_bytes
        from mnist_edge.proof.golden import Golden

        golden = Golden.read(file)
        file.write_bytes(Golden(golden.pixels, np.roll(golden.logits, 1, axis=1)).to_bytes())
        manifest = json.loads((folder / "manifest.json").read_text())
        manifest["golden"]["sha256"] = sha256_bytes(file.read_bytes())
        manifest["golden"]["bytes"] = file.stat().st_size
        del manifest["sha256"]
        manifest["sha256"] = sha256_bytes(json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode())
        (folder / "manifest.json").write_text(json.dumps(manifest))
    else:
        content = file.read_bytes()
        file.write_bytes(content[:50] + bytes([content[50] ^ 1]) + content[51:])
    done = run_process("serve", folder, "--port", 0, "--workers", 2, check=code)
    assert done.stdout == "" and done.stderr.splitlines()[-1].startswith("error: ") and words in done.stderr
    assert "Traceback" not in done.stderr


def test_it_says_that_nothing_proves_this_machine(serve: Callable[..., Running], run_process: Command, tmp_path: Path) -> None:
    shutil.copytree(LENET, tmp_path / "lenet")
    as_if_made_elsewhere(tmp_path / "lenet", platform=elsewhere())
    running = serve(tmp_path / "lenet")
    lines = until(lambda: [line for line in running.errors if line.startswith("warning: ")])
    assert len(lines) == 1 and "lenet.onnx: not proven with" in lines[0]
    done = run_process("serve", tmp_path / "lenet", "--port", 0, "--require-proof", check=3)
    assert "not proven with" in done.stderr


def test_a_port_that_is_taken(run_process: Command) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run_process("serve", LENET, "--port", port, check=2)
    assert f"error: port {port} of 127.0.0.1 cannot be used: Address already in use; --port names another" in done.stderr


def test_a_full_disk_stops_neither_the_start_nor_the_answers(tmp_path: Path) -> None:
    port = free_port()
    with Path("/dev/full").open("w") as full, (tmp_path / "errors").open("w") as errors:
        process = subprocess.Popen([COMMAND, "serve", str(LENET), "--port", str(port)], stdout=full, stderr=errors)
        try:
            running = Running(process, port)
            until(lambda: process.poll() is not None or "serving" in (tmp_path / "errors").read_text())
            assert process.poll() is None, (tmp_path / "errors").read_text()
            for _ in range(20):
                assert running.infer(bytes(784)).status == 200
        finally:
            process.terminate()
            assert process.wait(20) == 0
    assert "cannot be written to standard output: No space left on device" in (tmp_path / "errors").read_text()


def test_a_log_that_nobody_reads_stops_no_answers(tmp_path: Path) -> None:
    """Standard output is a pipe that is full."""
    port = free_port()
    reader, writer = os.pipe()
    with (tmp_path / "errors").open("w") as errors:
        process = subprocess.Popen([COMMAND, "serve", str(LENET), "--port", str(port)], stdout=writer, stderr=errors)
    try:
        running = Running(process, port)
        until(lambda: process.poll() is not None or "serving" in (tmp_path / "errors").read_text())
        for _ in range(250):  # 2.5 MB of log
            assert running.ask("/" + "x" * 10_000).status == 404
        text = running.ask("/metrics").body.decode()
        assert int(text.partition("\nmnist_edge_log_lines_dropped_total ")[2].split()[0]) > 50
        os.set_blocking(reader, False)
        got = b""

        def newest() -> bool:
            nonlocal got
            with suppress(BlockingIOError):
                while part := os.read(reader, 65536):
                    got += part
            return b'"path":"/metrics"' in got

        time.sleep(0.5)
        newest()  # from here on there is room again
        running.ask("/metrics")
        until(newest)
        for line in got.splitlines()[1:]:
            assert json.loads(line)["path"]
    finally:
        process.terminate()
        assert process.wait(20) == 0
        os.close(reader)
        os.close(writer)


def test_too_few_open_files_are_said_once(tmp_path: Path) -> None:
    port = free_port()
    with (tmp_path / "errors").open("w") as errors:
        script = f"ulimit -n 48; exec '{COMMAND}' serve '{LENET}' --port {port} --no-log"
        process = subprocess.Popen(["bash", "-c", script], stdout=subprocess.DEVNULL, stderr=errors)
    clients = []
    try:
        until(lambda: process.poll() is not None or "serving" in (tmp_path / "errors").read_text())
        clients = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(80)]
        time.sleep(1.5)
        answers = [read_all(client) for client in clients[40:]]  # beyond what a process with 48 files can take
        for client in clients:
            client.close()
        running = Running(process, port)
        until(lambda: running.ask("/v2/health/live").status == 200)
    finally:
        process.terminate()
        process.wait(20)
    assert [answer for answer in answers if b"there are too many connections" not in answer] == []
    lines = (tmp_path / "errors").read_text().splitlines()
    assert len(lines) < 10 and any("may have 48 open files here, so each worker takes" in line for line in lines)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--all", "lenet"], "--all and names of models cannot be used together"),
        (["--host", "no.such.host.invalid"], "no.such.host.invalid is not an address of this machine"),
        (["--host", "a..b"], "a..b is not an address of this machine: it is not a host name; --host names another"),
        (["--host", "8.8.8.8"], "8.8.8.8 is not an address of this machine; --host names another"),
        (["--max-buffered", "0.001"], "--max-buffered 0.001 is less than --max-body 8"),
        (["--token-file", "none"], "none: No such file or directory; --token-file names a file with a token"),
        (["--max-body", "nan"], "not a finite number"),
        (["--runtime", "other"], "unknown runtime 'other'"),
        (["lenet", "lenet"], "lenet is named twice; name it once"),
        (["nothing"], "unknown model 'nothing'"),
    ],
)
def test_wrong_usage(run_process: Command, arguments: list[str], words: str) -> None:
    assert words in run_process("serve", *arguments, "--port", 0, check=2).stderr


def test_a_short_token_is_refused(run_process: Command) -> None:
    done = run_process("serve", "--port", 0, env={"MNIST_EDGE_TOKEN": "short"}, check=2)
    assert "MNIST_EDGE_TOKEN: a token is at least 8 ASCII characters" in done.stderr


def test_without_the_extra_it_says_how_to_install_it(run_process: Command, tmp_path: Path) -> None:
    (tmp_path / "uvicorn.py").write_text("")
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['uvicorn'] = None\n")
    done = run_process("serve", env={"PYTHONPATH": str(tmp_path)}, check=1)
    assert done.stderr == "error: mnist-edge serve needs uvicorn, which is not installed; run: pip install 'mnist-edge[serve]'\n"


def test_the_server_loads_no_torch(serve: Callable[..., Running]) -> None:
    running = serve(LENET)
    (worker,) = running.workers()
    for pid, foreign in ((running.process.pid, ("numpy", "onnxruntime", "torch")), (worker, ("torch",))):
        mapped = Path(f"/proc/{pid}/maps").read_text()
        assert [name for name in foreign if f"/{name}/" in mapped] == []


def test_json_for_programs(run_process: Command, serve: Callable[..., Running]) -> None:
    done = run_process("serve", LENET, "--json", "--port", 0, "--max-headers", 5, check=2)
    assert json.loads(done.stdout)["exit_code"] == 2


def test_a_clock_that_jumps_changes_nothing_but_the_time_in_the_log(serve: Callable[..., Running], tmp_path: Path) -> None:
    library = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
    if library is None:
        lacking("libfaketime is not installed")
    clock = tmp_path / "clock"
    clock.write_text("+0")
    faked = {"FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    running = serve(LENET, "--workers", "2", env={"LD_PRELOAD": str(library)} | faked)
    asking = Asking(running)
    years = {}
    try:
        for jump in ("+3650d", "-3650d"):
            clock.write_text(jump)
            replaced = running.workers()[0]
            os.kill(replaced, signal.SIGKILL)
            until(lambda gone=replaced: len(running.workers()) == 2 and gone not in running.workers())
            answer = running.infer(bytes(784), X_Request_Id=f"jump{jump}")
            assert answer.status == 200
            years[jump] = int(running.log(lambda line, wanted=f"jump{jump}": line.get("id") == wanted)["time"][:4])
    finally:
        asking.stop()
    assert years["+3650d"] - years["-3650d"] in (19, 20), "the clock did jump"
    assert set(asking.statuses) == {200}
    assert all(0 <= json.loads(line)["ms"] < 10_000 for line in running.lines)
    assert running.stop() == 0
