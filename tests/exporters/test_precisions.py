"""fp16 and int8: within budget or refused, explained, and the same bytes every time."""

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
import proving
import pytest
from conftest import LOWER, Command, Quantized, train_small

from exporters import Calibration, gate
from mnist_edge import Predictor, store
from mnist_edge.architectures.recipe import Recipe
from mnist_edge.common.errors import ExportError, NoGainError, ParityError, UnknownNameError, UsageError
from mnist_edge.dataset import Dataset
from mnist_edge.dataset.folder import write_folder
from mnist_edge.proof.parity import BUDGETS

pytestmark = pytest.mark.slow


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(("precision", "most"), [("fp16", 0.55), ("int8-dynamic", 0.36), ("int8-static", 0.36)])
def test_a_lower_precision_is_smaller_keeps_the_contract_and_is_verified(
    reduced: store.Model, drawn_test: Dataset, precision: str, most: float
) -> None:
    artifact = next(a for a in reduced.artifacts if a.precision == precision)
    float32 = next(a for a in reduced.artifacts if a.file == "lenet.onnx")
    assert artifact.file == f"lenet.{precision}.onnx"
    assert artifact.bytes < most * float32.bytes
    assert artifact.parity["budget"]["accuracy_drop"] == 0.02
    assert artifact.details["reduced_weights"] > 0.9
    predictor = Predictor.load(reduced.folder / artifact.file, self_test=True)
    for batch in (1, 2, 7, 64):
        logits = predictor.logits(drawn_test.images[:batch])
        assert logits.dtype == np.float32
        assert logits.shape == (batch, 10)
    results = [
        *proving.verify(reduced, reduced.manifest.references[0], drawn_test, "ort"),
        *proving.verify_quickly(reduced, "ort"),
    ]
    assert [r.passed for r in results] == [True] * 8, [r.reason or (r.report and r.report.failures) for r in results]


def test_float32_is_what_a_name_means_whatever_else_there_is(reduced: store.Model) -> None:
    assert reduced.artifact("ort").file == "lenet.onnx"


def test_static_int8_names_its_calibration(reduced: store.Model, drawn_train: Dataset) -> None:
    artifact = next(a for a in reduced.artifacts if a.precision == "int8-static")
    assert artifact.details["kept_float"] == []
    kept = artifact.details["calibration"]
    assert kept["method"] == "minmax"
    assert kept["seed"] == 0
    assert kept["data"]["sha256"] == drawn_train.sha256
    assert len(set(kept["indices"])) == 100


def test_int8_weights_leave_a_bit_for_processors_that_saturate(reduced: store.Model) -> None:
    graph = onnx.load(reduced.folder / "lenet.int8-static.onnx").graph
    weights = [onnx.numpy_helper.to_array(t) for t in graph.initializer if t.data_type == onnx.TensorProto.INT8 and len(t.dims) > 1]
    assert len(weights) == 5
    assert max(np.abs(weight.astype(int)).max() for weight in weights) <= 64


@pytest.mark.proof
@pytest.mark.parametrize("precision", LOWER)
def test_the_same_calibration_gives_the_same_bytes(
    reduced: store.Model, models: Path, drawn_train: Dataset, drawn_test: Dataset, precision: str
) -> None:
    model = store.find("lenet", models)
    for seed, same in ((0, True), (1, False)):
        if precision != "int8-static" and seed:
            break
        images = Calibration.draw(drawn_train, 100, seed) if precision == "int8-static" else None
        after, _ = gate.export(model, "onnx", drawn_test, precision=precision, calibration=images, max_accuracy_drop=0.05)
        file = f"lenet.{precision}.onnx"
        assert (sha256(after.folder / file) == sha256(reduced.folder / file)) is same


@pytest.fixture(scope="module")
def fragile(tmp_path_factory: pytest.TempPathFactory, drawn_train: Dataset, drawn_test: Dataset) -> store.Model:
    models = tmp_path_factory.mktemp("fragile")
    return train_small(models, "outlier:Outlier", data=drawn_train, test=drawn_test, name="fragile", recipe=Recipe(epochs=3, batch_size=32))


@pytest.mark.proof
def test_the_layer_that_costs_most_is_named_and_keeping_it_in_float_passes(
    fragile: store.Model, drawn_train: Dataset, drawn_test: Dataset
) -> None:
    images = Calibration.draw(drawn_train, 100)
    before = sorted(p.name for p in fragile.folder.iterdir())
    after, refused = gate.export(fragile, "onnx", drawn_test, precision="int8-static", calibration=images, max_accuracy_drop=0.02)
    assert refused.artifact is None
    assert refused.report.equal_answers < 667
    assert sorted(p.name for p in after.folder.iterdir()) == before
    assert refused.costs[0].layer == "first/Gemm"
    assert refused.costs[0].added > 0.3
    with pytest.raises(ExportError, match=r"saves no space: .* only \d+ % of its weights"):
        gate.export(fragile, "onnx", drawn_test, precision="int8-static", calibration=images, options={"keep_float": ["first"]})
    after, forced = gate.export(
        fragile,
        "onnx",
        drawn_test,
        precision="int8-static",
        calibration=images,
        options={"keep_float": ["first"]},
        max_accuracy_drop=0.02,
        force=True,
    )
    assert forced.artifact is not None
    assert forced.artifact.details["kept_float"] == ["first/Gemm"]


