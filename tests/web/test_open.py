"""``mnist-edge open``: what it serves, to whom, and what it refuses."""

import json
import os
import shutil
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pages
import pytest
from conftest import COMMAND, Command
from once import once

from mnist_edge import store
from mnist_edge.common.trees import read_tree
from mnist_edge.store import publishing

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with LeNet and two pages, put there without the gate."""

    def make(folder: Path) -> None:
        shutil.copytree(pages.LENET.folder, folder / "models" / "lenet")
        model = store.Model.read(folder / "models" / "lenet")
        for precision, file in (("float32", "lenet.web"), ("int8-static", "lenet.int8-static.web")):
            aside = pages.write(folder / file, precision)
            tree = read_tree(aside)
            (onnx,) = (one for one in model.artifacts if (one.format, one.precision) == ("onnx", precision))
            proofs = (replace(onnx.proofs[0], artifact=tree.sha256, runtime="wasm"),)
            record = replace(onnx, file=file, sha256=tree.sha256, bytes=tree.bytes, members=tree.members, format="web", proofs=proofs)
            model, _ = publishing.publish_artifact(model, aside, replace(record, runtime="wasm"), lambda manifest: manifest, True)

    return once(tmp_path_factory, "published-pages", make) / "models"


@pytest.fixture
def models(published: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(published, tmp_path / "models"))


@contextmanager
def opened(models: Path, *more: str, env: dict[str, str] | None = None) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MNIST_EDGE_")} | (env or {})
    command = [COMMAND, "open", "lenet", "--models-dir", models, *more]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        assert process.stdout
        yield process.stdout.readline().strip(), process
    finally:
        process.kill()
        process.communicate()


def ask(url: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    request = urllib.request.Request(url, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as reply:
            return reply.status, dict(reply.headers), reply.read()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read()


def test_it_serves_the_smallest_page_and_nothing_else(models: Path) -> None:
    page = models / "lenet" / "lenet.int8-static.web"
    with opened(models, "--no-browser") as (url, _):
        assert url.startswith("http://127.0.0.1:")
        kinds = {"index.html": "text/html", "page.js": "text/javascript", "page.css": "text/css", "model.wasm": "application/wasm"}
        for name in ("", *(path.name for path in page.iterdir())):
            status, headers, content = ask(url + name)
            assert (status, content) == (200, (page / (name or "index.html")).read_bytes())
            assert headers["Content-Type"].startswith(kinds.get(name or "index.html", ""))
            assert "default-src 'none'" in headers["Content-Security-Policy"] and headers["X-Content-Type-Options"] == "nosniff"
        status, headers, content = ask(url, "HEAD")
        assert (status, content) == (200, b"") and int(headers["Content-Length"]) == (page / "index.html").stat().st_size
        for wrong in (
            "manifest.json",
            "..%2fmanifest.json",
            "../manifest.json",
            "%2e%2e/manifest.json",
            "//etc/passwd",
            "page.js/",
            "nothing",
        ):
            assert ask(url + wrong)[0] == 404, wrong
        for method in ("POST", "PUT", "DELETE", "OPTIONS"):
            assert ask(url, method)[0] == 405, method


def test_another_name_for_this_machine_is_refused(models: Path) -> None:
    """As when a website points its own name here (DNS rebinding)."""
    with opened(models, "--no-browser") as (url, _):
        port = url.rstrip("/").rpartition(":")[2]
        assert ask(url, Host=f"evil.example:{port}")[0] == 421
        assert ask(url, Host=f"localhost:{port}")[0] == 200


def test_other_machines_cannot_reach_it(models: Path) -> None:
    with opened(models, "--no-browser") as (url, _):
        port = int(url.rstrip("/").rpartition(":")[2])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect(("192.0.2.1", 9))  # nothing is sent; it only chooses this machine's own address
            except OSError:
                pytest.skip("this machine has no other address")
            own = probe.getsockname()[0]
        if own.startswith("127."):
            pytest.skip("this machine has no other address")
        with socket.socket() as other:
            assert other.connect_ex((own, port)) != 0


def test_ctrl_c_ends_it(models: Path) -> None:
    with opened(models, "--no-browser") as (url, process):
        assert ask(url)[0] == 200
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=20)
    assert (process.returncode, output) == (130, "")
    assert errors.endswith("error: interrupted\n") and "serving lenet.int8-static.web; Ctrl-C ends it" in errors


def test_the_address_is_a_document(models: Path) -> None:
    with opened(models, "--no-browser", "--json") as (first, process):
        assert process.stdout
        text = first
        while text.count("{") != text.count("}"):
            text += process.stdout.readline()
    assert json.loads(text) | {"url": ""} == {"model": "lenet", "artifact": "lenet.int8-static.web", "url": ""}


def test_the_browser_is_opened(models: Path, tmp_path: Path) -> None:
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/seen.part && mv {tmp_path}/seen.part {tmp_path}/seen\n')
    browser.chmod(0o755)
    with opened(models, env={"BROWSER": f"{browser} %s"}) as (url, process):
        assert process.stderr
        for _ in range(200):
            if (tmp_path / "seen").exists():
                break
            process.poll()
            ask(url)
        assert (tmp_path / "seen").read_text().strip() == url


def test_without_a_browser_it_says_so_and_goes_on(models: Path, tmp_path: Path) -> None:
    with opened(models, env={"BROWSER": str(tmp_path / "none"), "PATH": str(tmp_path), "DISPLAY": ""}) as (url, process):
        assert ask(url)[0] == 200
        process.send_signal(signal.SIGINT)
        errors = process.communicate(timeout=20)[1]
    assert "warning: no browser could be opened here; open the address yourself" in errors


def test_a_page_can_be_named(models: Path, run_command: Command) -> None:
    with opened(models, "--no-browser", env={}) as (url, _):
        assert url
    done = run_command("open", models / "lenet" / "lenet.onnx", "--no-browser", check=1)
    assert "lenet.onnx: in format onnx, and only a page can be opened; make one: mnist-edge export" in done.stderr


def test_a_damaged_page_is_refused(models: Path, run_command: Command) -> None:
    module = models / "lenet" / "lenet.int8-static.web" / "model.wasm"
    module.write_bytes(module.read_bytes()[:-1] + b"\0")
    done = run_command("open", "lenet", "--models-dir", models, "--no-browser", check=1)
    assert "lenet.int8-static.web: refused, model.wasm has changed" in done.stderr
    assert "--format web --quantize static" in done.stderr


def test_without_a_page_it_says_how_to_make_one(tmp_path: Path, run_command: Command) -> None:
    shutil.copytree(pages.LENET.folder, tmp_path / "models" / "lenet")
    done = run_command("open", "lenet", "--no-browser", "--models-dir", tmp_path / "models", check=1)
    assert (
        done.stderr
        == f"error: {tmp_path}/models/lenet: no page to open; make one: mnist-edge export {tmp_path}/models/lenet --format web\n"
    )


def test_a_port_that_is_taken(models: Path, run_command: Command) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run_command("open", "lenet", "--no-browser", "--models-dir", models, "--port", str(port), check=2)
    assert f"port {port} cannot be used: Address already in use; choose another with --port, or leave it out" in done.stderr
