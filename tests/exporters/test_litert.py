"""LiteRT: the runtime on a file that its converter made, and, where the converter is, the conversion.

`resnet-tiny.tflite` is what ``mnist-edge export resnet-tiny --format litert`` writes from models/resnet-tiny; a test below makes it again.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import proving
import pytest
from once import lacking

import exporters
from exporters import Format, Target, gate, litert, registry
from mnist_edge import runtimes, store
from mnist_edge.common.errors import ExportError, MissingExtraError, ModelError
from mnist_edge.dataset import Dataset, describe
from mnist_edge.proof import golden, parity, verification
from mnist_edge.runtimes.torch import load_network

ROOT = Path(__file__).resolve().parents[2]

FILE = Path(__file__).with_name("resnet-tiny.tflite")


@pytest.fixture
def resnet_tiny(tmp_path: Path) -> store.Model:
    """A copy of the reference model that the file was made from."""
    return store.Model.read(Path(shutil.copytree(ROOT / "models" / "resnet-tiny", tmp_path / "models" / "resnet-tiny")))


@pytest.fixture
def publishing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A format that hands the gate a file, whatever the network."""
    exporters.formats()
    registered = dict(registry._registered)
    registered.pop("litert")
    monkeypatch.setattr(registry, "_registered", registered)

    def publishing(content: bytes) -> None:
        def export(deployed: Any, target: Target) -> dict[str, Any]:
            target.path.write_bytes(content)
            return {}

        registry._registered.pop("ready", None)
        exporters.register(Format("ready", "x", ".tflite", "litert", export))

    yield publishing


def damaged(seen: np.ndarray) -> bytes:
    """Return the file with the highest exponent bit of one number changed, so that it loads and answers otherwise than `seen`."""
    content = FILE.read_bytes()
    pixels = golden_pixels()
    for position in range(len(content) - 20000, len(content), 997):
        broken = bytearray(content)
        broken[position] ^= 0x40
        path = Path(FILE.name)
        path.write_bytes(broken)
        try:
            if np.abs(runtimes.get("litert").load(path)(pixels) - seen).max() > parity.FLOAT32_TOLERANCE:
                return bytes(broken)
        except ModelError:
            continue
    raise AssertionError("no byte of the file makes a difference")


def golden_pixels() -> np.ndarray:
    return verification.read_golden(store.Model.read(ROOT / "models" / "resnet-tiny")).pixels


def test_it_answers_as_pytorch_did_on_the_golden_inputs() -> None:
    stored = verification.read_golden(store.Model.read(ROOT / "models" / "resnet-tiny"))
    assert golden.compare(runtimes.get("litert").load(FILE), stored, parity.FLOAT32_TOLERANCE)


def test_it_answers_as_pytorch_did_in_batches_of_every_size(mnist_test: Dataset) -> None:
    model = store.Model.read(ROOT / "models" / "resnet-tiny")
    reference = model.manifest.reference_on(describe(mnist_test)["sha256"])
    assert reference is not None
    expected, few = store.read_reference(model, reference)[:1000], mnist_test.first(1000)
    report, _ = parity.check(runtimes.get("litert").load(FILE), expected, few.images, few.labels, parity.BUDGETS["float32"])
    assert report, report.failures
    assert report.equal_answers == 1000


def test_an_empty_batch_and_an_array_of_another_layout_are_batches_like_others() -> None:
    run = runtimes.get("litert").load(FILE)
    pixels = golden_pixels()
    assert run(pixels[:0]).shape == (0, 10)
    backwards = np.asfortranarray(pixels)
    assert not backwards.flags.c_contiguous
    np.testing.assert_array_equal(run(backwards), run(pixels))
    np.testing.assert_array_equal(run(pixels[::2]), run(pixels)[::2])


def test_threads_that_share_a_model_do_not_read_each_others_images() -> None:
    run = runtimes.get("litert").load(FILE)
    pixels = golden_pixels()
    alone = run(pixels)
    orders = [np.random.default_rng(seed).permutation(len(pixels)) for seed in range(40)]
    with ThreadPoolExecutor(4) as pool:
        for order, answers in zip(orders, pool.map(lambda order: run(pixels[order]), orders), strict=True):
            np.testing.assert_array_equal(answers, alone[order])


def test_loading_and_running_print_nothing() -> None:
    code = "import sys, numpy; from pathlib import Path; from mnist_edge import runtimes\n"
    code += "runtimes.get('litert').load(Path(sys.argv[1]))(numpy.zeros((2, 1, 28, 28), numpy.uint8)); assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code, FILE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("content", [b"", b"rubbish", FILE.read_bytes()[:20000], (ROOT / "models" / "lenet" / "lenet.onnx").read_bytes()])