@pytest.mark.proof
@pytest.mark.parametrize("precision", LOWER)
def test_layers_to_be_kept_in_float_are_kept(
    models: Path, reduced: store.Model, drawn_train: Dataset, drawn_test: Dataset, precision: str
) -> None:
    model, proof = gate.export(
        store.find("lenet", models),
        "onnx",
        drawn_test,
        precision=precision,
        calibration=Calibration.draw(drawn_train, 100),
        options={"keep_float": ["conv1", "fc1"]},
        max_accuracy_drop=0.05,
        force=True,
    )
    assert proof.artifact is not None
    graph = onnx.load(model.folder / proof.artifact.file).graph
    conv1 = next(t for t in graph.initializer if t.name == "network.conv1.weight")
    fc1 = next(t for t in graph.initializer if t.name == "network.fc1.weight" or list(t.dims) == [400, 120])
    assert conv1.data_type == fc1.data_type == onnx.TensorProto.FLOAT
    share = next(a for a in reduced.artifacts if a.precision == precision).details["reduced_weights"]
    assert 0.1 < proof.artifact.details["reduced_weights"] < share - 0.7  # fc1 is three quarters of the weights, fc2 is still reduced


def test_a_layer_that_is_in_float_already_is_not_blamed(reduced: store.Model, drawn_test: Dataset) -> None:
    from exporters.onnx.diagnosis import layer_costs

    def blamed(precision: str) -> set[str]:
        return {c.layer for c in layer_costs(reduced.folder / "lenet.onnx", reduced.folder / f"lenet.{precision}.onnx", drawn_test.images)}

    assert blamed("int8-dynamic") == {"fc1/Gemm", "fc2/Gemm", "fc3/Gemm"}
    assert blamed("int8-static") == {"conv1/Conv", "conv2/Conv", "fc1/Gemm", "fc2/Gemm", "fc3/Gemm"}
    assert blamed("fp16") == {"conv1/Conv", "conv2/Conv", "fc1/Gemm", "fc2/Gemm", "fc3/Gemm"}


def test_golden_answers_may_not_change_whatever_the_budget(fragile: store.Model, drawn_train: Dataset, drawn_test: Dataset) -> None:
    _, proof = gate.export(
        fragile,
        "onnx",
        drawn_test,
        precision="int8-static",
        calibration=Calibration.draw(drawn_train, 100),
        max_accuracy_drop=1.0,
        force=True,
    )
    assert proof.artifact is None
    assert all(failure.startswith("golden inputs: ") for failure in proof.report.failures)


