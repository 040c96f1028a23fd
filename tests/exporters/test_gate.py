"""The gate: what is wrong is refused, and the model's folder stays as it was."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import exporters
from exporters import Format, Target, gate, registry
from mnist_edge import runtimes, store
from mnist_edge.architectures.deployed import Deployed
from mnist_edge.common.errors import ExportError, MissingExtraError, ModelError, UnknownNameError, UsageError
from mnist_edge.dataset import Dataset


def contents(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


@pytest.fixture
def add(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    exporters.formats()
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))

    def add(export: Any, **changes: Any) -> Format:
        values = {"name": "wrong", "summary": "x", "suffix": ".wrong.onnx", "runtime": "ort", "export": export} | changes
        return exporters.register(Format(**values))

    return add


def nudged(deployed: Deployed, target: Target) -> dict[str, Any]:
    with torch.no_grad():
        deployed.network.conv1.weight[0, 0, 2, 2] += 0.01
    return exporters.find("onnx").export(deployed, target)


def not_a_number(deployed: Deployed, target: Target) -> dict[str, Any]:
    with torch.no_grad():
        deployed.network.fc3.bias[0] = float("nan")
    return exporters.find("onnx").export(deployed, target)


def without_normalisation(deployed: Deployed, target: Target) -> dict[str, Any]:
    deployed.shift = 0.0
    return exporters.find("onnx").export(deployed, target)


@pytest.mark.parametrize("export", [nudged, not_a_number, without_normalisation])
def test_an_artifact_that_answers_otherwise_is_not_published(models: Path, drawn_test: Dataset, add: Any, export: Any) -> None:
    add(export)
    before = contents(models / "lenet")
    _, proof = gate.export(store.find("lenet", models), "wrong", drawn_test)
    assert not proof.report
    assert proof.artifact is None
    assert contents(models / "lenet") == before
    assert proof.evidence is not None
    report = json.loads((proof.evidence / "report.json").read_text())
    assert report["failures"]
    assert report["passed"] is False
    assert (proof.evidence / "lenet.wrong.onnx").exists()
    outputs = np.load(proof.evidence / "outputs.npz")
    assert set(proof.report.changed) <= set(outputs["indices"].tolist())
    assert len(outputs["indices"]) >= 20
    assert outputs["artifact"].shape == outputs["reference"].shape == (len(outputs["indices"]), 10)
    assert len(list(proof.evidence.glob("*.png"))) == min(100, len(outputs["indices"]))
    assert sorted(p.name for p in models.iterdir()) == [".failed", "lenet"]


def frozen_batch(deployed: Deployed, target: Target) -> dict[str, Any]:
    torch.onnx.export(
        deployed, (torch.zeros(1, 1, 28, 28, dtype=torch.uint8),), target.path, dynamo=True, external_data=False, verbose=False,
        input_names=["pixels"], output_names=["logits"],
    )  # fmt: skip
    return {}


def no_file(deployed: Deployed, target: Target) -> dict[str, Any]:
    return {}


def two_files(deployed: Deployed, target: Target) -> dict[str, Any]:
    target.path.with_suffix(".data").write_bytes(b"x")
    return exporters.find("onnx").export(deployed, target)


def rubbish(deployed: Deployed, target: Target) -> dict[str, Any]:
    target.path.write_bytes(b"rubbish")
    return {}


def warns_in_letters(deployed: Deployed, target: Target) -> dict[str, Any]:
    return exporters.find("onnx").export(deployed, target) | {"warnings": "careful"}


def raises(deployed: Deployed, target: Target) -> dict[str, Any]:
    raise ZeroDivisionError("in another's code\nsecond line")


@pytest.mark.parametrize(
    ("export", "message"),
    [
        (frozen_batch, "batch is fixed to 1; .* freeze the batch"),
        (no_file, "wrote nothing"),
        (two_files, r"also wrote lenet\.wrong\.data"),
        (rubbish, "does not run"),
        (warns_in_letters, "its warnings are 'careful', but must be a list of strings"),
        (raises, "ZeroDivisionError: in another's code second line"),
    ],
)
def test_an_exporter_that_breaks_the_contract_is_named(models: Path, drawn_test: Dataset, add: Any, export: Any, message: str) -> None:
    add(export)
    before = contents(models / "lenet")
    with pytest.raises(ExportError, match=message):
        gate.export(store.find("lenet", models), "wrong", drawn_test)
    assert contents(models / "lenet") == before
    assert [p.name for p in models.iterdir()] == ["lenet"]


def test_a_runtime_that_changes_what_it_loads_publishes_nothing(models: Path, drawn_test: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its hash is taken before it runs; what would be published afterwards would be refused by everyone who reads it."""
    load = runtimes.Runtime.load

    def and_write(self: runtimes.Runtime, path: Path, *arguments: Any) -> Any:
        run = load(self, path, *arguments)
        path.write_bytes(path.read_bytes() + b"\0")
        return run

    monkeypatch.setattr(runtimes.Runtime, "load", and_write)
    before = contents(models / "lenet")
    with pytest.raises(ExportError, match=r"lenet\.onnx changed while runtime ort ran it"):
        gate.export(store.find("lenet", models), "onnx", drawn_test)
    assert contents(models / "lenet") == before


