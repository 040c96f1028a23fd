"""An x86 processor without VNNI, emulated: int8 kernels there add in 16 bits, which overflow unless the weights leave a bit."""

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from once import lacking

from exporters import Calibration, gate
from mnist_edge import store
from mnist_edge.dataset import Dataset

QEMU = shutil.which("qemu-x86_64")

pytestmark = pytest.mark.proof


@pytest.fixture(scope="module", autouse=True)
def _emulator() -> None:
    if QEMU is None or platform.machine() != "x86_64":
        lacking("needs qemu-x86_64 (Debian: qemu-user), on x86-64")


def verify(model: store.Model) -> tuple[int, dict[str, str]]:
    """Run ``verify --quick`` on a Haswell of 2013: AVX2, neither AVX-512 nor VNNI."""
    command = [
        str(QEMU),
        "-cpu",
        "Haswell-v4",
        sys.executable,
        "-m",
        "mnist_edge",
        "verify",
        str(model.folder),
        "--quick",
        "--runtime",
        "ort",
    ]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False, env=os.environ)
    return done.returncode, {a["file"]: a["state"] for a in json.loads(done.stdout)["artifacts"]}


def test_every_precision_answers_there_as_here(reduced: store.Model) -> None:
    code, states = verify(reduced)
    assert code == 0
    assert set(states.values()) == {"passed"}
    assert len(states) == 4


def test_weights_of_eight_bits_are_found_out(
    models: Path, drawn_train: Dataset, drawn_test: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnxruntime.quantization as quantization

    real = quantization.quantize_static
    monkeypatch.setattr(quantization, "quantize_static", lambda *args, **options: real(*args, **(options | {"reduce_range": False})))
    model = store.find("lenet", models)
    model, proof = gate.export(
        model, "onnx", drawn_test, precision="int8-static", calibration=Calibration.draw(drawn_train, 100), max_accuracy_drop=0.05
    )
    assert proof.artifact is not None
    code, states = verify(model)
    assert code == 3
    assert states["lenet.int8-static.onnx"] == "FAILED"
    assert states["lenet.onnx"] == "passed"
