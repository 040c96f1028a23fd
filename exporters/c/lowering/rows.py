"""Over the rows of a tensor."""

from __future__ import annotations

from math import prod

import numpy as np

from exporters.c.graph import Node
from exporters.c.lowering.state import Lowering, layer_of, lowers
from exporters.c.lowering.weights import float_weights
from exporters.c.steps import Value, number
from mnist_edge.common.errors import ExportError


@lowers("ReduceMean")
def _mean(lowering: Lowering, node: Node) -> None:
    axes = lowering.constant(node.inputs[1]) if len(node.inputs) > 1 else None
    value = lowering.floats(node.inputs[0])
    chosen = [int(axis) % len(value.shape) for axis in (axes if axes is not None else np.arange(len(value.shape)))]
    if chosen != list(range(chosen[0], chosen[0] + len(chosen))):
        raise ExportError(f"format c has no kernel for ReduceMean over axes that are not beside each other (node {node.name})")
    n = prod(value.shape[axis] for axis in chosen)
    inner = prod(value.shape[chosen[-1] + 1 :])
    result = Value(node.outputs[0], lowering.graph.shape(node.outputs[0]))
    lowering.add("mean_f32", ("mean_f32",), (value, result.elements // inner, n, inner, result), result, layer_of(node), tensor=result.name)


@lowers("Softmax")
def _softmax(lowering: Lowering, node: Node) -> None:
    value = lowering.floats(node.inputs[0])
    _last_axis(node, value)
    result = Value(node.outputs[0], value.shape)
    n = value.shape[-1]
    lowering.add(
        "softmax_f32", ("math_f32", "softmax_f32"), (value, value.elements // n, n, result), result, layer_of(node), tensor=result.name
    )


@lowers("LayerNormalization")
def _layer_norm(lowering: Lowering, node: Node) -> None:
    value = lowering.floats(node.inputs[0])
    _last_axis(node, value)
    n = value.shape[-1]
    factors = float_weights(lowering, node.inputs[1])
    terms = float_weights(lowering, node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else np.zeros(n, np.float32)
    arrays = (lowering.array(layer_of(node), "factors", "float", factors), lowering.array(layer_of(node), "terms", "float", terms))
    result = Value(node.outputs[0], value.shape)
    arguments = (value, *arrays, number(node.attributes.get("epsilon", 1e-5)), value.elements // n, n, result)
    lowering.add("layer_norm_f32", ("math_f32", "layer_norm_f32"), arguments, result, layer_of(node), tensor=result.name)


def _last_axis(node: Node, value: Value) -> None:
    if node.attributes.get("axis", -1) % len(value.shape) != len(value.shape) - 1:
        raise ExportError(f"format c has no kernel for {node.op} over any axis but the last (node {node.name})")
