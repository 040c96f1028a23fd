"""Small ONNX files that keep the contract, or break it in one place."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def linear(
    path: Path,
    *,
    batch: int | str = "N",
    takes: int = TensorProto.UINT8,
    pixels: str = "pixels",
    side: int = 28,
    classes: int = 10,
    rows: int = -1,
    second_input: bool = False,
) -> Path:
    """Write one matrix product, with weights of a seed; `rows` other than -1 makes it run for that many images alone."""
    weights = np.random.default_rng(0).normal(size=(side * side, classes)).astype(np.float32)
    shape = np.array([rows, side * side])
    nodes = [
        helper.make_node("Cast", [pixels], ["ink"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["ink", "shape"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
    ]
    inputs = [helper.make_tensor_value_info(pixels, takes, [batch, 1, side, side])]
    if second_input:
        nodes[-1].output[0] = "product"
        nodes.append(helper.make_node("Add", ["product", "bias"], ["logits"]))
        inputs.append(helper.make_tensor_value_info("bias", TensorProto.FLOAT, [classes]))
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["M", classes])]
    initializers = [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(shape, "shape")]
    graph = helper.make_graph(nodes, "linear", inputs, outputs, initializers)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def flip_a_weight(source: Path, target: Path) -> Path:
    """Copy an ONNX file with one bit changed: the top bit of the exponent of a large weight, so that the file still loads."""
    data = bytearray(source.read_bytes())
    model = onnx.load(source)
    tensor = max((t for t in model.graph.initializer if t.data_type == TensorProto.FLOAT), key=lambda t: len(t.raw_data))
    at = data.index(tensor.raw_data) + 4 * int(np.argmax(np.abs(np.frombuffer(tensor.raw_data, "<f4"))))
    data[at + 3] ^= 0x40
    target.write_bytes(data)
    return target
