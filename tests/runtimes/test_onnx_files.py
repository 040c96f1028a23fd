"""What every runtime of our .onnx files has to do, on the reference LeNet and on files that break the contract."""

import os
import re
import shutil
import subprocess
import sys
import threading
from importlib import import_module
from pathlib import Path

import graphs
import numpy as np
import pytest
from once import lacking
from onnx import TensorProto

from mnist_edge import runtimes, store
from mnist_edge.common.errors import MissingExtraError, ModelError
from mnist_edge.dataset import Dataset
from mnist_edge.proof import parity
from mnist_edge.runtimes import RUNTIMES

ROOT = Path(__file__).resolve().parents[2]
LENET = ROOT / "models" / "lenet"

NAMES = ("ort", "openvino", "tract", pytest.param("ort-web", marks=pytest.mark.proof))


@pytest.fixture(params=NAMES)
def runtime(request: pytest.FixtureRequest) -> runtimes.Runtime:
    chosen = RUNTIMES[request.param]
    if missing := chosen.missing():
        lacking(f"needs {', '.join(missing)}; run: make runtimes")
    return chosen


@pytest.fixture(scope="module")
def reference() -> np.ndarray:
    """PyTorch's stored answers to MNIST's test images, float32 10000×10."""
    model = store.Model.read(LENET)
    (stored,) = (r for r in model.manifest.references if r.data["name"] == "mnist")
    return store.read_reference(model, stored)


def test_lenet_answers_as_pytorch_did(runtime: runtimes.Runtime, mnist_test: Dataset, reference: np.ndarray) -> None:
    run = runtime.load(LENET / "lenet.onnx")
    report, logits = parity.check(run, reference[:500], mnist_test.images[:500], mnist_test.labels[:500], parity.BUDGETS["float32"])
    assert report, report.failures
    assert logits.shape == (500, 10) and logits.dtype == np.float32


def test_lenet_in_int8_answers_as_it_should(runtime: runtimes.Runtime, mnist_test: Dataset, reference: np.ndarray) -> None:
    run = runtime.load(LENET / "lenet.int8-static.onnx")
    budget = parity.BUDGETS["int8-static"]
    report, _ = parity.check(run, reference[:500], mnist_test.images[:500], mnist_test.labels[:500], budget)
    assert report, report.failures
    assert report.max_difference > 0.01  # it is not the float32 file that ran


def test_a_damaged_weight_is_found_out(runtime: runtimes.Runtime, mnist_test: Dataset, reference: np.ndarray, tmp_path: Path) -> None:
    """A bit that leaves the file whole: the answers tell; and the hash, before anything is loaded."""
    shutil.copytree(LENET, tmp_path / "lenet")
    damaged = graphs.flip_a_weight(LENET / "lenet.onnx", tmp_path / "lenet" / "lenet.onnx")
    run = runtime.load(damaged)
    assert not parity.check(run, reference[:500], mnist_test.images[:500], mnist_test.labels[:500], parity.BUDGETS["float32"])[0]
    model = store.Model.read(tmp_path / "lenet")
    with pytest.raises(ModelError, match="SHA-256"):
        runtimes.load_artifact(model, model.artifact_of_file(damaged))


def refusal(runtime: runtimes.Runtime, path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        runtime.load(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message and len(message) < 600, message
    return message


@pytest.mark.parametrize("how", ["text", "cut", "empty", "absent", "folder", "another model's"])
def test_what_is_no_model_is_refused_in_one_line(
    runtime: runtimes.Runtime, how: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "wrong.onnx"
    whole = (LENET / "lenet.onnx").read_bytes()
    content = {"text": b"# no model\n" * 50, "cut": whole[:-5000], "empty": b"", "another model's": (LENET / "golden.npz").read_bytes()}
    if how in content:
        path.write_bytes(content[how])
    elif how == "folder":
        path.mkdir()
    refusal(runtime, path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"takes": TensorProto.FLOAT}, "float"),
        ({"side": 32}, "32"),
        ({"classes": 9}, "9"),
        ({"pixels": "image"}, "image"),
        ({"second_input": True}, "bias"),
        ({"batch": 3}, "its batch is fixed to 3"),
    ],
    ids=str,
)
def test_what_does_not_take_pixels_and_give_logits_is_refused(
    runtime: runtimes.Runtime, change: dict[str, int | str], says: str, tmp_path: Path
) -> None:
    message = refusal(runtime, graphs.linear(tmp_path / "other.onnx", **change))  # type: ignore[arg-type]
    assert says in message.split("; the contract is")[0] and "; the contract is" in message


