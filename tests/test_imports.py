"""What each part loads: the edge side must work where there is no torch, and start fast where there is."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"torch", "torchvision", "onnx", "onnx_ir", "onnxscript", "onnxruntime", "safetensors", "rich", "matplotlib", "jinja2"}
HEAVY |= {"numpy", "PIL", "click", "openvino", "tract"}

REFERENCE = Path(__file__).resolve().parents[1] / "models" / "lenet"

EDGE = {"numpy", "PIL", "onnxruntime", "click"}


def loaded_by(code: str, env: dict[str, str] | None = None) -> set[str]:
    script = f"{code}\nimport sys, json; sys.stderr.write('LOADED' + json.dumps(sorted({{m.split('.')[0] for m in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=os.environ | (env or {}))
    return set(json.loads(done.stderr.split("LOADED")[-1])) & HEAVY


@pytest.mark.parametrize(
    ("code", "allowed"),
    [
        ("import mnist_edge", set()),
        ("import mnist_edge.cli", {"click"}),
        ("import mnist_edge.common.errors, mnist_edge.common.files, mnist_edge.common.extras", set()),
        ("from mnist_edge import Predictor", {"numpy", "PIL"}),
        ("import mnist_edge.proof.parity, mnist_edge.store, mnist_edge.proof.verification, mnist_edge.proof.evaluation", {"numpy", "PIL"}),
        ("import mnist_edge.runtimes.ort", {"numpy", "PIL", "onnxruntime"}),
        ("import mnist_edge.runtimes.platforms; mnist_edge.runtimes.platforms.here()", set()),
        ("import mnist_edge.runtimes.emulated", {"numpy"}),
        ("import mnist_edge.serving.supervisor", set()),  # so that it forks in no time, and takes 17 MB
        ("import mnist_edge.serving.app, mnist_edge.serving.models", {"numpy", "PIL"}),
        ("import exporters; exporters.formats()", {"numpy", "PIL"}),
        ("import mnist_edge.report.findings, mnist_edge.report.card, mnist_edge.report.page, mnist_edge.report.table", {"numpy", "PIL"}),
    ],
)
def test_import_loads_no_more_than(code: str, allowed: set[str]) -> None:
    assert loaded_by(code) <= allowed


@pytest.mark.slow
def test_training_knows_nothing_of_predicting_or_exporting() -> None:
    code = "import sys, mnist_edge.training.run, mnist_edge.report.figures; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"mnist_edge.predictor", "mnist_edge.cli", "exporters"} & set(done.stdout.split())


@pytest.mark.parametrize(
    ("arguments", "allowed"),
    [
        (["--help"], {"click"}),
        (["--version"], {"click"}),
        (["predict", "PICTURE", "--models-dir", "MODELS"], EDGE),
        (["predict", "PICTURE", "--several", "--model", "REFERENCE"], EDGE),
        (["evaluate", "--data", "drawn", "--models-dir", "MODELS"], EDGE),
        (["list", "--models-dir", "MODELS"], {"click", "numpy", "PIL"}),
        (["show", "--models-dir", "MODELS"], {"click", "numpy", "PIL"}),
        (["formats"], {"click", "numpy", "PIL"}),
    ],
)
def test_command_loads_no_more_than(arguments: list[str], allowed: set[str], trained: Path, seven: object, tmp_path: Path) -> None:
    from PIL import Image

    picture = tmp_path / "seven.png"
    Image.fromarray(seven).save(picture)
    arguments = [{"PICTURE": str(picture), "MODELS": str(trained), "REFERENCE": str(REFERENCE)}.get(a, a) for a in arguments]
    code = f"import sys\nfrom mnist_edge.cli import cli\ntry: cli.main(args={arguments!r})\nexcept SystemExit as end: assert not end.code"
    assert loaded_by(code, {"MNIST_EDGE_DATA_DIR": str(tmp_path)}) <= allowed


def test_verify_without_torchscript_loads_no_torch(mnist_dir: Path, tmp_path: Path) -> None:
    """In a process where importing torch fails, as on a device that has none."""
    reference = Path(__file__).resolve().parents[1] / "models" / "lenet"
    arguments = ["verify", str(reference), "--data-dir", str(mnist_dir)]
    code = f"import sys\nsys.modules['torch'] = None\nfrom mnist_edge.cli import cli\ntry: cli.main(args={arguments!r})\nexcept SystemExit as end: assert not end.code"
    assert loaded_by(code) - {"torch"} == EDGE


def test_predicting_leaves_nothing_in_an_empty_home(trained: Path, seven: object, tmp_path: Path) -> None:
    from PIL import Image

    home, picture = tmp_path / "home", tmp_path / "seven.png"
    home.mkdir()
    Image.fromarray(seven).save(picture)
    env = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY" and not k.startswith("XDG")} | {"HOME": str(home)}
    code = f"from mnist_edge import Predictor\nPredictor.load({str(trained / 'lenet')!r}).predict({str(picture)!r})"
    subprocess.run([sys.executable, "-c", code], check=True, env=env)
    assert list(home.rglob("*")) == []
