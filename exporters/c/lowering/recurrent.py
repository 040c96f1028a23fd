"""Recurrent layers."""

from __future__ import annotations

import numpy as np

from exporters.c.graph import Node
from exporters.c.lowering.state import Lowering, layer_of, lowers
from exporters.c.lowering.weights import float_weights, in_bands, padded
from exporters.c.steps import Scratch, Value
from mnist_edge.common.errors import ExportError


@lowers("GRU")
def _gru(lowering: Lowering, node: Node) -> None:
    attributes = node.attributes
    usual = (
        attributes.get("direction", b"forward") == b"forward"
        and attributes.get("linear_before_reset") == 1
        and not attributes.get("layout")
    )
    if not usual or "activations" in attributes or "clip" in attributes or (len(node.inputs) > 4 and node.inputs[4]):
        raise ExportError(f"format c has kernels for a GRU as PyTorch has it, in one direction, only (node {node.name})")
    value = lowering.floats(node.inputs[0])
    steps, batch, k = value.shape
    w, r = (float_weights(lowering, name)[0] for name in node.inputs[1:3])
    h = r.shape[1]
    b = float_weights(lowering, node.inputs[3])[0] if len(node.inputs) > 3 and node.inputs[3] else np.zeros(6 * h, np.float32)
    start = lowering.constant(node.inputs[5]) if len(node.inputs) > 5 and node.inputs[5] else np.zeros(h, np.float32)
    if start is None or batch != 1 or any(name for name in node.outputs[1:]):
        raise ExportError(f"format c has no kernel for a GRU with a computed start or a second output (node {node.name})")
    layer = layer_of(node)
    result = Value(node.outputs[0], lowering.graph.shape(node.outputs[0]))
    arguments = (
        value,
        lowering.array(layer, "input_weight", "float", in_bands(w.T)),
        lowering.array(layer, "input_bias", "float", padded(b[: 3 * h])),
        lowering.array(layer, "state_weight", "float", in_bands(r.T)),
        lowering.array(layer, "state_bias", "float", padded(b[3 * h :])),
        lowering.array(layer, "start", "float", start.astype(np.float32)),
        steps,
        k,
        h,
        Scratch("float", 6 * h),
        result,
    )
    lowering.add(
        "gru_f32", ("math_f32", "rows_f32", "dense_f32", "gru_f32"), arguments, result, layer, steps * 3 * h * (k + h), result.name
    )
