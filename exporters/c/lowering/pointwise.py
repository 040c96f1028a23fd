"""Element by element."""

from __future__ import annotations

from math import prod

import numpy as np

from exporters.c.graph import Node
from exporters.c.lowering.quantizing import as_table
from exporters.c.lowering.state import Lowering, layer_of, lowers
from exporters.c.lowering.weights import float_weights
from exporters.c.steps import Argument, Value
from mnist_edge.common.errors import ExportError


@lowers("Relu")
def _relu(lowering: Lowering, node: Node) -> None:
    if as_table(lowering, node, lowering.bytes_of(node.inputs[0])):
        return
    value = lowering.floats(node.inputs[0])
    result = Value(node.outputs[0], value.shape)
    lowering.add("relu_f32", ("pointwise_f32",), (value, value.elements, result), result, layer_of(node), tensor=node.outputs[0])


@lowers("Add", "Mul")
def _binary(lowering: Lowering, node: Node) -> None:
    if as_table(lowering, node, lowering.bytes_of(node.inputs[0])):
        return
    kernel = {"Add": "add", "Mul": "mul"}[node.op]
    left, right = node.inputs
    if lowering.constant(left) is not None or lowering.weights(left) is not None:
        left, right = right, left
    together = lowering.constant(right) is None and _images_alike(lowering, left, right)
    value = lowering.value(left) if together else lowering.floats(left)
    relu = 0
    name = node.outputs[0]
    shape = lowering.graph.shape(name)
    if following := lowering.follower(name, "Relu"):
        lowering.done.add(following.name)
        name, relu = following.outputs[0], 1
    result = Value(name, shape, channels_last=together)
    constant = lowering.constant(right)
    other: Argument
    if constant is not None:
        if constant.size != 1:
            constant = np.broadcast_to(constant.reshape(constant.shape[1:] if constant.ndim == len(shape) + 1 else constant.shape), shape)
        other, size = lowering.array(layer_of(node), "constant", "float", np.ascontiguousarray(constant, np.float32)), constant.size
    else:
        second = lowering.value(right) if together else lowering.floats(right)
        other, size = second, second.elements
    if value.shape != shape or size not in (1, result.elements):
        raise ExportError(f"format c has no kernel for {node.op} that broadcasts {value.shape} (node {node.name})")
    # from bytes to bytes, across a Reshape too, onnxruntime makes one operator of it, whose sums are rounded as the processor's instructions do it
    fused = all(map(lowering.bytes_of, node.inputs)) and not relu
    arguments = (value, other, size, relu, result.elements, result)
    lowering.add(f"{kernel}_f32", ("pointwise_f32",), arguments, result, layer_of(node), tensor=name, fused=fused)


def _images_alike(lowering: Lowering, *names: str) -> bool:
    """Return True for float images of one shape that lie channels last: which element meets which does not depend on the order."""
    found = [lowering.values.get(name) for name in names]
    return all(one is not None and one.type == "float" and one.channels_last and len(one.shape) == 4 for one in found) and (
        len({one.shape for one in found if one is not None}) == 1
    )


@lowers("Gelu", "Sigmoid", "Tanh", "Erf")
def _curve(lowering: Lowering, node: Node) -> None:
    if as_table(lowering, node, lowering.bytes_of(node.inputs[0])):
        return
    if node.attributes.get("approximate", b"none") != b"none":
        raise ExportError(f"format c has no kernel for the approximate Gelu (node {node.name})")
    value = lowering.floats(node.inputs[0])
    result = Value(node.outputs[0], value.shape)
    kernel = f"{node.op.lower()}s_f32"
    lowering.add(kernel, ("math_f32", "curves_f32"), (value, value.elements, result), result, layer_of(node), tensor=result.name)


@lowers("BatchNormalization")
def _batch_norm(lowering: Lowering, node: Node) -> None:
    if node.attributes.get("training_mode"):
        raise ExportError(f"format c has no kernel for BatchNormalization in training mode (node {node.name})")
    scale, shift, mean, variance = (float_weights(lowering, name).astype(np.float64) for name in node.inputs[1:])
    factors = scale / np.sqrt(variance + node.attributes.get("epsilon", 1e-5))
    found = lowering.value(node.inputs[0])
    together = found.type == "float" and found.channels_last and len(found.shape) == 4
    value = found if together else lowering.floats(node.inputs[0])
    name, relu = node.outputs[0], 0
    if following := lowering.follower(name, "Relu"):
        lowering.done.add(following.name)
        name, relu = following.outputs[0], 1
    result = Value(name, value.shape, channels_last=together)
    inner = 1 if together else prod(value.shape[2:])
    arguments = (
        value,
        lowering.array(layer_of(node), "factors", "float", factors.astype(np.float32)),
        lowering.array(layer_of(node), "terms", "float", (shift - mean * factors).astype(np.float32)),
        value.elements // len(factors) // inner,
        len(factors),
        inner,
        relu,
        result,
    )
    lowering.add("scale_f32", ("scale_f32",), arguments, result, layer_of(node), tensor=name)
