"""tract: what it refuses, and what it answers wrongly without a word, which the comparison with PyTorch finds."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mnist_edge import store
from mnist_edge.common.errors import ModelError
from mnist_edge.dataset import Dataset
from mnist_edge.proof import parity
from mnist_edge.runtimes import RUNTIMES

MODELS = Path(__file__).resolve().parents[2] / "models"


@pytest.mark.parametrize("file", ["gru/gru.fp16.onnx", "resnet-tiny/resnet-tiny.fp16.onnx", "vit/vit.fp16.onnx"])
def test_fp16_is_refused(file: str) -> None:
    with pytest.raises(ModelError, match=r"tract .* cannot load it: .*F16") as caught:
        RUNTIMES["tract"].load(MODELS / file)
    assert "\n" not in str(caught.value) and "backtrace" not in str(caught.value)
    assert "fp16" not in (RUNTIMES["tract"].precisions or ())


def test_its_wrong_softmax_is_found_out(mnist_test: Dataset) -> None:
    """If this fails, tract has been mended: say so in the documentation."""
    model = store.Model.read(MODELS / "vit-cls")
    (stored,) = (r for r in model.manifest.references if r.data["name"] == "mnist")
    reference = store.read_reference(model, stored)[:1000]
    answers = []
    for name in ("ort", "tract"):
        run = RUNTIMES[name].load(MODELS / "vit-cls" / "vit-cls.int8-static.onnx")
        images, labels = mnist_test.images[:1000], mnist_test.labels[:1000]
        answers.append(parity.check(run, reference, images, labels, parity.BUDGETS["int8-static"])[0])
    assert answers[0] and not answers[1]
    assert answers[1].equal_answers < 500


def test_the_fault_is_a_softmax_between_integers(tmp_path: Path) -> None:
    """DequantizeLinear, Softmax, QuantizeLinear become a table with an entry for each of the 256 codes, as if Softmax were element-wise."""
    codes = np.array([250, 251, 252, 253, 254, 255], np.uint8)
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "in_scale", "in_zero"], ["dequantized"]),
        helper.make_node("Softmax", ["dequantized"], ["shares"], axis=0),
        helper.make_node("QuantizeLinear", ["shares", "out_scale", "out_zero"], ["y"]),
    ]
    values = {"in_scale": np.float32(1 / 16), "in_zero": np.uint8(120), "out_scale": np.float32(1 / 256), "out_zero": np.uint8(0)}
    graph = helper.make_graph(
        nodes,
        "softmax",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, codes.shape)],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, codes.shape)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()],
    )
    path = tmp_path / "softmax.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), path)

    import tract

    answered = tract.onnx().load(path).into_model().into_runnable().run([codes])[0].to_numpy()

    def softmax(of: np.ndarray) -> np.ndarray:
        shares = np.exp((of - 120.0) / 16)
        return np.rint(256 * shares / shares.sum()).clip(0, 255).astype(np.uint8)

    assert softmax(codes).tolist() == [36, 39, 41, 44, 47, 50]
    assert answered.tolist() == softmax(np.arange(256))[codes].tolist() == [11, 12, 13, 14, 15, 16]
