"""An environment with `pip install .` and nothing else: no torch anywhere."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import Quantized
from once import install_apart, once
from PIL import Image

pytestmark = pytest.mark.proof

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of a fresh environment."""

    def make(folder: Path) -> None:
        done = install_apart(folder, "-c", ROOT / "constraints.txt", ROOT)
        assert done.returncode == 0, done.stderr

    return once(tmp_path_factory, "edge", make) / "bin"


def run(
    edge: Path, cwd: Path, *arguments: str | Path, check: int = 0, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | (env or {})
    done = subprocess.run(
        [edge / "mnist-edge", *map(str, arguments)], capture_output=True, text=True, cwd=cwd, check=False, env=environment
    )
    assert done.returncode == check, (arguments, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done


def test_the_script_for_node_is_in_the_wheel(edge: Path) -> None:
    code = "from importlib.resources import files; print((files('mnist_edge.runtimes') / 'ort_web.mjs').is_file())"
    assert subprocess.run([edge / "python", "-c", code], capture_output=True, text=True, check=True, cwd=edge).stdout == "True\n"


def test_the_harness_of_the_chips_is_in_the_wheel(edge: Path) -> None:
    code = "from importlib.resources import files; print(*sorted(one.name for one in files('mnist_edge.runtimes.chips').iterdir()))"
    names = subprocess.run([edge / "python", "-c", code], capture_output=True, text=True, check=True, cwd=edge).stdout.split()
    ours = {
        one.name for one in (Path(__file__).parents[2] / "mnist_edge" / "runtimes" / "chips").iterdir() if one.suffix in (".c", ".h", ".ld")
    }
    assert len(ours) > 5 and ours <= set(names)


def test_nothing_but_the_four_packages_is_installed(edge: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--python", edge / "python"]
    listed = subprocess.run([*pip, "list", "--format", "json"], capture_output=True, text=True, check=True)
    names = {package["name"].lower().replace("_", "-") for package in json.loads(listed.stdout)}
    own = {"mnist-edge", "numpy", "pillow", "onnxruntime", "click"}
    brought_by_onnxruntime = {
        "flatbuffers",
        "protobuf",
        "packaging",
        "sympy",
        "mpmath",
        "coloredlogs",
        "humanfriendly",
        "typing-extensions",
    }
    assert own <= names <= own | brought_by_onnxruntime
    torch = subprocess.run([edge / "python", "-c", "import torch"], capture_output=True, check=False)
    assert torch.returncode != 0


def test_the_reference_model_reads_a_picture_as_it_stands(edge: Path, tmp_path: Path, seven: np.ndarray) -> None:
    Image.fromarray(seven).save(tmp_path / "img.png")
    done = run(edge, tmp_path, "predict", "img.png", "--runtime", "ort")
    digit, _, _, name, *_ = done.stdout.splitlines()[1].split()
    assert (digit, name) == ("7", "img.png")
    assert "the reference installed with mnist-edge" in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["img.png"]


def test_the_other_commands_work_or_name_what_is_missing(edge: Path, tmp_path: Path, trained: Path) -> None:
    for arguments in (("--help",), ("list",), ("show",), ("formats",), ("doctor",), ("data",), ("evaluate", "--data", "drawn")):
        run(edge, tmp_path, *arguments)
    for arguments in (("train", "lenet"), ("export", "--format", "onnx"), ("architectures",), ("demo",)):
        assert "pip install 'mnist-edge[train]'" in run(edge, tmp_path, *arguments, check=1).stderr
    assert "runtime torchscript needs torch" in run(edge, tmp_path, "evaluate", "--runtime", "torchscript", check=1).stderr


def test_every_precision_is_verified_without_torch(edge: Path, tmp_path: Path, quantized: Quantized, mnist_dir: Path) -> None:
    """At boot, `--quick`; where the test set is, the whole of it. What needs torch is skipped, and that is no failure."""
    copied = shutil.copytree(quantized.folder, tmp_path / "copied")
    expected = {f"lenet{kind}.onnx": "passed" for kind in ("", ".fp16", ".int8-dynamic", ".int8-static")} | {
        "lenet.torchscript.pt": "skipped"
    }
    for arguments, data in ((("--quick",), "nowhere"), ((), str(mnist_dir))):
        done = run(edge, tmp_path, "verify", copied, *arguments, "--json", env={"MNIST_EDGE_DATA_DIR": data})
        assert {a["file"]: a["state"] for a in json.loads(done.stdout)["artifacts"]} == expected
    benchmark = json.loads(run(edge, tmp_path, "benchmark", copied, "--rounds", "1", "--json").stdout)
    assert [row["runtime"] for row in benchmark["rows"]] == ["ort"] * 4
    assert len(benchmark["left_out"]) == 1
    assert "--plot needs matplotlib" in run(edge, tmp_path, "benchmark", copied, "--plot", "a.png", check=1).stderr


def test_every_reference_model_is_verified_without_torch(edge: Path, tmp_path: Path) -> None:
    """On the golden inputs; the whole test set goes through each in test_reference_models.py."""
    too_large = []
    for manifest in sorted((ROOT / "models").glob("*/manifest.json")):
        if not json.loads(manifest.read_text())["artifacts"]:
            too_large.append(manifest.parent.name)
            continue
        done = run(edge, tmp_path, "verify", manifest.parent, "--quick", "--json")
        states = {a["file"]: a["state"] for a in json.loads(done.stdout)["artifacts"]}
        assert set(states.values()) <= {"passed", "skipped"} and "passed" in states.values(), states
    assert set(too_large) <= {"resnet18"}


def test_a_model_copied_from_elsewhere_is_verified(edge: Path, tmp_path: Path, mnist_dir: Path) -> None:
    done = run(edge, tmp_path, "verify", "--data-dir", mnist_dir, "--json")
    states = {a["file"]: a["state"] for a in json.loads(done.stdout)["artifacts"]}
    assert states == {"lenet.onnx": "passed", "lenet.int8-static.onnx": "passed", "lenet.torchscript.pt": "skipped"}
    done = run(edge, tmp_path, "evaluate", "--data-dir", mnist_dir, "--json")
    document = json.loads(done.stdout)
    manifest = json.loads((ROOT / "models" / "lenet" / "manifest.json").read_text())
    assert document["correct"] == manifest["scores"]["test_correct"]
    assert document["accuracy"] >= 0.994
