"""An ONNX file as a plain list of nodes for one image: shapes are known, and whatever does not depend on the pixels is a constant."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.common.errors import ExportError

if TYPE_CHECKING:
    import onnx

#: Constants of these stay quantized: a kernel computes with the integers.
QUANTIZERS = ("QuantizeLinear", "DequantizeLinear")


@dataclass(frozen=True)
class Node:
    """One operation.

    Attributes:
        op: its ONNX operator.
        name: its name in the file.
        inputs: names of tensors; an empty one stands for an input that was left out.
        outputs: names of tensors.
        attributes: as Python values.
    """

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]


@dataclass(frozen=True)
class Graph:
    """A network for one image.

    Attributes:
        nodes: in the order in which they run; each depends on the pixels, or dequantizes a constant.
        constants: by name.
        samples: the value of every tensor for one image: gives shapes and types.
        input, output: names of the pixels and the logits.
        model: the file, to run parts of it.
    """

    nodes: tuple[Node, ...]
    constants: dict[str, NDArray[Any]]
    samples: dict[str, NDArray[Any]]
    input: str
    output: str
    model: onnx.ModelProto

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape for one image."""
        return tuple(int(size) for size in self.samples[name].shape)


def read(path: Path) -> Graph:
    """Read an ONNX file that keeps the contract of pixels in and logits out. Raises ExportError for what cannot be taken as one image."""
    import onnx

    model = onnx.load(path)
    graph = model.graph
    if [port.name for port in graph.input] != ["pixels"] or [port.name for port in graph.output] != ["logits"]:
        raise ExportError(
            f"{path.name}: takes {[p.name for p in graph.input]} and gives {[p.name for p in graph.output]}, not pixels and logits"
        )
    nodes = [
        Node(
            node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}",
            node.name or node.output[0],
            tuple(node.input),
            tuple(node.output),
            {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute},
        )
        for node in graph.node
    ]
    constants = {one.name: onnx.numpy_helper.to_array(one) for one in graph.initializer}
    samples = constants | _run(model)
    kept: list[Node] = []
    for node in nodes:
        fixed = node.op in ("Shape", "Constant") or (any(node.inputs) and all(name in constants for name in node.inputs if name))
        if fixed and node.op not in QUANTIZERS:
            constants |= {name: samples[name] for name in node.outputs if name}
        else:
            kept.append(node)
    used = {name for node in kept for name in node.inputs}
    return Graph(tuple(kept), {k: v for k, v in constants.items() if k in used}, samples, "pixels", "logits", model)


def _run(model: onnx.ModelProto) -> dict[str, NDArray[Any]]:
    """Return every tensor's value for one image: onnxruntime computes them, so that shapes and constants are its own."""
    import onnx
    import onnxruntime

    inner = onnx.ModelProto()
    inner.CopyFrom(model)
    names = [name for node in model.graph.node for name in node.output if name]
    inner.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name != "logits")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(inner.SerializeToString(), options, providers=["CPUExecutionProvider"])
    pixels = np.zeros((1, 1, 28, 28), np.uint8)
    outputs = [one.name for one in session.get_outputs()]
    values: dict[str, NDArray[Any]] = dict(zip(outputs, session.run(outputs, {"pixels": pixels}), strict=True))
    return values | {"pixels": pixels}
