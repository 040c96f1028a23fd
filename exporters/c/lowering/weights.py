"""Constants, in the form and the order in which kernels take them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.c.graph import Node
from exporters.c.lowering.state import Lowering
from exporters.c.steps import Value
from mnist_edge.common.errors import ExportError

#: Filters' bytes are padded to a multiple of this, so that a kernel takes four at a time.
WORD = 4

#: Columns of a float32 matrix that a kernel computes together (BAND in rows_f32.c), and floats behind it, so that a vector may reach over its end.
_BAND, _BEHIND = 16, 7


def float_weights(lowering: Lowering, name: str) -> NDArray[np.float32]:
    """Return a constant as floats, dequantized if need be. Raises ExportError if it is none."""
    constant = lowering.constant(name)
    if constant is not None:
        return constant.astype(np.float32)
    found = lowering.weights(name)
    if found is None:
        raise ExportError(f"format c: {name} is not a constant, but a kernel needs one there")
    integers, scales = found
    return (integers.astype(np.float32) * scales).astype(np.float32)


def along_first_axis(integers: NDArray[Any], scales: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """Return one scale for each of a matrix's rows, or of a convolution's filters; None if the scales lie along another axis."""
    if scales.size == 1:
        return np.broadcast_to(scales.ravel(), len(integers))
    return scales.ravel() if len(scales) == len(integers) and scales.size == len(scales) else None


def float_bias(lowering: Lowering, node: Node) -> NDArray[np.float32]:
    """Return the third input of a node, or zeros: one number for each output. Raises ExportError for any other shape."""
    n = lowering.graph.shape(node.outputs[0])[1]
    if len(node.inputs) < 3 or not node.inputs[2]:
        return np.zeros(n, np.float32)
    found = float_weights(lowering, node.inputs[2])
    if found.size not in (1, n):
        raise ExportError(f"format c has no kernel for {node.op} with a third input of shape {found.shape} (node {node.name})")
    return np.broadcast_to(found.ravel(), n)


def integer_bias(lowering: Lowering, node: Node, weight: NDArray[Any], x: Value) -> NDArray[np.int32]:
    """Return the bias as integers, with the input's zero point taken in: sum(w * (x - zero)) = sum(w * x) - zero * sum(w)."""
    given = lowering.weights(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else None
    if given is None and len(node.inputs) > 2 and node.inputs[2]:
        raise ExportError(f"format c: the bias of {node.name} is not quantized")
    bias = given[0].astype(np.int64) if given else np.zeros(len(weight), np.int64)
    result: NDArray[np.int32] = (bias - x.zero * weight.reshape(len(weight), -1).sum(axis=1, dtype=np.int64)).astype(np.int32)
    return result


def multipliers(x: Value, scales: NDArray[np.float32], y: Value) -> NDArray[np.float32]:
    """Return what a sum of products is multiplied with, computed in float32 in onnxruntime's order."""
    return (np.float32(x.scale) * scales / np.float32(y.scale)).astype(np.float32)


def scalar(lowering: Lowering, node: Node) -> float | None:
    """Return the second input of a node if it is one constant number."""
    constant = lowering.constant(node.inputs[1])
    return float(constant.item()) if constant is not None and constant.size == 1 else None


def vector(lowering: Lowering, node: Node, n: int) -> NDArray[np.float32] | None:
    """Return the second input of a node if it is a constant vector of n."""
    name = node.inputs[1]
    if lowering.constant(name) is None and lowering.weights(name) is None:
        return None
    found = float_weights(lowering, name)
    return found.ravel() if found.size == n else None


def in_bands(weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a matrix, k x n, in the order in which rows_f32.c reads it."""
    columns = range(0, weight.shape[1], _BAND)
    return padded(np.concatenate([weight[:, start : start + _BAND].ravel() for start in columns]))


def padded(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return floats with zeros behind them, over which a vector may reach."""
    return np.pad(values, (0, _BEHIND))


def memory_order(x: Value) -> NDArray[np.int64]:
    """Return, for each element as it lies in memory, its index in the file's order."""
    c, h, w = x.image
    return np.arange(c * h * w).reshape(c, h, w).transpose(1, 2, 0).ravel()
