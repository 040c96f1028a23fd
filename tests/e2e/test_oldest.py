"""The oldest onnxruntime that the manifest names really serves the file, in every precision."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from once import install_apart, lacking, once

from exporters import gate
from mnist_edge import store
from mnist_edge.dataset import Dataset

pytestmark = pytest.mark.proof

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def python(tmp_path_factory: pytest.TempPathFactory, reduced: store.Model) -> Path:
    """A Python with the oldest onnxruntime, and the numpy that went with it; skipped where that does not install."""
    (oldest,) = {a.oldest_runtime.removeprefix("onnxruntime ") for a in reduced.artifacts if a.runtime == "ort"}

    def make(folder: Path) -> None:
        done = install_apart(folder, f"onnxruntime=={oldest}.*", "numpy<2", "pillow", "click")
        if done.returncode:
            lacking(f"onnxruntime {oldest} does not install here: {done.stderr.strip().splitlines()[-1]}")

    return once(tmp_path_factory, "oldest", make) / "bin" / "python"


def run(python: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [python, "-m", "mnist_edge", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=False)


def test_every_precision_answers_there_as_here(python: Path, reduced: store.Model) -> None:
    done = run(python, "verify", reduced.folder, "--quick", "--json")
    states = {a["file"]: (a["state"], a["reason"]) for a in json.loads(done.stdout)["artifacts"] if a["runtime"] == "ort"}
    assert len(states) == 4
    assert {state for state, _ in states.values()} == {"passed"}, states


def test_a_file_that_is_too_new_names_what_it_needs(python: Path, reduced: store.Model, tmp_path: Path, drawn_test: Dataset) -> None:
    model = store.Model.read(Path(shutil.copytree(reduced.folder, tmp_path / "newer")))
    _, proof = gate.export(model, "onnx", drawn_test, options={"opset": 23})
    assert proof.artifact is not None
    done = run(python, "predict", "docs/photo.jpg", "--model", model.folder / proof.artifact.file)
    assert done.returncode == 1
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "needs onnxruntime 1.23 or newer, 1.17." in error