def test_a_graph_of_one_product_gives_that_product(runtime: runtimes.Runtime, tmp_path: Path) -> None:
    """So that the refusals above are for what was changed; and pixels that lie in memory in another order, or cannot be written to."""
    run = runtime.load(graphs.linear(tmp_path / "linear.onnx"))
    pixels = np.random.default_rng(1).integers(0, 256, (7, 1, 28, 28), np.uint8)
    weights = np.random.default_rng(0).normal(size=(784, 10)).astype(np.float32)
    expected = pixels.reshape(7, 784).astype(np.float32) @ weights
    for given, rows in ((pixels, expected), (pixels[::-1], expected[::-1]), (pixels[::2], expected[::2]), (pixels[:1], expected[:1])):
        given.setflags(write=False)
        np.testing.assert_allclose(run(given), rows, rtol=1e-4, atol=0.05)


def test_no_image_gives_no_row_and_harms_nothing(runtime: runtimes.Runtime, mnist_test: Dataset) -> None:
    run = runtime.load(LENET / "lenet.onnx")
    before = run(mnist_test.images[:3])
    assert run(mnist_test.images[:0]).shape == (0, 10)
    assert np.array_equal(run(mnist_test.images[:3]), before)


def test_an_answer_stays_what_it_was(runtime: runtimes.Runtime, mnist_test: Dataset) -> None:
    """The runtime's own memory, which the next answer is written to, must not be handed out."""
    run = runtime.load(LENET / "lenet.onnx")
    answer = run(mnist_test.images[:3])
    kept = answer.copy()
    run(mnist_test.images[3:6])
    assert np.array_equal(answer, kept)


def test_threads_that_ask_at_once_get_their_own_answers(runtime: runtimes.Runtime, mnist_test: Dataset) -> None:
    run = runtime.load(LENET / "lenet.onnx", 2)
    batches = [mnist_test.images[i * 10 : i * 10 + 10] for i in range(4)]
    expected = [run(batch) for batch in batches]
    wrong: list[object] = []

    def ask(mine: int) -> None:
        try:
            wrong.extend(mine for _ in range(50) if not np.allclose(run(batches[mine]), expected[mine], atol=1e-4))
        except Exception as error:
            wrong.append(error)

    asking = [threading.Thread(target=ask, args=(i,)) for i in range(4)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("name", ["ort", "openvino", "tract", "torch", "torchscript"])
def test_a_runtime_tells_its_version(name: str) -> None:
    package, number = import_module(RUNTIMES[name].module).version().split()
    assert package == {"ort": "onnxruntime", "torchscript": "torch"}.get(name, name)
    assert re.match(r"\d+\.\d+\.\d+", number)


@pytest.mark.parametrize("name", ["openvino", "tract"])
def test_a_package_that_is_missing_is_named_with_the_line_that_installs_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError) as caught:
        RUNTIMES[name].load(LENET / "lenet.onnx")
    assert str(caught.value) == f"runtime {name} needs {name}, which is not installed; run: pip install 'mnist-edge[{name}]'"
    assert list(RUNTIMES[name].missing()) == [name]


def test_all_are_listed_and_none_is_imported_before_it_is_used() -> None:
    code = (
        "import sys; sys.modules['openvino'] = sys.modules['tract'] = None\n"
        "from mnist_edge.cli import cli\n"
        "try: cli.main(args=['formats'])\n"
        "except SystemExit as end: assert not end.code\n"
    )
    environment = os.environ | {"MNIST_EDGE_ORT_WEB_DIR": "/nowhere", "PATH": ""}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    ready = {words[0]: words[1:] for line in done.stdout.split("runtime  ")[-1].splitlines() if (words := line.split())}
    assert ready["openvino"][2:4] == ["needs", "openvino"] and "needs tract" in " ".join(ready["tract"])
    assert ready["ort-web"][2:6] == ["needs", "node,", "npm,", "onnxruntime-web"] and ready["ort"][2] == "yes"
