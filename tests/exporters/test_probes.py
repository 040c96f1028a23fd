"""What a test set cannot show: a file that answers bright pictures, or batches of another size, otherwise."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import exporters
from exporters import Format, Target, gate, registry
from mnist_edge import store
from mnist_edge.dataset import Dataset
from mnist_edge.proof import probes

CONDITIONS = {
    "all white": [  # the mean of a batch is above 200
        helper.make_node("Cast", ["pixels"], ["as_float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["as_float"], ["mean"], keepdims=0),
        helper.make_node("Greater", ["mean", "limit"], ["condition"]),
    ],
    "batches of 3": [
        helper.make_node("Shape", ["pixels"], ["shape"], end=1),
        helper.make_node("Cast", ["shape"], ["rows"], to=TensorProto.FLOAT),
        helper.make_node("Equal", ["rows", "three"], ["condition"]),
    ],
    "batches of 5 and 64": [
        helper.make_node("Shape", ["pixels"], ["shape"], end=1),
        helper.make_node("Cast", ["shape"], ["rows"], to=TensorProto.FLOAT),
        helper.make_node("Mod", ["rows", "fifty_nine"], ["rest"], fmod=1),
        helper.make_node("Equal", ["rest", "five"], ["condition"]),
    ],
}


def halved_where(source: Path, target: Path, condition: str) -> None:
    """Write the file so that its logits are halved where the condition holds."""
    model = onnx.load(source)
    for node in model.graph.node:
        node.output[:] = ["plain" if name == "logits" else name for name in node.output]
    constants = {"limit": 200.0, "three": 3.0, "five": 5.0, "fifty_nine": 59.0, "half": 0.5, "one": 1.0}
    model.graph.initializer.extend(onnx.numpy_helper.from_array(np.array(value, np.float32), name) for name, value in constants.items())
    factor = helper.make_node("Where", ["condition", "half", "one"], ["factor"])
    model.graph.node.extend([*CONDITIONS[condition], factor, helper.make_node("Mul", ["plain", "factor"], ["logits"])])
    onnx.save(model, target)


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_file_that_answers_otherwise_only_there_is_not_published(
    models: Path, drawn_test: Dataset, monkeypatch: pytest.MonkeyPatch, condition: str
) -> None:
    """Each answers all of the test images, in batches of 1, 2, 7, 256 and the remainder, as PyTorch does: that was once enough."""
    exporters.formats()
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))

    def export(deployed: Any, target: Target) -> dict[str, Any]:
        halved_where(models / "lenet" / "lenet.onnx", target.path, condition)
        return {}

    exporters.register(Format(name="branching", summary="x", suffix=".branching.onnx", runtime="ort", export=export))
    _, refused = gate.export(store.find("lenet", models), "branching", drawn_test)
    assert refused.artifact is None
    assert refused.report.equal_answers == 1000
    assert any(failure.startswith(condition) for failure in refused.report.failures), refused.report.failures


def test_a_lower_precision_is_made_from_a_float32_file_that_answers_these_too(
    models: Path, drawn_test: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    onnx_format = exporters.find("onnx")

    def export(deployed: Any, target: Target) -> dict[str, Any]:
        halved_where(models / "lenet" / "lenet.onnx", target.path, "all white")
        return {}

    changed = Format(
        name="branching",
        summary="x",
        suffix=".branching.onnx",
        runtime="ort",
        export=export,
        reductions={"fp16": onnx_format.reductions["fp16"]},
    )
    exporters.register(changed)
    _, refused = gate.export(store.find("lenet", models), "branching", drawn_test, precision="fp16")
    assert refused.artifact is None
    assert any(failure.startswith("in float32, from which it was made: all white: logits differ") for failure in refused.report.failures)


def test_what_pytorch_answers_with_nan_is_to_be_answered_so() -> None:
    """As by a network that divides by an image's contrast, which an even image has none of."""
    images = np.random.default_rng(1).integers(0, 255, (64, 1, 28, 28), dtype=np.uint8)

    def contrast(pixels: np.ndarray) -> np.ndarray:
        flat = pixels.reshape(len(pixels), -1).astype(np.float32)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.tile((flat.mean(axis=1) - flat[:, 0]) / flat.std(axis=1), (10, 1)).T.astype(np.float32)

    asked = probes.ask(contrast, images)
    assert probes.failures(contrast, asked, exact=True) == []
    replaced = probes.failures(lambda pixels: np.nan_to_num(contrast(pixels)), asked, exact=True)
    assert replaced == [f"{name}: PyTorch answers NaN or infinity, and this does not" for name in ("all black", "all white")]
    assert probes.failures(lambda pixels: contrast(pixels) * np.float32("nan"), asked, exact=False) == [
        f"{name}: answered NaN or infinity" for name in ("noise", "inverted images")
    ]
    assert probes.failures(lambda pixels: contrast(pixels)[:1], asked, exact=False)