def test_a_file_that_kills_its_runtime_is_refused(models: Path, drawn_test: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen with onnxruntime 1.31 and 1.32 and a Gelu in float16; here the process that tries the file kills itself."""
    import sys

    monkeypatch.setattr(sys, "executable", str(models / "python"))
    (models / "python").write_text("#!/bin/sh\nkill -SEGV $$\n")
    (models / "python").chmod(0o755)
    before = sorted(p.name for p in (models / "lenet").iterdir())
    with pytest.raises(ParityError, match=r"lenet: not published: runtime ort dies \(SIGSEGV\)"):
        gate.export(store.find("lenet", models), "onnx", drawn_test, precision="fp16")
    assert sorted(p.name for p in (models / "lenet").iterdir()) == before


@pytest.mark.proof
def test_a_gru_gains_nothing_from_int8(tmp_path: Path, drawn_train: Dataset, drawn_test: Dataset) -> None:
    model = train_small(tmp_path, "gru", data=drawn_train.first(240), test=drawn_test)
    for precision in ("int8-static", "int8-dynamic"):
        with pytest.raises(NoGainError, match="gru: not published as .* saves no space.*--force") as refused:
            gate.export(model, "onnx", drawn_test, precision=precision, calibration=Calibration.draw(drawn_train, 100))
        assert 0.9 < refused.value.size < 1.1
        assert refused.value.speed in str(refused.value)
    assert sorted(p.suffix for p in model.folder.iterdir() if p.suffix == ".onnx") == []


def test_a_wider_budget_is_asked_for_openly_and_kept(reduced: store.Model) -> None:
    artifact = next(a for a in reduced.artifacts if a.precision == "int8-static")
    assert artifact.parity["budget"] == {"equal_answers": pytest.approx(0.94), "logit_difference": None, "accuracy_drop": 0.02}
    assert BUDGETS["int8-static"].with_accuracy_drop(0.0005).equal_answers == BUDGETS["int8-static"].equal_answers


def test_options_that_make_no_sense_are_refused(reduced: store.Model, drawn_test: Dataset) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown layer 'conv9' \(did you mean 'conv\d'\?\); known: conv1, conv2, fc1, fc2, fc3"):
        gate.export(reduced, "onnx", drawn_test, precision="fp16", options={"keep_float": ["conv9"]})
    with pytest.raises(UsageError, match="max-accuracy-drop is for lower precisions"):
        gate.export(reduced, "onnx", drawn_test, max_accuracy_drop=0.1)
    with pytest.raises(UsageError, match="needs training images"):
        gate.export(reduced, "onnx", drawn_test, precision="int8-static")
    with pytest.raises(UsageError, match="--calibration-method entropy: no such choice; known: minmax, percentile"):
        gate.export(
            reduced,
            "onnx",
            drawn_test,
            precision="int8-static",
            calibration=Calibration(drawn_test.images, {}),
            options={"calibration_method": "entropy"},
        )


@pytest.mark.proof
def test_percentile_clips_what_minmax_keeps(models: Path, drawn_train: Dataset, drawn_test: Dataset) -> None:
    ranges = {}
    for method in ("minmax", "percentile"):
        model, proof = gate.export(
            store.find("lenet", models),
            "onnx",
            drawn_test,
            precision="int8-static",
            calibration=Calibration.draw(drawn_train, 100),
            options={"calibration_method": method},
            max_accuracy_drop=0.05,
        )
        assert proof.artifact is not None
        tensors = onnx.load(model.folder / proof.artifact.file).graph.initializer
        ranges[method] = next(float(onnx.numpy_helper.to_array(t)) for t in tensors if t.name == "relu_3_scale")
    assert ranges["percentile"] < ranges["minmax"]


@pytest.mark.proof
def test_the_command_says_what_it_is_good_for(quantized: Quantized) -> None:
    document = json.loads(quantized.printed["static"])
    assert document["published"] is True
    assert document["precision"] == "int8-static"
    assert document["parity"]["equal_answers"] >= 9970
    assert document["parity"]["budget"] == {"equal_answers": 0.997, "logit_difference": None, "accuracy_drop": 0.001}
    assert document["verdict"]["size_ratio"] < 0.36
    assert "verdict          a third of the size; " in quantized.printed["dynamic"]
    assert "verdict          half the size; " in quantized.printed["fp16"]


@pytest.mark.proof
def test_wrong_things_are_named_in_one_line(
    run_command: Command, models: Path, drawn_train: Dataset, drawn_test: Dataset, tmp_path: Path
) -> None:
    write_folder(drawn_train.first(120), tmp_path / "data")
    write_folder(drawn_test, tmp_path / "data")

    def error(*arguments: str, check: int = 2) -> str:
        done = run_command("export", "lenet", "--models-dir", models, "--data", "data", *arguments, check=check)
        (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        return line

    assert "--quantize int8: format onnx has no such precision" in error("--format", "onnx", "--quantize", "int8")
    assert "known: none" in error("--format", "torchscript", "--quantize", "fp16")
    for misplaced in (("--calibration-method", "minmax"), ("--calibration-images", "7"), ("--calibration-seed", "1")):
        message = f"{misplaced[0]} has no effect with --format onnx --quantize fp16"
        assert message in error("--format", "onnx", "--quantize", "fp16", *misplaced)
    for misplaced in (("--keep-float", "conv1"), ("--max-accuracy-drop", "1")):
        assert f"{misplaced[0]} has no effect with --format onnx --quantize none" in error("--format", "onnx", *misplaced)
    assert "--opset has no effect with --format torchscript" in error("--format", "torchscript", "--opset", "20")
    for points, why in (("-1", "not in the range 0<=x<=100"), ("101", "not in the range 0<=x<=100"), ("nan", "nan is not a finite number")):
        assert why in error("--format", "onnx", "--quantize", "fp16", "--max-accuracy-drop", points)
    passed_over = {"MNIST_EDGE_CALIBRATION_METHOD": "minmax", "MNIST_EDGE_OPSET": "20", "MNIST_EDGE_FORCE": "1"}
    run_command("export", "lenet", "--models-dir", models, "--data", "data", "--format", "torchscript", env=passed_over)
    assert "has 110 training images" in error("--format", "onnx", "--quantize", "static", "--calibration-images", "120")
    few = run_command(
        "export", "lenet", "--models-dir", models, "--data", "data", "--format", "onnx", "--quantize", "static", "--calibration-images", "3",
        check=None,
    )  # fmt: skip
    assert "warning: 3 calibration images are too few" in few.stderr
