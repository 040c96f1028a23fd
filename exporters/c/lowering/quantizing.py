"""Between pixels, bytes and floats."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from exporters.c.graph import Graph, Node
from exporters.c.lowering.state import Lowering, byte_format, layer_of, lowers
from exporters.c.lowering.weights import scalar
from exporters.c.steps import Value, number
from mnist_edge.common.errors import ExportError

if TYPE_CHECKING:
    import onnx

#: Element by element, from one tensor. Between bytes they are a table of 256.
POINTWISE = ("Cast", "Mul", "Add", "Sub", "Div", "Relu", "Clip", "Gelu", "Sigmoid", "Tanh", "Erf", "Sqrt", "Neg", "Abs")


@lowers("Cast")
def _cast(lowering: Lowering, node: Node) -> None:
    if node.inputs[0] != lowering.graph.input:
        raise ExportError(f"format c has no kernel for a Cast of anything but the pixels (node {node.name})")
    if as_table(lowering, node, lowering.pixels):
        return
    if lowering.graph.samples[node.outputs[0]].dtype != np.float32:
        raise ExportError(f"format c has no kernel for a Cast to anything but float32 (node {node.name})")
    scale, shift = 1.0, 0.0
    name = node.outputs[0]
    if (one := lowering.follower(name, "Mul")) and (factor := scalar(lowering, one)) is not None:
        lowering.done.add(one.name)
        name, scale = one.outputs[0], factor
    if (one := lowering.follower(name, "Add")) and (term := scalar(lowering, one)) is not None:
        lowering.done.add(one.name)
        name, shift = one.outputs[0], term
    result = Value(name, lowering.graph.shape(name))
    arguments = (lowering.pixels, number(scale), number(shift), result.elements, result)
    lowering.add("pixels_f32", ("pixels_f32",), arguments, result, "pixels", tensor=name)


@lowers("DequantizeLinear")
def _dequantize(lowering: Lowering, node: Node) -> None:
    integers = lowering.constant(node.inputs[0])
    scale, zero = lowering.graph.constants[node.inputs[1]], lowering.graph.constants[node.inputs[2]]
    if integers is not None:
        if np.any(zero):
            raise ExportError(f"format c: {node.inputs[0]} has a zero point; it takes symmetric weights only")
        if scale.ndim > 1 or node.attributes.get("block_size"):
            raise ExportError(f"format c: {node.inputs[0]} has scales in blocks; it takes one a channel")
        scales = np.asarray(scale, np.float32)
        axis = node.attributes.get("axis", 1) % integers.ndim if scales.size > 1 else 0
        shape = [scales.size if one == axis else 1 for one in range(integers.ndim)]
        lowering.integer_weights[node.outputs[0]] = (integers, scales.reshape(shape))
        return
    value = lowering.value(node.inputs[0])
    lowering.alias(value, node.outputs[0], value.shape)


@lowers("QuantizeLinear")
def _quantize(lowering: Lowering, node: Node) -> None:
    scale, zero = byte_format(lowering, node)
    source = lowering.bytes_of(node.inputs[0])
    if source is not None and (source.scale, source.zero) == (scale, zero):
        lowering.alias(source, node.outputs[0], source.shape)  # it was only in another shape meanwhile
        return
    if as_table(lowering, node, source):
        return
    value = lowering.floats(node.inputs[0])
    result = Value(node.outputs[0], value.shape, "uint8_t", scale, zero)
    arguments = (value, number(scale), zero, value.elements, result)
    lowering.add("quantize_u8", ("dot_u8", "quantize"), arguments, result, layer_of(node), tensor=node.outputs[0])


def as_table(lowering: Lowering, first: Node, source: Value | None) -> bool:
    """Turn a chain of pointwise operators from bytes to bytes into a table, if that is what begins at a node. onnxruntime fills it."""
    chain = [first]
    while chain[-1].op != "QuantizeLinear" and (following := lowering.follower(chain[-1].outputs[0], *POINTWISE, "QuantizeLinear")):
        chain.append(following)
    if source is None or chain[-1].op != "QuantizeLinear" or not all(_is_pointwise(lowering, one) for one in chain[:-1]):
        return False
    if source.channels_last and len(source.shape) != 4:
        source = lowering.in_order(source)
    quantizer = chain[-1]
    scale, zero = byte_format(lowering, quantizer)
    table = lowering.array(quantizer.name, "table", "uint8_t", _filled(lowering.graph, first.inputs[0], quantizer.outputs[0], source))
    in_order = source.channels_last or (len(source.shape) == 4 and source.shape[1] == 1)  # one channel lies the same in both orders
    result = replace(source, name=quantizer.outputs[0], scale=scale, zero=zero, source=None, channels_last=in_order)
    lowering.add(
        "table_u8", ("table_u8",), (source, table, source.elements, result), result, layer_of(quantizer), tensor=quantizer.outputs[0]
    )
    lowering.done |= {one.name for one in chain}
    return True


def _is_pointwise(lowering: Lowering, node: Node) -> bool:
    constants = [lowering.constant(name) for name in node.inputs[1:] if name]
    return all(one is not None and one.size == 1 for one in constants)


def _filled(graph: Graph, first: str, last: str, source: Value) -> NDArray[np.uint8]:
    """Return what onnxruntime makes, between two tensors, of each of the 256 bytes of a value."""
    import onnx
    import onnxruntime

    every: NDArray[Any] = np.arange(256, dtype=np.uint8)
    if graph.samples[first].dtype != np.uint8:
        every = (every.astype(np.float32) - np.float32(source.zero)) * np.float32(source.scale)
    model = onnx.ModelProto()
    model.CopyFrom(graph.model)
    notes = {first: every.dtype, last: np.dtype(np.uint8)}
    del model.graph.value_info[:]
    for name, dtype in notes.items():
        model.graph.value_info.append(onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(dtype), ["n"]))
    part = onnx.utils.Extractor(_without_ports(model, first, last)).extract_model([first], [last])
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(part.SerializeToString(), options, providers=["CPUExecutionProvider"])
    table: NDArray[np.uint8] = session.run([last], {first: every})[0]
    return table


def _without_ports(model: onnx.ModelProto, first: str, last: str) -> onnx.ModelProto:
    """Leave out an input or output of the model that is one of the two ends: their shapes are noted otherwise."""
    for ports in (model.graph.input, model.graph.output):
        for port in [port for port in ports if port.name in (first, last)]:
            ports.remove(port)
    return model
