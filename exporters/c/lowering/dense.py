"""Dense layers, and products of two computed matrices."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.c.graph import Node
from exporters.c.lowering.state import Lowering, layer_of, lowers
from exporters.c.lowering.weights import (
    WORD,
    along_first_axis,
    float_bias,
    float_weights,
    in_bands,
    integer_bias,
    memory_order,
    multipliers,
    padded,
    vector,
)
from exporters.c.steps import Value
from mnist_edge.common.errors import ExportError


@lowers("Gemm", "MatMul")
def _dense(lowering: Lowering, node: Node) -> None:
    weights = lowering.weights(node.inputs[1])
    x = lowering.bytes_of(node.inputs[0])
    if node.op == "Gemm" and (
        node.attributes.get("alpha", 1.0) != 1.0 or node.attributes.get("beta", 1.0) != 1.0 or node.attributes.get("transA")
    ):
        raise ExportError(f"format c has no kernel for Gemm with alpha, beta or transA (node {node.name})")
    if weights is None and lowering.constant(node.inputs[1]) is None:
        _matmul(lowering, node)
        return
    if (weights[0] if weights else lowering.graph.samples[node.inputs[1]]).ndim != 2:
        raise ExportError(f"format c has no kernel for {node.op} with a constant that is not a matrix (node {node.name})")
    if x is not None and weights is not None and _dense_u8(lowering, node, x, *weights):
        return
    weight = float_weights(lowering, node.inputs[1])
    if node.attributes.get("transB"):
        weight = weight.T
    found = lowering.values.get(node.inputs[0])
    if found is not None and found.type == "float" and found.channels_last and found.elements == len(weight):
        value, weight = found, weight[memory_order(found)]
    else:
        value = lowering.floats(node.inputs[0])
    k, n = weight.shape
    bias = float_bias(lowering, node) if node.op == "Gemm" else np.zeros(n, np.float32)
    name, relu = node.outputs[0], 0
    if node.op == "MatMul" and (sum_ := lowering.follower(name, "Add")) and (term := vector(lowering, sum_, n)) is not None:
        lowering.done.add(sum_.name)
        name, bias = sum_.outputs[0], term
    if following := lowering.follower(name, "Relu"):
        lowering.done.add(following.name)
        name, relu = following.outputs[0], 1
    layer, rows = layer_of(node), value.elements // k
    result = Value(name, lowering.graph.shape(name))
    arguments = (
        value,
        lowering.array(layer, "weight", "float", in_bands(weight)),
        lowering.array(layer, "bias", "float", padded(bias)),
        rows,
        k,
        n,
        relu,
        result,
    )
    lowering.add("dense_f32", ("rows_f32", "dense_f32"), arguments, result, layer, rows * k * n, name)


def _dense_u8(lowering: Lowering, node: Node, x: Value, weight: NDArray[Any], scales: NDArray[np.float32]) -> bool:
    if not node.attributes.get("transB"):
        weight, scales = weight.T, scales.T
    along = along_first_axis(weight, scales)
    n, k = weight.shape
    if along is None or (x.elements != k and x.channels_last):
        return False
    if x.channels_last:
        weight = weight[:, memory_order(x)]
    layer, rows = layer_of(node), x.elements // k
    words = -(-k // WORD) * WORD
    if words != k and rows != 1:
        return False
    weight = np.pad(
        weight, ((0, 0), (0, words - k))
    )  # a value takes whole words, so that the bytes behind it can be read; here they count nothing
    name = node.outputs[0]
    found = lowering.quantized_as(name)
    if found is None and name != lowering.graph.output:
        return False
    arrays = (
        lowering.array(layer, "weight", "int8_t", weight),
        lowering.array(layer, "bias", "int32_t", integer_bias(lowering, node, weight, x)),
    )
    if found is None:
        y = Value(name, lowering.graph.shape(name))
        factors = lowering.array(layer, "scale", "float", np.float32(x.scale) * along)
        lowering.add("dense_u8_f32", ("dot_u8", "dense_u8"), (x, *arrays, factors, rows, words, n, y), y, layer, rows * k * n, name)
        return True
    quantizer, y = found
    lowering.done.add(quantizer.name)
    factors = lowering.array(layer, "scale", "float", multipliers(x, along, y))
    arguments = (x, *arrays, factors, rows, words, n, y.zero, y)
    lowering.add("dense_u8", ("dot_u8", "dense_u8"), arguments, y, layer, rows * k * n, quantizer.outputs[0])
    return True


def _matmul(lowering: Lowering, node: Node) -> None:
    a, b = lowering.floats(node.inputs[0]), lowering.floats(node.inputs[1])
    result = Value(node.outputs[0], lowering.graph.shape(node.outputs[0]))
    if a.shape[:-2] != b.shape[:-2]:
        raise ExportError(f"format c has no kernel for MatMul of {a.shape} with {b.shape} (node {node.name})")
    (m, k), n = a.shape[-2:], b.shape[-1]
    batch = a.elements // (m * k)
    lowering.add("matmul_f32", ("matmul_f32",), (a, b, batch, m, k, n, result), result, layer_of(node), batch * m * k * n, node.outputs[0])
