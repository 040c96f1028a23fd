"""Finds where a lower precision goes wrong, by comparing the tensors of both graphs layer by layer."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from exporters.onnx.graph import layers, layers_in_float
from exporters.registry import LayerCost

if TYPE_CHECKING:
    import onnx


def layer_costs(float32: Path, reduced: Path, pixels: NDArray[np.uint8]) -> list[LayerCost]:
    """Run images, uint8 N×1×28×28, through both graphs and return each layer's cost, the costliest first.

    Tensors keep their names when a graph is reduced. Layers still in float32 are left out, and so are layers with a tensor that only one
    graph has.
    """
    import onnx

    graph, other = (onnx.load(path) for path in (float32, reduced))
    there = {"pixels", *(output for node in other.graph.node for output in node.output)}
    activation = {node.input[0]: node.output[0] for node in graph.graph.node if node.op_type == "Relu"}

    def counterpart(tensor: str) -> str | None:
        """Return the tensor's name in the reduced graph: the rounded tensor if there is one, because a ReLU may be part of the rounding."""
        return next((name for name in (f"{tensor}_DequantizeLinear_Output", tensor) if name in there), None)

    untouched = layers_in_float(other)
    watched: list[tuple[str, str, str]] = []
    pairs: dict[str, str] = {}
    for node in layers(graph):
        if node.name in untouched:
            continue
        behind = next((t for t in (node.output[0], activation.get(node.output[0], "")) if counterpart(t)), None)
        found = {tensor: counterpart(tensor) for tensor in (node.input[0], behind) if tensor}
        if behind is None or None in found.values():
            continue
        pairs |= {tensor: name for tensor, name in found.items() if name}
        watched.append((node.name, node.input[0], behind))
    names = sorted(pairs)
    a = _tensors(graph, names, pixels)
    b = _tensors(other, [pairs[name] for name in names], pixels)
    errors = {name: _relative_error(a[name], b[pairs[name]]) for name in names}
    costs = []
    for layer, before, behind in watched:
        added = max(0.0, errors[behind] ** 2 - errors[before] ** 2) ** 0.5
        costs.append(LayerCost(layer, errors[before], errors[behind], added))
    return sorted(costs, key=lambda cost: -cost.added)


def _tensors(model: "onnx.ModelProto", names: list[str], pixels: NDArray[np.uint8]) -> dict[str, NDArray[np.float64]]:
    """Run a graph and return the inner tensors asked for."""
    import onnx
    import onnxruntime as ort

    outputs = {output.name for output in model.graph.output}
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names if name not in outputs)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    # no optimization: fused layers would lose their tensors
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return dict(zip(names, (value.astype(np.float64) for value in session.run(names, {"pixels": pixels})), strict=True))


def _relative_error(reference: NDArray[np.float64], candidate: NDArray[np.float64]) -> float:
    size = float(np.sqrt((reference**2).mean()))
    return float(np.sqrt(((candidate - reference) ** 2).mean())) / size if size > 0 else 0.0
