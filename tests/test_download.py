"""Downloading, against a server on this machine."""

import gzip
import hashlib
import http.server
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from test_dataset import write_idx
from torchvision.datasets import MNIST

from mnist_edge.cli.common import Output
from mnist_edge.cli.train import load_data
from mnist_edge.common.errors import DataError
from mnist_edge.dataset import download, load
from mnist_edge.dataset.download import ensure_mnist


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    raw = write_idx(tmp_path / "served", suffix=".gz")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=raw)) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}", raw
        httpd.shutdown()


@pytest.fixture(autouse=True)
def no_other_mirrors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MNIST, "mirrors", [])


def trust(served: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    md5s = [(file, hashlib.md5((served / file).read_bytes()).hexdigest()) for file, _ in MNIST.resources]
    monkeypatch.setattr(MNIST, "resources", md5s)


def test_downloads_all_four_files_and_then_needs_no_server(
    server: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, raw = server
    trust(raw, monkeypatch)
    folder = ensure_mnist(tmp_path / "data", url)
    assert sorted(p.name for p in folder.iterdir()) == sorted(gz.removesuffix(".gz") for gz, _ in MNIST.resources)
    first = MNIST.resources[0][0]
    assert gzip.decompress((raw / first).read_bytes()) == (folder / first.removesuffix(".gz")).read_bytes()
    assert len(load("mnist", "train", tmp_path / "data")) == 20
    assert ensure_mnist(tmp_path / "data", "http://127.0.0.1:9") == folder


def test_a_file_with_another_md5_is_refused_and_nothing_is_left(server: tuple[str, Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"download from http.*failed.*--data drawn"):
        ensure_mnist(tmp_path / "data", server[0])
    assert [p for p in (tmp_path / "data").rglob("*") if p.is_file()] == []


def test_a_server_that_never_answers_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    monkeypatch.setattr(download, "ANSWER_SECONDS", 2.0)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        started = time.monotonic()
        with pytest.raises(DataError, match="cannot be downloaded") as error:
            ensure_mnist(tmp_path, f"http://127.0.0.1:{listener.getsockname()[1]}")
        assert time.monotonic() - started < 10
    assert str(tmp_path) in str(error.value)


def test_a_missing_file_is_no_mirror(server: tuple[str, Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="(?i)not found"):
        ensure_mnist(tmp_path, f"{server[0]}/elsewhere")


def test_what_is_missing_is_fetched_and_what_is_there_is_kept(
    server: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, served = server
    trust(served, monkeypatch)
    raw = write_idx(tmp_path / "data", count=30)
    (raw / "train-images-idx3-ubyte").unlink()
    (raw / "train-labels-idx1-ubyte").unlink()
    (raw / "notes.txt").write_text("mine")
    assert ensure_mnist(tmp_path / "data", url) == raw
    assert len(load("mnist", "train", tmp_path / "data")) == 20
    assert len(load("mnist", "test", tmp_path / "data")) == 30
    assert (raw / "notes.txt").read_text() == "mine"


def test_a_training_says_that_it_fetches_what_is_missing(
    server: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url, served = server
    trust(served, monkeypatch)
    monkeypatch.setenv(download.MIRROR_VARIABLE, url)
    (write_idx(tmp_path / "data") / "t10k-labels-idx1-ubyte").unlink()
    said = []
    for _ in range(2):
        load_data("mnist", tmp_path / "data", Output(as_json=False))
        said.append("downloading it" in capsys.readouterr().err)
    assert said == [True, False]


@pytest.mark.parametrize("answer", [b"", b"rubbish\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\nshort"])
def test_a_server_that_breaks_off_is_one_error(answer: bytes, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(1000)
                    connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        with pytest.raises(DataError, match=r"--data drawn"):
            ensure_mnist(tmp_path, f"http://127.0.0.1:{listener.getsockname()[1]}")
    assert "Traceback" not in capfd.readouterr().err


def test_a_server_that_falls_silent_is_given_up_and_the_next_one_asked(
    server: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Nothing is printed, and no time limit is set for the rest of the program."""
    import socket

    url, served = server
    trust(served, monkeypatch)
    monkeypatch.setattr(MNIST, "mirrors", [f"{url}/"])
    monkeypatch.setattr(download, "STALL_SECONDS", 1.0)
    limits = []
    monkeypatch.setattr(socket, "setdefaulttimeout", limits.append)
    asked = []

    class Silent(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(200)
            self.end_headers()

        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", "99999")
            self.end_headers()
            self.wfile.write(b"a few bytes")
            self.wfile.flush()
            time.sleep(20)  # in a thread that ends with this process

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Silent) as silent:
        silent.daemon_threads = True
        threading.Thread(target=silent.serve_forever, daemon=True).start()
        ensure_mnist(tmp_path / "data", f"http://127.0.0.1:{silent.server_port}")
        silent.shutdown()
    assert len(asked) == 4
    assert len(load("mnist", "train", tmp_path / "data")) == 20
    assert limits == []
    assert capfd.readouterr() == ("", "")