def test_a_network_whose_images_leak_into_each_other_is_no_reference(
    models: Path, drawn_test: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parity alone cannot see it: both sides share the fault."""
    from mnist_edge.architectures.lenet import LeNet

    real = LeNet.forward
    monkeypatch.setattr(LeNet, "forward", lambda self, x: real(self, x) + 0.01 * x.mean(dim=0).sum())
    with pytest.raises(ModelError, match="when others are in its batch"):
        gate.export(store.find("lenet", models), "onnx", drawn_test)


def test_weights_or_code_that_answer_otherwise_than_stored_are_no_reference(
    models: Path, drawn_test: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mnist_edge.architectures.lenet import LeNet

    real = LeNet.forward
    monkeypatch.setattr(LeNet, "forward", lambda self, x: real(self, x) * 1.01)
    with pytest.raises(ModelError, match="answers differently by .* from the logits stored"):
        gate.export(store.find("lenet", models), "onnx", drawn_test)


def test_wrong_options_are_refused_before_anything_is_done(models: Path, drawn_test: Dataset) -> None:
    model = store.find("lenet", models)
    with pytest.raises(
        UnknownNameError,
        match=r"unknown format 'onx' \(did you mean 'onnx'\?\); known: c, executorch, litert, onnx, torchscript, triton, web",
    ):
        gate.export(model, "onx", drawn_test)
    with pytest.raises(UnknownNameError, match="unknown option of format torchscript in float32 'opset'"):
        gate.export(model, "torchscript", drawn_test, options={"opset": 20})
    for opset in (0, 11, 17, 99):
        with pytest.raises(UsageError, match=f"--opset {opset}"):
            gate.export(model, "onnx", drawn_test, options={"opset": opset})
    with pytest.raises(UnknownNameError, match="unknown precision"):
        gate.export(model, "onnx", drawn_test, precision="int3")


def test_a_missing_package_names_the_line_that_installs_it(models: Path, drawn_test: Dataset, add: Any) -> None:
    add(no_file, requires=("no_such_package",), install="pip install mine[wrong]")
    with pytest.raises(MissingExtraError, match=r"no_such_package, which is not installed; run: pip install mine\[wrong\]"):
        gate.export(store.find("lenet", models), "wrong", drawn_test)


def test_a_format_is_registered_once_and_needs_a_runtime_that_proves_it(add: Any) -> None:
    with pytest.raises(UsageError, match="name 'onnx' is registered twice"):
        add(no_file, name="onnx", suffix=".x")
    with pytest.raises(UsageError, match=r"suffix '\.onnx' is registered twice"):
        add(no_file, name="x", suffix=".onnx")
    with pytest.raises(UsageError, match="no budget in .* for fp17"):
        add(no_file, reductions={"fp17": exporters.Reduction(lambda float32, target: {})})
    with pytest.raises(UsageError, match="unknown runtime"):
        add(no_file, runtime="tflite")


@pytest.mark.parametrize(
    "opset", [pytest.param(opset, marks=pytest.mark.slow if opset in (18, 23) else pytest.mark.proof) for opset in range(18, 24)]
)
def test_every_opset_offered_is_written_as_asked_and_passes(models: Path, drawn_test: Dataset, opset: int) -> None:
    import onnx

    _, proof = gate.export(store.find("lenet", models), "onnx", drawn_test, options={"opset": opset})
    assert proof.artifact is not None
    assert proof.artifact.details["opset"] == opset
    file = onnx.load(models / "lenet" / "lenet.onnx")
    assert [entry.version for entry in file.opset_import if entry.domain == ""] == [opset]


def test_the_file_says_what_it_is_and_nothing_of_this_machine(models: Path) -> None:
    import onnx

    path = models / "lenet" / "lenet.onnx"
    model = onnx.load(path)
    assert model.producer_name == "mnist-edge"
    about = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(about["classes"]) == list("0123456789")
    assert about["licence"] == "MIT"
    assert about["name"] == about["architecture"] == "lenet"
    for file in (path, models / "lenet" / "lenet.torchscript.pt"):
        content = file.read_bytes()
        for private in (str(Path(__file__).resolve().parents[2]), str(Path.home()), str(models), "site-packages"):
            if len(private) > 5:
                assert private.encode() not in content, (file, private)


@pytest.mark.slow
def test_the_same_weights_give_the_same_bytes_again_in_the_same_process(models: Path, drawn_test: Dataset) -> None:
    before = contents(models / "lenet")
    for name in ("onnx", "torchscript", "torchscript"):
        gate.export(store.find("lenet", models), name, drawn_test)
    after = contents(models / "lenet")
    for name in ("lenet.onnx", "lenet.torchscript.pt", "manifest.json"):
        assert before[name] == after[name]


def test_the_manifest_keeps_the_proof(models: Path, drawn_test: Dataset) -> None:
    for artifact in store.find("lenet", models).artifacts:
        assert artifact.parity["passed"] is True
        assert artifact.parity["equal_answers"] == artifact.parity["images"] == 1000
        assert artifact.parity["batches"] == [1, 2, 3, 5, 7, 8, 64, 256, 232]
        assert artifact.parity["data"]["sha256"] == drawn_test.sha256


@pytest.mark.slow
def test_proving_on_other_data_keeps_both_answers_and_the_proof_on_real_digits(
    models: Path, mnist_test: Dataset, drawn_test: Dataset
) -> None:
    model, proof = gate.export(store.find("lenet", models), "onnx", mnist_test)
    assert proof.artifact is not None
    assert {reference.data["name"] for reference in model.manifest.references} == {"drawn", "mnist"}
    assert model.manifest.scores["test_data"]["sha256"] == mnist_test.sha256
    again, _ = gate.export(model, "onnx", drawn_test)
    assert again.manifest.scores["test_data"]["sha256"] == mnist_test.sha256
    assert again.artifact("ort").parity["data"]["name"] == "mnist"
    for reference in again.manifest.references:
        assert len(store.read_reference(again, reference)) == reference.data["images"]


@pytest.mark.slow
def test_the_same_weights_give_the_same_bytes_from_another_folder_and_process(trained: Path, models: Path, tmp_path: Path) -> None:
    """From a copy of the source tree, in a process of its own, which traces something else first."""
    import shutil
    import subprocess
    import sys

    root = Path(__file__).resolve().parents[2]
    for package in ("mnist_edge", "exporters"):
        shutil.copytree(root / package, tmp_path / "elsewhere" / package, ignore=shutil.ignore_patterns("__pycache__"))
    code = (
        "import sys, torch, mnist_edge\n"
        "from pathlib import Path\n"
        "assert 'elsewhere' in mnist_edge.__file__\n"
        "torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2))\n"
        "from exporters import gate\n"
        "from mnist_edge import store\n"
        "from mnist_edge.dataset import drawn\n"
        "for name in ('torchscript', 'onnx'):\n"
        "    gate.export(store.find(Path(sys.argv[1])), name, drawn.draw('test', 1000))\n"
    )
    for artifact in ("lenet.onnx", "lenet.torchscript.pt"):
        (models / "lenet" / artifact).unlink()
    folder = tmp_path / "elsewhere"
    env = {"PYTHONPATH": str(folder), "OMP_WAIT_POLICY": "PASSIVE"}
    subprocess.run([sys.executable, "-W", "ignore", "-c", code, models / "lenet"], check=True, cwd=folder, env=env)
    for artifact in ("lenet.onnx", "lenet.torchscript.pt"):
        assert (models / "lenet" / artifact).read_bytes() == (trained / "lenet" / artifact).read_bytes()


def test_a_refused_export_of_the_installed_reference_leaves_no_model_behind(tmp_path: Path, drawn_test: Dataset, add: Any) -> None:
    add(nudged)
    reference = store.find(None, tmp_path / "models")
    assert reference.is_installed_reference
    _, proof = gate.export(reference, "wrong", drawn_test, models_dir=tmp_path / "models")
    assert proof.artifact is None
    assert [p.name for p in (tmp_path / "models").iterdir()] == [".failed"]
