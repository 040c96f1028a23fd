"""OpenVINO: what it would do by itself, and is kept from."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import openvino as ov
import pytest

from mnist_edge.runtimes import openvino

LENET = Path(__file__).resolve().parents[2] / "models" / "lenet" / "lenet.onnx"

#: Notes each look-up, each program that is started and each file that is opened for writing, also in processes that are forked.
WATCH = """
import os, sys
log = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY | os.O_APPEND)
def hook(event, arguments):
    if event.startswith("socket.get") or event in ("socket.connect", "subprocess.Popen", "os.fork", "os.mkdir"):
        os.write(log, f"{event} {arguments}\\n".encode())
        if event.startswith("socket."):
            raise OSError("no network in a test")
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR):
        os.write(log, f"{event} {arguments}\\n".encode())
sys.addaudithook(hook)
"""


def test_its_import_looks_up_no_host_and_writes_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    code = f"""{WATCH}
before = dict(os.environ)
from pathlib import Path
import numpy as np
from mnist_edge.runtimes import openvino
assert openvino.load(Path({str(LENET)!r}))(np.zeros((1, 1, 28, 28), np.uint8)).shape == (1, 10)
assert dict(os.environ) == before
assert "openvino_telemetry" not in sys.modules
import openvino_telemetry  # whoever wants it finds it
"""
    left_out = ("CI", "JENKINS_URL", "TF_BUILD", "XDG_", "PYTHON")  # what would stop telemetry by itself, or move the home folder
    environment = {k: v for k, v in os.environ.items() if not k.startswith(left_out)} | {"HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "log"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "log").read_text() == ""
    assert list(home.iterdir()) == []
    assert done.stdout == done.stderr == ""


def test_float32_and_the_number_of_threads_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a processor without bfloat16 the answers would not tell."""
    compiled: list[Any] = []

    class Core(ov.Core):
        def compile_model(self, *arguments: Any, **options: Any) -> Any:
            compiled.append(super().compile_model(*arguments, **options))
            return compiled[0]

    monkeypatch.setattr(ov, "Core", Core)
    openvino.load(LENET, 1)
    assert compiled[0].get_property("INFERENCE_PRECISION_HINT") == ov.Type.f32
    assert compiled[0].get_property("INFERENCE_NUM_THREADS") == 1


def test_it_tells_what_it_finds_in_the_processor() -> None:
    found = openvino.processor()
    assert "FP32" in found and list(found) == sorted(found)