def test_what_is_no_such_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.tflite"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"x\.tflite: LiteRT [\d.]+ cannot load it: "):
        runtimes.get("litert").load(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"missing\.tflite: cannot be read: No such file"):
        runtimes.get("litert").load(tmp_path / "missing.tflite")


def test_a_file_of_another_contract_is_refused(tmp_path: Path) -> None:
    """The first shape in the file that is 1×1×28×28 is the input's; with 27 columns it is another network's."""
    shape = np.array([1, 1, 28, 28], "<i4").tobytes()
    content = FILE.read_bytes()
    assert shape in content
    path = tmp_path / "x.tflite"
    path.write_bytes(content.replace(shape, np.array([1, 1, 28, 27], "<i4").tobytes()))
    with pytest.raises(ModelError, match="part of the contract is one image|cannot load it"):
        runtimes.get("litert").load(path)


def test_the_gate_publishes_the_file_and_refuses_it_with_one_bit_changed(
    resnet_tiny: store.Model, drawn_test: Dataset, publishing: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    broken = damaged(runtimes.get("litert").load(FILE)(golden_pixels()))
    publishing(broken)
    model, proof = gate.export(resnet_tiny, "ready", drawn_test)
    assert proof.artifact is None and not proof.report
    publishing(FILE.read_bytes())
    model, proof = gate.export(model, "ready", drawn_test)
    assert proof.artifact is not None and proof.report.equal_answers == 1000
    model.path(proof.artifact).write_bytes(broken)
    results = {one.artifact.runtime: one for one in proving.verify_quickly(store.Model.read(model.folder), "litert")}
    assert not results["litert"].passed


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in the place of the converter's."""
    folder = tmp_path / "a converter"
    folder.mkdir()
    monkeypatch.setenv(litert.CONVERTER, str(folder))
    return folder


def test_without_its_converter_the_export_names_the_line_that_brings_it(
    folder: Path, models: Path, drawn_test: Dataset, run_command: Any
) -> None:
    line = r"needs its converter litert-torch [\d.]+, which is not installed; run: python -m pip install --upgrade --no-deps --target '.*a converter' -r "
    with pytest.raises(MissingExtraError, match=line):
        gate.export(store.find("lenet", models), "litert", drawn_test)
    assert "litert" in run_command("formats").stdout


def test_a_converter_of_which_a_package_is_missing_or_old_is_no_converter(folder: Path) -> None:
    for name, release in litert._wanted().items():
        (folder / f"{name}-{release}.dist-info").mkdir()
        (folder / f"{name}-{release}.dist-info" / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {release}\n")
    assert exporters.find("litert").missing() == {}
    metadata = folder / f"jax-{litert._wanted()['jax']}.dist-info" / "METADATA"
    metadata.write_text("Metadata-Version: 2.1\nName: jax\nVersion: 0.1\n")
    assert list(exporters.find("litert").missing()) == [f"its converter litert-torch {litert._wanted()['litert-torch']}"]


def test_a_network_that_cannot_be_converted_is_named_with_the_reason(folder: Path, resnet_tiny: store.Model, tmp_path: Path) -> None:
    (folder / "litert_torch.py").write_text("raise RuntimeError('no lowering for aten.odd')\n")
    target = Target(tmp_path / "x.tflite", "mine", "resnet-tiny", tuple("0123456789"), "MIT")
    with pytest.raises(ExportError, match="mine: litert-torch cannot convert resnet-tiny: RuntimeError: no lowering for aten.odd"):
        litert.export(load_network(resnet_tiny), target)
    assert not target.path.exists()


@pytest.fixture
def converter() -> None:
    if lack := exporters.find("litert").missing():
        lacking(f"the LiteRT converter is not here: {'; '.join(lack.values())}")


@pytest.mark.proof
def test_the_conversion_gives_the_kept_file_byte_for_byte(converter: None, resnet_tiny: store.Model, drawn_test: Dataset) -> None:
    """It was made by another process, on another day, in another folder."""
    model, proof = gate.export(resnet_tiny, "litert", drawn_test)
    assert proof.artifact is not None
    assert model.path(proof.artifact).read_bytes() == FILE.read_bytes()
    assert proof.artifact.details["batch"] == 1


@pytest.mark.proof
@pytest.mark.parametrize("name", ["lenet", "gru", "vit-cls"])
def test_convolutions_recurrence_and_attention_pass_the_gate(converter: None, name: str, drawn_test: Dataset, tmp_path: Path) -> None:
    model = store.Model.read(Path(shutil.copytree(ROOT / "models" / name, tmp_path / "models" / name)))
    _, proof = gate.export(model, "litert", drawn_test)
    assert proof.artifact is not None, proof.report.failures
