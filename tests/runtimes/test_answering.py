"""The script that answers on another machine, run on this one."""

import shutil
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from mnist_edge.common.errors import MissingExtraError, ModelError, UnknownNameError
from mnist_edge.dataset import Dataset
from mnist_edge.proof import parity
from mnist_edge.runtimes import answering, emulated, machines, ort, platforms
from mnist_edge.runtimes.child import Child

ANSWERING = Path(answering.__file__)


def start(path: Path, *more: str | Path) -> Child:
    return Child([sys.executable, "-P", ANSWERING, path, "1", *more], "a child")


def test_it_answers_as_the_runtime_here(models: Path, drawn_test: Dataset) -> None:
    path = models / "lenet" / "lenet.onnx"
    child = start(path)
    for count in (0, 1, 7, 256):
        pixels = drawn_test.images[:count]
        assert np.array_equal(child(pixels), ort.load(path)(pixels))
    assert emulated.platform_of(child) == platforms.here()
    assert child.about["version"] == machines._onnxruntime()


@pytest.mark.parametrize("damage", ["missing", "cut", "empty"])
def test_a_file_that_cannot_be_loaded_is_one_line(damage: str, models: Path, tmp_path: Path) -> None:
    path = tmp_path / "damaged.onnx"
    if damage != "missing":
        data = (models / "lenet" / "lenet.onnx").read_bytes()
        path.write_bytes(data[: len(data) // 2] if damage == "cut" else b"")
    with pytest.raises(ModelError, match=r"^a child: .*damaged\.onnx.*$") as caught:
        start(path)
    assert "\n" not in str(caught.value)


def test_an_answer_that_fails_leaves_it_ready_for_the_next(models: Path, tmp_path: Path, drawn_test: Dataset) -> None:
    path = tmp_path / "of_three.onnx"
    model = onnx.load(models / "lenet" / "lenet.onnx")
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 3
    onnx.save(model, path)
    child = start(path)
    for _ in range(2):
        with pytest.raises(ModelError, match=r"^a child: .*Got: 2 Expected: 3"):
            child(drawn_test.images[:2])
        assert child(drawn_test.images[:3]).shape == (3, 10)


def test_it_needs_nothing_of_this_package(models: Path, tmp_path: Path) -> None:
    """Copied with its neighbour to a folder of their own, as if this package were not there."""
    for file in (ANSWERING, Path(platforms.__file__)):
        shutil.copy(file, tmp_path)
    (tmp_path / "mnist_edge.py").write_text("raise SystemExit('imported')")
    child = Child([sys.executable, "-P", tmp_path / ANSWERING.name, models / "lenet" / "lenet.onnx", "1", tmp_path], "a child")
    assert child(np.zeros((2, 1, 28, 28), np.uint8)).shape == (2, 10)


def test_what_a_library_prints_is_no_answer(models: Path, tmp_path: Path) -> None:
    noisy = "import sys; print('noise', flush=True); sys.path.remove(PATH); del sys.modules['onnxruntime']; import onnxruntime\n"
    (tmp_path / "onnxruntime.py").write_text(noisy.replace("PATH", repr(str(tmp_path))))
    child = start(models / "lenet" / "lenet.onnx", tmp_path)
    assert child(np.zeros((2, 1, 28, 28), np.uint8)).shape == (2, 10)
    child._errors.seek(0)
    assert b"noise" in child._errors.read()


@pytest.mark.parametrize("name", emulated.PLATFORMS)
def test_a_machine_that_is_not_set_up_names_the_line_that_does_it(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(machines.ENVIRONMENT, str(tmp_path))
    monkeypatch.setattr(emulated.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(MissingExtraError, match=rf"^platform {name} .*not set up; run: (make|python -m mnist_edge\.runtimes\.emulated) "):
        emulated.load(tmp_path / "any.onnx", name)


def test_haswell_needs_a_machine_like_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulated.platform, "machine", lambda: "aarch64")
    with pytest.raises(MissingExtraError, match="needs Linux on x86_64"):
        emulated.get("haswell").require()


def test_an_unknown_machine_is_told_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown platform 'aarch46' \(did you mean 'aarch64'\?\)"):
        emulated.load(Path("any.onnx"), "aarch46")


def test_machines_are_set_up_by_a_command_that_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert emulated._main([]) == emulated._main(["--help"]) == 2
    assert "machines: aarch64, aarch64-a76, haswell" in capsys.readouterr().err
    assert emulated._main(["arm"]) == 1
    assert capsys.readouterr().err.startswith("error: unknown platform 'arm'")


def test_batches_give_the_same(models: Path, drawn_test: Dataset) -> None:
    child = start(models / "lenet" / "lenet.onnx")
    pixels = drawn_test.images[:100]
    assert np.allclose(parity.logits_of(child, pixels, 1), parity.logits_of(child, pixels, 100), atol=1e-4)
