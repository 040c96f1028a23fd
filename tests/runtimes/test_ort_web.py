"""onnxruntime-web: what is missing is named; the script under node keeps to the protocol whatever the library does."""

import json
import os
import re
import shutil
import struct
import subprocess
import sys
import time
from pathlib import Path

import graphs
import numpy as np
import pytest
from once import lacking

from mnist_edge.common.errors import MissingExtraError, ModelError
from mnist_edge.runtimes import RUNTIMES, ort_web

LENET = Path(__file__).resolve().parents[2] / "models" / "lenet" / "lenet.onnx"
WEB = RUNTIMES["ort-web"]
SCRIPT = Path(ort_web.__file__).with_suffix(".mjs")


def said() -> str:
    with pytest.raises(MissingExtraError) as caught:
        WEB.load(LENET)
    return str(caught.value)


def package(folder: Path, code: str = "") -> Path:
    """Write a package of that name."""
    place = folder / "node_modules" / "onnxruntime-web"
    place.mkdir(parents=True)
    (place / "package.json").write_text('{"version": "9.8.7", "main": "main.js"}')
    (place / "main.js").write_text(code)
    return folder


def test_the_package_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    for program in ("node", "npm"):
        (tmp_path / "bin" / program).write_text("#!/bin/sh\n")
        (tmp_path / "bin" / program).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    folder = tmp_path / "a folder"
    monkeypatch.setenv("MNIST_EDGE_ORT_WEB_DIR", str(folder))
    install = f"npm install --ignore-scripts --prefix '{folder}' onnxruntime-web@1.30.0"
    assert said() == f"runtime ort-web needs onnxruntime-web, which is not installed; run: {install}"
    assert WEB.missing() == {"onnxruntime-web": install}
    monkeypatch.delenv("MNIST_EDGE_ORT_WEB_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert said().endswith(f"run: npm install --ignore-scripts --prefix {tmp_path}/cache/mnist-edge/ort-web onnxruntime-web@1.30.0")


def test_node_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("MNIST_EDGE_ORT_WEB_DIR", str(package(tmp_path)))
    assert said() == "runtime ort-web needs node, which is not installed; run: apt-get install nodejs"
    with pytest.raises(MissingExtraError, match="needs node"):
        ort_web.version()
    monkeypatch.setenv("MNIST_EDGE_ORT_WEB_DIR", str(tmp_path / "none"))
    assert (
        "needs node, npm and onnxruntime-web, which are not installed; run: apt-get install nodejs && apt-get install npm && npm install"
        in said()
    )


def test_a_package_in_the_working_folder_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody named it, so it may be anybody's code."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("MNIST_EDGE_ORT_WEB_DIR", raising=False)
    monkeypatch.chdir(package(tmp_path))
    assert "onnxruntime-web" in WEB.missing()


def test_a_user_without_a_home_is_told_where_to_put_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MNIST_EDGE_ORT_WEB_DIR", raising=False)
    monkeypatch.setattr(ort_web, "cache_dir", lambda: None)
    assert WEB.missing()["onnxruntime-web"].startswith(
        "export MNIST_EDGE_ORT_WEB_DIR=/opt/ort-web && npm install --ignore-scripts --prefix /opt/ort-web "
    )


def test_its_script_is_a_file_of_the_package() -> None:
    assert SCRIPT.is_file() and SCRIPT.parent == Path(sys.modules["mnist_edge.runtimes"].__file__ or "").parent


@pytest.fixture
def web() -> str:
    """The folder that has node_modules, with node on the path."""
    if missing := WEB.missing():
        lacking(f"needs {', '.join(missing)}; run: make runtimes")
    return str(ort_web._folder())


def start(folder: Path | str, file: Path = LENET, threads: int = 1, stdin: int = subprocess.PIPE) -> "subprocess.Popen[bytes]":
    command = ["node", SCRIPT, folder, file, str(threads)]
    return subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def question(count: int) -> bytes:
    return struct.pack("<I", count) + bytes(784 * count)


@pytest.mark.proof
def test_it_tells_its_version_and_that_of_node(web: str) -> None:
    assert re.fullmatch(r"onnxruntime-web \d+\.\d+\.\d+ \(node \d+\.\d+\)", ort_web.version())


@pytest.mark.proof
@pytest.mark.parametrize("blocking", [True, False])
def test_a_question_may_come_in_pieces_and_the_end_of_them_ends_it(web: str, blocking: bool) -> None:
    theirs, ours = os.pipe()
    os.set_blocking(theirs, blocking)
    process = start(web, stdin=theirs)
    os.close(theirs)
    assert process.stdout and process.stderr
    about = json.loads(process.stdout.readline())
    assert about["inputs"][0]["name"] == "pixels"
    asked = question(1)
    for piece in (asked[:1], asked[1:3], asked[3:5], asked[5:400], asked[400:] + asked[:2], asked[2:]):
        os.write(ours, piece)
        time.sleep(0.05)
    first, second = (process.stdout.read(8 + 40) for _ in range(2))
    assert first == second and struct.unpack("<II", first[:8]) == (1, 10)
    os.close(ours)
    assert process.stdout.read() == b"" and process.wait(10) == 0, process.stderr.read()


@pytest.mark.proof
@pytest.mark.parametrize("sent", [b"\x01", question(1)[:4], question(2)[:1000]])
def test_a_question_that_breaks_off_is_an_error_and_no_answer(web: str, sent: bytes) -> None:
    process = start(web)
    out, err = process.communicate(sent, timeout=30)
    assert len(out.splitlines()) == 1 and process.returncode != 0 and b"the input ended" in err


@pytest.mark.proof
def test_a_batch_that_fails_is_a_message_and_the_next_one_is_answered(web: str, tmp_path: Path) -> None:
    run = WEB.load(graphs.linear(tmp_path / "five.onnx", rows=5))
    pixels = np.random.default_rng(1).integers(0, 256, (5, 1, 28, 28), np.uint8)
    before = run(pixels)
    with pytest.raises(ModelError, match=r"five\.onnx: .*[Rr]eshape") as caught:
        run(pixels[:3])
    assert "\n" not in str(caught.value)
    assert np.array_equal(run(pixels), before)


#: Prints wherever it can, and answers with the number of the image.
NOISY = """
const noise = () => {
  console.log('log'); console.warn('warn'); console.info('info'); process.stdout.write('stdout\\n');
  require('fs').writeSync(1, 'fs\\n'); require('node:fs').writeSync(1, Buffer.from('buffer\\n'), 0);
};
noise();
const about = (name, type, shape) => [{ name, isTensor: true, type, shape }];
exports.env = { wasm: {}, versions: { web: '9.8.7' } };
exports.Tensor = class { constructor(type, data, dims) { this.dims = dims; } };
exports.InferenceSession = { create: async () => { noise(); (await import('node:fs')).writeSync(1, 'imported\\n'); return {
  inputMetadata: about('pixels', 'uint8', ['N', 1, 28, 28]), outputMetadata: about('logits', 'float32', ['N', 10]),
  run: async ({ pixels }) => { noise(); const n = pixels.dims[0]; return { logits: { dims: [n, 10], data: new Float32Array(10 * n).fill(n) } }; },
}; } };
"""


@pytest.mark.proof
def test_whatever_the_library_prints_an_answer_is_an_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("node") is None:
        lacking("needs node; run: make runtimes")
    monkeypatch.setenv("MNIST_EDGE_ORT_WEB_DIR", str(package(tmp_path, NOISY)))
    run = WEB.load(LENET)
    for count in (1, 3, 0, 2):
        answer = run(np.zeros((count, 1, 28, 28), np.uint8))
        assert answer.shape == (count, 10) and (answer == count).all()
    assert ort_web.version().startswith("onnxruntime-web 9.8.7 (node ")


@pytest.mark.proof
def test_a_library_that_cannot_be_loaded_says_so_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("node") is None:
        lacking("needs node; run: make runtimes")
    monkeypatch.setenv("MNIST_EDGE_ORT_WEB_DIR", str(package(tmp_path, "throw new Error('broken\\nby design')")))
    with pytest.raises(ModelError) as caught:
        WEB.load(LENET)
    assert str(caught.value) == f"{LENET}: onnxruntime-web: broken by design"


@pytest.mark.proof
def test_two_threads_answer_as_one(web: str) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (64, 1, 28, 28), np.uint8)
    answers = []
    for threads in (1, 2):
        process = start(web, threads=threads)
        out, err = process.communicate(struct.pack("<I", 64) + pixels.tobytes(), timeout=60)
        assert process.returncode == 0, err
        answers.append(np.frombuffer(out.partition(b"\n")[2][8:], "<f4"))
    assert len(answers[0]) == 640 and np.allclose(answers[0], answers[1], atol=1e-4)


@pytest.mark.proof
def test_it_writes_nothing_into_the_home_folder(web: str, tmp_path: Path) -> None:
    environment = os.environ | {"HOME": str(tmp_path), "MNIST_EDGE_ORT_WEB_DIR": web}
    code = (
        "from pathlib import Path; import numpy as np; from mnist_edge.runtimes import RUNTIMES\n"
        f"RUNTIMES['ort-web'].load(Path({str(LENET)!r}))(np.zeros((1, 1, 28, 28), np.uint8))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    assert list(tmp_path.iterdir()) == []
