"""An x86 processor without VNNI, emulated: int8 kernels there add in 16 bits, which overflow unless the weights leave a bit."""

from pathlib import Path

import pytest
from emulators import emulator

from exporters import Calibration, gate
from mnist_edge import store
from mnist_edge.dataset import Dataset
from mnist_edge.proof import golden, verification
from mnist_edge.proof.parity import ParityReport
from mnist_edge.runtimes import emulated
from mnist_edge.store.manifest import Artifact

pytestmark = pytest.mark.proof


@pytest.fixture(scope="module", autouse=True)
def _emulators() -> None:
    emulator("haswell")
    emulator("aarch64")


def compared(model: store.Model, artifact: Artifact, machine: str, furthest: float) -> ParityReport:
    """Compare an artifact on a machine with PyTorch's answers to the golden inputs, given how far it may be where it adds in 32 bits."""
    run = emulated.load(model.path(artifact), machine)
    return golden.compare(run, verification.read_golden(model), golden.tolerance(artifact.precision, furthest))


@pytest.mark.parametrize("machine", ["haswell", "aarch64"])
def test_every_precision_answers_there_as_here(machine: str, reduced: store.Model) -> None:
    artifacts = [artifact for artifact in reduced.artifacts if artifact.runtime == "ort"]
    assert {artifact.precision for artifact in artifacts} == {"float32", "fp16", "int8-dynamic", "int8-static"}
    for artifact in artifacts:
        report = compared(reduced, artifact, machine, artifact.proof.golden.get("max_difference", 0.0))
        assert report, (artifact.file, report.failures)


def test_weights_of_eight_bits_are_found_out(
    models: Path, drawn_train: Dataset, drawn_test: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnxruntime.quantization as quantization

    real = quantization.quantize_static
    monkeypatch.setattr(quantization, "quantize_static", lambda *args, **options: real(*args, **(options | {"reduce_range": False})))
    model = store.find("lenet", models)
    # forced, for the processor that runs this test may have no VNNI either
    model, proof = gate.export(
        model,
        "onnx",
        drawn_test,
        precision="int8-static",
        calibration=Calibration.draw(drawn_train, 100),
        max_accuracy_drop=0.05,
        force=True,
    )
    assert proof.artifact is not None
    arm = compared(model, proof.artifact, "aarch64", float("inf"))
    assert arm.equal_answers == arm.images
    assert compared(model, proof.artifact, "aarch64", arm.max_difference)
    report = compared(model, proof.artifact, "haswell", arm.max_difference)
    assert not report
    assert report.max_difference > 2 * arm.max_difference
    float32 = next(artifact for artifact in model.artifacts if artifact.file == "lenet.onnx")
    assert compared(model, float32, "haswell", 0.0)
