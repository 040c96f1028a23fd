"""The reference LeNet on machines that are not here: a Raspberry Pi's processors, and an x86-64 of 2013."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from emulators import emulator
from numpy.typing import NDArray
from onnx import numpy_helper

from mnist_edge import store
from mnist_edge.common.errors import ModelError
from mnist_edge.dataset import Dataset
from mnist_edge.proof import parity
from mnist_edge.runtimes import emulated, machines, ort

pytestmark = pytest.mark.proof

ROOT = Path(__file__).resolve().parents[2]

#: What each has of what changes arithmetic.
FEATURES = {"aarch64": ("asimd",), "aarch64-a76": ("asimd", "asimddp", "asimdhp"), "haswell": ("avx", "avx2", "fma")}


@pytest.fixture(scope="module", params=emulated.PLATFORMS)
def machine(request: pytest.FixtureRequest) -> Iterator[str]:
    emulator(request.param)
    yield request.param


@pytest.fixture(scope="module")
def pi() -> str:
    emulator("aarch64")
    return "aarch64"


@pytest.fixture(scope="module")
def lenet() -> store.Model:
    return store.find("lenet", ROOT / "models")


def stored(model: store.Model, data: Dataset) -> NDArray[np.float32]:
    reference = model.manifest.reference_on(data.sha256)
    assert reference is not None
    return store.read_reference(model, reference)


def test_float32_answers_1000_images_as_pytorch_did(machine: str, lenet: store.Model, mnist_test: Dataset) -> None:
    reference, first = stored(lenet, mnist_test), mnist_test.first(1000)
    child = emulated.load(lenet.folder / "lenet.onnx", machine)
    report, _ = parity.check(child, reference[:1000], first.images, first.labels, parity.BUDGETS["float32"])
    assert report, report.failures
    assert report.images == report.equal_answers == 1000
    platform = emulated.platform_of(child)
    assert platform[:3] == ("Linux", emulated.get(machine).machine, FEATURES[machine])
    assert platform.processor == emulated.get(machine).processor
    assert platform.emulated.startswith("qemu 10.")
    assert child.about["version"] == machines._onnxruntime()


def test_int8_answers_all_images_bit_for_bit_as_here(machine: str, lenet: store.Model, mnist_test: Dataset) -> None:
    path = lenet.folder / "lenet.int8-static.onnx"
    report, logits = parity.check(
        emulated.load(path, machine), stored(lenet, mnist_test), mnist_test.images, mnist_test.labels, parity.BUDGETS["int8-static"]
    )
    assert report, report.failures
    assert report.images == 10_000
    assert np.array_equal(logits, parity.logits_of(ort.load(path), mnist_test.images))


def test_a_copy_with_one_weight_changed_answers_otherwise(machine: str, lenet: store.Model, mnist_test: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "changed.onnx"
    model = onnx.load(lenet.folder / "lenet.onnx")
    kernel = max(model.graph.initializer, key=lambda one: len(one.raw_data) * (len(one.dims) == 4))
    weights = numpy_helper.to_array(kernel).copy()
    weights.flat[0] += 0.01
    kernel.CopyFrom(numpy_helper.from_array(weights, kernel.name))
    onnx.save(model, path)
    reference, few = stored(lenet, mnist_test), mnist_test.first(100)
    report, _ = parity.check(emulated.load(path, machine), reference[:100], few.images, few.labels, parity.BUDGETS["float32"])
    assert not report
    assert report.max_difference > 1e-4


def test_a_copy_that_is_cut_short_is_refused(pi: str, lenet: store.Model, tmp_path: Path) -> None:
    path = tmp_path / "cut.onnx"
    data = (lenet.folder / "lenet.onnx").read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(ModelError, match=rf"cut\.onnx: onnxruntime on {pi}, emulated: .*cut\.onnx"):
        emulated.load(path, pi)


def test_a_file_of_one_batch_size_is_refused(pi: str, lenet: store.Model, tmp_path: Path) -> None:
    path = tmp_path / "of_three.onnx"
    model = onnx.load(lenet.folder / "lenet.onnx")
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 3
    onnx.save(model, path)
    with pytest.raises(ModelError, match=r"of_three\.onnx: its batch is fixed to 3"):
        emulated.load(path, pi)


def test_a_file_with_other_names_is_refused(pi: str, lenet: store.Model, tmp_path: Path) -> None:
    path = tmp_path / "renamed.onnx"
    model = onnx.load(lenet.folder / "lenet.onnx")
    for node in model.graph.node:
        node.input[:] = ["image" if name == "pixels" else name for name in node.input]
    model.graph.input[0].name = "image"
    onnx.save(model, path)
    with pytest.raises(ModelError, match=r"renamed\.onnx: takes \[\['image'"):
        emulated.load(path, pi)


def test_two_threads_answer_as_one(pi: str, lenet: store.Model, mnist_test: Dataset) -> None:
    path, pixels = lenet.folder / "lenet.onnx", mnist_test.images[:100]
    one, two = (emulated.load(path, pi, threads)(pixels) for threads in (1, 2))
    assert np.array_equal(one, two)


def test_what_is_set_up_is_set_up_once(machine: str) -> None:
    told: list[str] = []
    place = emulated.set_up(machine, tell=told.append)
    assert not told
    assert all((place / part).is_dir() for part in emulated.get(machine).parts)
    assert not list(place.glob(".*.part"))
