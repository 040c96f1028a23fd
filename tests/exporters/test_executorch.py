"""ExecuTorch: the format and its runtime, on a reference model. Its packages take 0.6 GB, so only make proofs installs them."""

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import proving
import pytest
from once import lacking, once

import exporters
from exporters import Format, Target, gate
from mnist_edge import runtimes, store
from mnist_edge.common.errors import ModelError
from mnist_edge.dataset import Dataset, describe
from mnist_edge.proof import parity, verification

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, drawn_test: Dataset) -> store.Model:
    """The reference ResNet with a ``.pte`` file. Do not change it."""
    if lack := exporters.find("executorch").missing():
        lacking(f"ExecuTorch is not here: {'; '.join(lack.values())}")

    def make(folder: Path) -> None:
        model = store.Model.read(Path(shutil.copytree(ROOT / "models" / "resnet-tiny", folder / "resnet-tiny")))
        _, proof = gate.export(model, "executorch", drawn_test)
        assert proof.artifact is not None, proof.report.failures

    return store.Model.read(once(tmp_path_factory, "executorch", make) / "resnet-tiny")


@pytest.fixture(scope="module")
def file(exported: store.Model) -> Path:
    return exported.path(exported.artifact("executorch"))


@pytest.mark.proof
def test_it_answers_as_pytorch_did_in_batches_of_every_size(exported: store.Model, file: Path, mnist_test: Dataset) -> None:
    reference = exported.manifest.reference_on(describe(mnist_test)["sha256"])
    assert reference is not None
    expected, few = store.read_reference(exported, reference)[:1000], mnist_test.first(1000)
    report, _ = parity.check(runtimes.get("executorch").load(file), expected, few.images, few.labels, parity.BUDGETS["float32"])
    assert report, report.failures
    assert report.equal_answers == 1000


@pytest.mark.proof
def test_two_models_at_once_keep_their_answers_and_threads_take_turns(exported: store.Model, file: Path) -> None:
    """What a method reads its weights from must outlive it, whatever else is loaded meanwhile."""
    pixels = verification.read_golden(exported).pixels
    run = runtimes.get("executorch").load(file)
    alone = run(pixels)
    others = [runtimes.get("executorch").load(file, threads) for threads in (1, 2, 1)]
    orders = [np.random.default_rng(seed).permutation(len(pixels)) for seed in range(20)]
    with ThreadPoolExecutor(4) as pool:
        for order, answers in zip(orders, pool.map(lambda order: run(pixels[order]), orders), strict=True):
            np.testing.assert_array_equal(answers, alone[order])
    for other in others:
        np.testing.assert_allclose(other(pixels), alone, atol=parity.FLOAT32_TOLERANCE)
    assert run(pixels[:0]).shape == (0, 10)
    np.testing.assert_array_equal(run(np.asfortranarray(pixels)), alone)


@pytest.mark.proof
def test_the_same_weights_give_the_same_bytes_from_another_process(exported: store.Model, file: Path, tmp_path: Path) -> None:
    """And neither exporting nor running prints a word."""
    code = (
        "import sys, numpy; from pathlib import Path\n"
        "from exporters import Target, find; from mnist_edge import runtimes, store; from mnist_edge.runtimes.torch import load_network\n"
        "model, path = store.Model.read(Path(sys.argv[1])), Path(sys.argv[2])\n"
        "find('executorch').export(load_network(model), Target(path, 'other', 'resnet-tiny', tuple('0123456789'), 'MIT'))\n"
        "runtimes.get('executorch').load(path)(numpy.zeros((2, 1, 28, 28), numpy.uint8))\n"
    )
    again = tmp_path / "again.pte"
    done = subprocess.run([sys.executable, "-c", code, exported.folder, again], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert again.read_bytes() == file.read_bytes()
    for private in (str(ROOT), str(Path.home()), "site-packages"):
        assert len(private) < 6 or private.encode() not in file.read_bytes()


@pytest.mark.proof
def test_a_file_with_one_bit_changed_is_refused_by_the_gate_and_by_verify(
    exported: store.Model, file: Path, drawn_test: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load, pixels = runtimes.get("executorch").load, verification.read_golden(exported).pixels
    good, content = load(file)(pixels), file.read_bytes()
    broken = tmp_path / "broken.pte"
    for position in range(len(content) - 997, 0, -997):
        broken.write_bytes(content[:position] + bytes([content[position] ^ 0x40]) + content[position + 1 :])
        try:
            if np.abs(load(broken)(pixels) - good).max() > parity.FLOAT32_TOLERANCE:
                break
        except ModelError:
            continue
    else:
        raise AssertionError("no byte of the file makes a difference")

    def export(deployed: Any, target: Target) -> dict[str, Any]:
        target.path.write_bytes(broken.read_bytes())
        return {}

    monkeypatch.setattr("exporters.registry._registered", {"broken": Format("broken", "x", ".broken.pte", "executorch", export)})
    model = store.Model.read(Path(shutil.copytree(exported.folder, tmp_path / "models" / "resnet-tiny")))
    _, proof = gate.export(model, "broken", drawn_test)
    assert proof.artifact is None and not proof.report
    model.path(model.artifact("executorch")).write_bytes(broken.read_bytes())
    (result,) = proving.verify_quickly(store.Model.read(model.folder), "executorch")
    assert not result.passed


@pytest.mark.proof
@pytest.mark.parametrize("content", [b"", b"rubbish", "half"])
def test_what_is_no_such_file_is_refused(tmp_path: Path, file: Path, content: Any) -> None:
    path = tmp_path / "x.pte"
    path.write_bytes(file.read_bytes()[:15000] if content == "half" else content)
    with pytest.raises(ModelError, match=r"x\.pte: ExecuTorch [\d.]+ cannot load it: "):
        runtimes.get("executorch").load(path)
    with pytest.raises(ModelError, match="cannot be read: No such file"):
        runtimes.get("executorch").load(tmp_path / "missing.pte")


def test_without_its_package_format_and_runtime_name_the_line_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exporters.registry.is_installed", lambda module: module != "executorch")
    assert exporters.find("executorch").missing() == {"executorch": "pip install 'mnist-edge[train,executorch]'"}
