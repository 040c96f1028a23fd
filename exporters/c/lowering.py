"""From an ONNX graph to steps: each operator has one function here, which fuses what follows it where a kernel can do both.

Where a quantized network has DequantizeLinear, an operator with weights, QuantizeLinear, one kernel computes with the integers, as onnxruntime
does. Whatever has no such kernel is computed in float, between the dequantizing and quantizing steps that stand in the file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from exporters.c.graph import Graph, Node
from exporters.c.steps import Argument, Array, Network, Scratch, Step, Value
from mnist_edge.common.errors import ExportError

if TYPE_CHECKING:
    import onnx

#: Filters' bytes are padded to a multiple of this, so that a kernel takes four at a time.
_WORD = 4

#: Columns of a float32 matrix that a kernel computes together (rows_f32.c): as many as there are of the widest bands first.
_BANDS = (16, 8, 4, 2, 1)

#: Outputs of a convolution that are computed together where no pooling follows.
_GROUP = 4

#: Operators that change a value's shape and nothing else.
_RESHAPING = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity")

#: Element by element, from one tensor. Between bytes they are a table of 256.
_POINTWISE = ("Cast", "Mul", "Add", "Sub", "Div", "Relu", "Clip", "Gelu", "Sigmoid", "Tanh", "Erf", "Sqrt", "Neg", "Abs")

_LOWERED: dict[str, Callable[[Lowering, Node], None]] = {}


def lower(graph: Graph) -> Network:
    """Return the steps of a graph. Raises ExportError, which names an operator, for what no kernel can do."""
    lowering = Lowering(graph)
    for node in graph.nodes:
        if node.name in lowering.done:
            continue
        function = _LOWERED.get(node.op)
        if function is None:
            raise ExportError(f"format c has no kernel for operator {node.op} (node {node.name}); it has: {', '.join(sorted(_LOWERED))}")
        function(lowering, node)
    return lowering.network()


def _lowers(*operators: str) -> Callable[[Callable[[Lowering, Node], None]], Callable[[Lowering, Node], None]]:
    def add(function: Callable[[Lowering, Node], None]) -> Callable[[Lowering, Node], None]:
        _LOWERED.update(dict.fromkeys(operators, function))
        return function

    return add


class Lowering:
    """The state of one lowering: which tensors are computed, and where each lies.

    Attributes:
        graph: the network.
        steps: what is lowered so far.
        done: names of nodes that an earlier one took in.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.steps: list[Step] = []
        self.done: set[str] = set()
        self._pixels = Value(graph.input, graph.shape(graph.input), "uint8_t")
        self._values: dict[str, Value] = {graph.input: self._pixels}
        self._weights: dict[str, tuple[NDArray[Any], NDArray[np.float32]]] = {}
        self._consumers: dict[str, list[Node]] = {}
        self._names: set[str] = set()
        for node in graph.nodes:
            for name in set(node.inputs):
                self._consumers.setdefault(name, []).append(node)

    # what is there

    def constant(self, name: str) -> NDArray[Any] | None:
        """Return a constant, if a tensor is one."""
        return self.graph.constants.get(name)

    def weights(self, name: str) -> tuple[NDArray[Any], NDArray[np.float32]] | None:
        """Return a constant's integers and their scales, if a tensor is a dequantized constant."""
        return self._weights.get(name)

    def bytes_of(self, name: str) -> Value | None:
        """Return the bytes that a float tensor stands for, if it is a dequantized value."""
        value = self._values.get(name)
        return value if value is not None and value.type == "uint8_t" and value.scale != 1.0 else None

    def floats(self, name: str) -> Value:
        """Return a tensor as floats, in the order that it has in the file; dequantize it first if need be."""
        found = self._values.get(name)
        if found is None:
            raise ExportError(f"format c: a constant, {name}, stands where a kernel needs a computed tensor")
        if found.type == "float":
            return self.in_order(found)
        found = self.in_order(found)
        result = Value(f"{name}_floats", found.shape)
        self.add("dequantize_u8", ("quantize",), (found, _number(found.scale), found.zero, found.elements, result), result, name)
        self._values[name] = result
        return result

    def pixels_together(self, name: str) -> Value:
        """Return a tensor of an image as floats, with the channels of each pixel together."""
        found = self._values.get(name)
        if found is not None and found.type == "float" and found.channels_last:
            return found
        value = self.floats(name)
        _, c, h, w = value.shape
        if c == 1:
            return replace(value, channels_last=True, source=value)
        result = replace(value, name=f"{name}_channels_last", channels_last=True, source=None, start=0)
        self.add("channels_last_f32", ("layout",), (value, h * w, c, result), result, name)
        return result

    def in_order(self, value: Value) -> Value:
        """Return a value in the order of the file: channels before height and width."""
        if not value.channels_last:
            return value
        c, h, w = _image(value)
        result = replace(value, name=f"{value.name}_in_order", channels_last=False, source=None, start=0)
        kernel = "channels_first_u8" if value.type == "uint8_t" else "channels_first_f32"
        self.add(kernel, ("layout",), (value, h * w, c, result), result, value.name)
        return result

    def follower(self, name: str, *operators: str) -> Node | None:
        """Return the node that alone takes a tensor, if it is one of `operators`."""
        nodes = self._consumers.get(name, [])
        if len(nodes) != 1 or name == self.graph.output or nodes[0].op not in operators or nodes[0].inputs[0] != name:
            return None
        return nodes[0]

    # what is added

    def add(
        self,
        kernel: str,
        needs: tuple[str, ...],
        arguments: tuple[Argument, ...],
        output: Value,
        layer: str,
        macs: int = 0,
        tensor: str = "",
    ) -> None:
        """Add a step; `tensor` names the tensor that its output is, if any."""
        self.steps.append(Step(kernel, needs, arguments, output, layer, macs))
        if tensor:
            self._values[tensor] = output

    def alias(self, value: Value, name: str, shape: tuple[int, ...], start: int = 0) -> None:
        """Let a tensor be another's memory in another shape, from one of its elements on."""
        self._values[name] = replace(value, name=name, shape=shape, source=value, start=value.start + start)

    def name(self, value: Value) -> None:
        """Let a value that several steps wrote be the tensor of its name."""
        self._values[value.name] = value

    def array(self, layer: str, what: str, type: str, values: NDArray[Any]) -> Array:
        """Return constants under a name of their own."""
        name = f"{_identifier(layer)}_{what}"
        while name in self._names:
            name += "_"
        self._names.add(name)
        return Array(name, type, values)

    def quantized_as(self, name: str, *, relu: bool = True) -> tuple[Node, Value] | None:
        """Return the QuantizeLinear that alone takes a tensor, and its value in that form; a Relu between them is taken in."""
        between = self.follower(name, "Relu") if relu else None
        node = self.follower(between.outputs[0] if between else name, "QuantizeLinear")
        if node is None:
            return None
        scale, zero = _byte_format(self, node)
        if between and zero != 0:  # only from zero on do bytes cut off what is negative
            return None
        if between:
            self.done.add(between.name)
        return node, Value(node.outputs[0], self.graph.shape(node.outputs[0]), "uint8_t", scale, zero)

    def network(self) -> Network:
        """Return the steps, the last of which writes the logits."""
        logits = self._values[self.graph.output]
        if logits.root is not logits or logits.type != "float":  # a view of something else
            logits = self.floats(self.graph.output)
        return Network(tuple(self.steps), self._pixels, logits.root)


# values between bytes and floats


@_lowers("Cast")
def _cast(lowering: Lowering, node: Node) -> None:
    if node.inputs[0] != lowering.graph.input:
        raise ExportError(f"format c has no kernel for a Cast of anything but the pixels (node {node.name})")
    if _table(lowering, node, lowering._pixels):
        return
    scale, shift = 1.0, 0.0
    name = node.outputs[0]
    if (one := lowering.follower(name, "Mul")) and (factor := _scalar(lowering, one)) is not None:
        lowering.done.add(one.name)
        name, scale = one.outputs[0], factor
    if (one := lowering.follower(name, "Add")) and (term := _scalar(lowering, one)) is not None:
        lowering.done.add(one.name)
        name, shift = one.outputs[0], term
    result = Value(name, lowering.graph.shape(name))
    arguments = (lowering._pixels, _number(scale), _number(shift), result.elements, result)
    lowering.add("pixels_f32", ("pixels_f32",), arguments, result, "pixels", tensor=name)


@_lowers("DequantizeLinear")
def _dequantize(lowering: Lowering, node: Node) -> None:
    integers = lowering.constant(node.inputs[0])
    scale, zero = lowering.graph.constants[node.inputs[1]], lowering.graph.constants[node.inputs[2]]
    if integers is not None:
        if np.any(zero):
            raise ExportError(f"format c: {node.inputs[0]} has a zero point; it takes symmetric weights only")
        lowering._weights[node.outputs[0]] = (integers, np.asarray(scale, np.float32))
        return
    value = lowering._values[node.inputs[0]]
    lowering.alias(value, node.outputs[0], value.shape)


@_lowers("QuantizeLinear")
def _quantize(lowering: Lowering, node: Node) -> None:
    scale, zero = _byte_format(lowering, node)
    source = lowering.bytes_of(node.inputs[0])
    if source is not None and (source.scale, source.zero) == (scale, zero):
        lowering.alias(source, node.outputs[0], source.shape)  # it was only in another shape meanwhile
        return
    if _table(lowering, node, source):
        return
    value = lowering.floats(node.inputs[0])
    result = Value(node.outputs[0], value.shape, "uint8_t", scale, zero)
    arguments = (value, _number(scale), zero, value.elements, result)
    lowering.add("quantize_u8", ("dot_u8", "quantize"), arguments, result, _layer(node), tensor=node.outputs[0])


def _table(lowering: Lowering, first: Node, source: Value | None) -> bool:
    """Turn a chain of pointwise operators from bytes to bytes into a table, if that is what begins at a node. onnxruntime fills it."""
    chain = [first]
    while chain[-1].op != "QuantizeLinear" and (following := lowering.follower(chain[-1].outputs[0], *_POINTWISE, "QuantizeLinear")):
        chain.append(following)
    if source is None or chain[-1].op != "QuantizeLinear" or not all(_is_pointwise(lowering, one) for one in chain[:-1]):
        return False
    quantizer = chain[-1]
    scale, zero = _byte_format(lowering, quantizer)
    table = lowering.array(quantizer.name, "table", "uint8_t", _filled(lowering.graph, first.inputs[0], quantizer.outputs[0], source))
    in_order = source.channels_last or (len(source.shape) == 4 and source.shape[1] == 1)  # one channel lies the same in both orders
    result = replace(source, name=quantizer.outputs[0], scale=scale, zero=zero, source=None, channels_last=in_order)
    lowering.add(
        "table_u8", ("table_u8",), (source, table, source.elements, result), result, _layer(quantizer), tensor=quantizer.outputs[0]
    )
    lowering.done |= {one.name for one in chain}
    return True


def _is_pointwise(lowering: Lowering, node: Node) -> bool:
    constants = [lowering.constant(name) for name in node.inputs[1:] if name]
    return all(one is not None and one.size == 1 for one in constants)


def _byte_format(lowering: Lowering, quantizer: Node) -> tuple[float, int]:
    """Return scale and zero point. Raises ExportError for anything but unsigned bytes with one scale."""
    scale, zero = lowering.graph.constants[quantizer.inputs[1]], lowering.graph.constants[quantizer.inputs[2]]
    if zero.dtype != np.uint8 or scale.ndim:
        raise ExportError(f"format c quantizes to unsigned bytes with one scale only (node {quantizer.name}: {zero.dtype})")
    return float(scale), int(zero)


def _filled(graph: Graph, first: str, last: str, source: Value) -> NDArray[np.uint8]:
    """Return what onnxruntime makes, between two tensors, of each of the 256 bytes of a value."""
    import onnx
    import onnxruntime

    every = np.arange(256, dtype=np.uint8)
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


# convolution, pooling, dense layers


@_lowers("Conv")
def _conv(lowering: Lowering, node: Node) -> None:
    attributes = node.attributes
    if (
        attributes.get("group", 1) != 1
        or any(one != 1 for one in attributes.get("dilations", []))
        or attributes.get("auto_pad", b"NOTSET") != b"NOTSET"
    ):
        raise ExportError(f"format c has no kernel for Conv with groups, dilations or auto_pad (node {node.name})")
    x = lowering.bytes_of(node.inputs[0])
    weights = lowering.weights(node.inputs[1])
    if x is not None and weights is not None and _conv_u8(lowering, node, x, *weights):
        return
    filters, bias = _float_weights(lowering, node.inputs[1]), _bias(lowering, node)
    value = lowering.pixels_together(node.inputs[0])
    sizes = _conv_sizes(lowering, node, filters.shape)
    name = node.outputs[0]
    relu = 0
    if following := lowering.follower(name, "Relu"):
        lowering.done.add(following.name)
        name, relu = following.outputs[0], 1
    pooled = lowering.follower(name, "MaxPool", "AveragePool")
    if pooled is not None and (window := _window(lowering, pooled)) is not None:
        lowering.done.add(pooled.name)
        name, sizes = pooled.outputs[0], sizes | window
    result = Value(name, lowering.graph.shape(name), channels_last=True)
    matrix = filters.transpose(2, 3, 1, 0).reshape(-1, len(filters))
    window_size = sizes["pool_h"] * sizes["pool_w"]
    group = window_size if window_size > 1 else min(_GROUP, sizes["out_w"])
    arguments = (
        value,
        lowering.array(_layer(node), "filters", "float", _in_bands(matrix)),
        lowering.array(_layer(node), "bias", "float", bias),
        _shape(sizes | {"relu": relu}),
        group,
        Scratch("float", group * (len(matrix) + (len(filters) if window_size > 1 else 0))),
        result,
    )
    lowering.add("conv_f32", ("window", "rows_f32", "conv_f32"), arguments, result, _layer(node), _conv_macs(sizes), name)


def _conv_u8(lowering: Lowering, node: Node, x: Value, filters: NDArray[Any], scales: NDArray[np.float32]) -> bool:
    found = lowering.quantized_as(node.outputs[0])
    if found is None:
        return False
    quantizer, y = found
    sizes = _conv_sizes(lowering, node, filters.shape)
    name = quantizer.outputs[0]
    lowering.done.add(quantizer.name)
    after = lowering.follower(name, "DequantizeLinear")
    pooled = lowering.follower(after.outputs[0], "MaxPool") if after else None
    if after and pooled and (window := _window(lowering, pooled)) is not None:  # the largest byte of a window is that of the largest sum
        lowering.done |= {after.name, pooled.name}
        name, sizes = pooled.outputs[0], sizes | window
    channels, kernel = filters.shape[1], filters.shape[2:]
    k = -(-channels * prod(kernel) // _WORD) * _WORD
    rows = np.zeros((len(filters), k), np.int8)
    rows[:, : channels * prod(kernel)] = filters.transpose(0, 2, 3, 1).reshape(len(filters), -1)
    layer = _layer(node)
    c, h, w = x.shape[1:]
    if not x.channels_last and c > 1:
        raise ExportError(f"format c: {node.name} gets its input in the wrong order")  # never: its kernels write channels last
    y = replace(y, name=name, shape=lowering.graph.shape(name), channels_last=True)
    arguments = (
        x,
        lowering.array(layer, "filters", "int8_t", rows),
        lowering.array(layer, "bias", "int32_t", _integer_bias(lowering, node, filters, x)),
        lowering.array(layer, "scale", "float", _factors(x, scales, y)),
        _shape(sizes | {"relu": 0}),
        k,
        x.zero,
        y.zero,
        Scratch("uint8_t", k * sizes["pool_h"] * sizes["pool_w"]),
        y,
    )
    lowering.add("conv_u8", ("window", "dot_u8", "conv_u8"), arguments, y, layer, _conv_macs(sizes), name)
    return True


@_lowers("Gemm", "MatMul")
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
    if x is not None and weights is not None and _dense_u8(lowering, node, x, *weights):
        return
    weight = _float_weights(lowering, node.inputs[1])
    if node.attributes.get("transB"):
        weight = weight.T
    found = lowering._values.get(node.inputs[0])
    if found is not None and found.type == "float" and found.channels_last and found.elements == len(weight):
        value, weight = found, weight[_order(found)]
    else:
        value = lowering.floats(node.inputs[0])
    k, n = weight.shape
    bias = _bias(lowering, node) if node.op == "Gemm" else np.zeros(n, np.float32)
    name, relu = node.outputs[0], 0
    if node.op == "MatMul" and (sum_ := lowering.follower(name, "Add")) and (term := _vector(lowering, sum_, n)) is not None:
        lowering.done.add(sum_.name)
        name, bias = sum_.outputs[0], term
    if following := lowering.follower(name, "Relu"):
        lowering.done.add(following.name)
        name, relu = following.outputs[0], 1
    layer, rows = _layer(node), value.elements // k
    result = Value(name, lowering.graph.shape(name))
    arguments = (
        value,
        lowering.array(layer, "weight", "float", _in_bands(weight)),
        lowering.array(layer, "bias", "float", bias),
        rows,
        k,
        n,
        relu,
        result,
    )
    lowering.add("dense_f32", ("rows_f32", "dense_f32"), arguments, result, layer, rows * k * n, name)


def _dense_u8(lowering: Lowering, node: Node, x: Value, weight: NDArray[Any], scales: NDArray[np.float32]) -> bool:
    if not node.attributes.get("transB"):
        weight = weight.T
    n, k = weight.shape
    if x.elements != k and x.channels_last:
        return False
    if x.channels_last:
        weight = weight[:, _order(x)]
    layer, rows = _layer(node), x.elements // k
    words = -(-k // _WORD) * _WORD
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
        lowering.array(layer, "bias", "int32_t", _integer_bias(lowering, node, weight, x)),
    )
    if found is None:
        y = Value(name, lowering.graph.shape(name))
        factors = lowering.array(layer, "scale", "float", np.broadcast_to(np.float32(x.scale) * scales, n).astype(np.float32))
        lowering.add("dense_u8_f32", ("dot_u8", "dense_u8"), (x, *arrays, factors, rows, words, n, y), y, layer, rows * k * n, name)
        return True
    quantizer, y = found
    lowering.done.add(quantizer.name)
    factors = lowering.array(layer, "scale", "float", np.broadcast_to(_factors(x, scales, y), n))
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
    lowering.add("matmul_f32", ("matmul_f32",), (a, b, batch, m, k, n, result), result, _layer(node), batch * m * k * n, node.outputs[0])


@_lowers("MaxPool", "AveragePool")
def _pool(lowering: Lowering, node: Node) -> None:
    window = _window(lowering, node)
    if window is None:
        raise ExportError(f"format c has no kernel for {node.op} with padding, dilations or ceil_mode (node {node.name})")
    c, h, w = lowering.graph.shape(node.inputs[0])[1:]
    source, name = lowering.bytes_of(node.inputs[0]), node.outputs[0]
    if source is not None and source.channels_last:
        y = replace(source, name=name, shape=lowering.graph.shape(name), source=None, start=0)
        if node.op == "AveragePool" and (found := lowering.quantized_as(name, relu=False)):
            quantizer, as_bytes = found
            lowering.done.add(quantizer.name)
            name, y = quantizer.outputs[0], replace(y, scale=as_bytes.scale, zero=as_bytes.zero)
        if node.op == "MaxPool" or name != node.outputs[0]:
            arguments: tuple[Argument, ...] = (
                source,
                _pool_shape(window, c, h, w),
                _number(source.scale),
                source.zero,
                _number(y.scale),
                y.zero,
                y,
            )
            lowering.add("pool_u8", ("window", "dot_u8", "pool_u8"), arguments, y, _layer(node), tensor=name)
            return
    value = lowering.pixels_together(node.inputs[0])
    result = Value(node.outputs[0], lowering.graph.shape(node.outputs[0]), channels_last=True)
    lowering.add(
        "pool_f32", ("window", "pool_f32"), (value, _pool_shape(window, c, h, w), result), result, _layer(node), tensor=node.outputs[0]
    )


# the rest


@_lowers(*_RESHAPING)
def _reshape(lowering: Lowering, node: Node) -> None:
    value = lowering._values[node.inputs[0]]
    shape = lowering.graph.shape(node.outputs[0])
    if value.channels_last and not _flattens(value, shape):
        value = lowering.in_order(value)
    lowering.alias(value, node.outputs[0], shape)


@_lowers("Relu")
def _relu(lowering: Lowering, node: Node) -> None:
    if _table(lowering, node, lowering.bytes_of(node.inputs[0])):
        return
    value = lowering.floats(node.inputs[0])
    result = Value(node.outputs[0], value.shape)
    lowering.add("relu_f32", ("pointwise_f32",), (value, value.elements, result), result, _layer(node), tensor=node.outputs[0])


@_lowers("Add", "Mul")
def _binary(lowering: Lowering, node: Node) -> None:
    if _table(lowering, node, lowering.bytes_of(node.inputs[0])):
        return
    kernel = {"Add": "add", "Mul": "mul"}[node.op]
    left, right = node.inputs
    if lowering.constant(left) is not None or lowering.weights(left) is not None:
        left, right = right, left
    value = lowering.floats(left)
    relu = 0
    name = node.outputs[0]
    shape = lowering.graph.shape(name)
    if following := lowering.follower(name, "Relu"):
        lowering.done.add(following.name)
        name, relu = following.outputs[0], 1
    result = Value(name, shape)
    constant = lowering.constant(right)
    other: Argument
    if constant is not None:
        if constant.size != 1:
            constant = np.broadcast_to(constant.reshape(constant.shape[1:] if constant.ndim == len(shape) + 1 else constant.shape), shape)
        other, size = lowering.array(_layer(node), "constant", "float", np.ascontiguousarray(constant, np.float32)), constant.size
    else:
        second = lowering.floats(right)
        other, size = second, second.elements
    if value.shape != shape or size not in (1, result.elements):
        raise ExportError(f"format c has no kernel for {node.op} that broadcasts {value.shape} (node {node.name})")
    lowering.add(
        f"{kernel}_f32", ("pointwise_f32",), (value, other, size, relu, result.elements, result), result, _layer(node), tensor=name
    )


@_lowers("Transpose")
def _transpose(lowering: Lowering, node: Node) -> None:
    value = lowering.floats(node.inputs[0])
    order = node.attributes["perm"]
    strides = _strides(value.shape)
    shape = tuple(value.shape[axis] for axis in order)
    longer = [axis for axis in order if value.shape[axis] != 1]
    if longer == sorted(longer):  # only axes of one element move
        lowering.alias(value, node.outputs[0], shape)
        return
    result = Value(node.outputs[0], shape)
    _copy(lowering, node, value, shape, tuple(strides[axis] for axis in order), result)
    lowering.name(result)


@_lowers("Gather")
def _gather(lowering: Lowering, node: Node) -> None:
    index, axis = lowering.constant(node.inputs[1]), node.attributes.get("axis", 0)
    if index is None or index.size != 1:
        raise ExportError(f"format c has no kernel for Gather of more than one index (node {node.name})")
    value = lowering.floats(node.inputs[0])
    size = value.shape[axis]
    _slice(lowering, node, value, {axis: (int(index.item()) % size, 1)})


@_lowers("Slice")
def _slices(lowering: Lowering, node: Node) -> None:
    value = lowering.floats(node.inputs[0])
    constants = [lowering.constant(name) if name else None for name in node.inputs[1:]]
    if any(one is None for one in constants):
        raise ExportError(f"format c has no kernel for Slice between computed ends (node {node.name})")
    starts, ends = (one.tolist() for one in constants[:2] if one is not None)
    axes = constants[2].tolist() if len(constants) > 2 and constants[2] is not None else list(range(len(starts)))
    steps = constants[3].tolist() if len(constants) > 3 and constants[3] is not None else [1] * len(starts)
    if any(step != 1 for step in steps):
        raise ExportError(f"format c has no kernel for Slice with steps (node {node.name})")
    taken = {}
    for axis, start, end in zip(axes, starts, ends, strict=True):
        first, last, _ = slice(start, end).indices(value.shape[axis])
        taken[axis % len(value.shape)] = (first, last - first)
    _slice(lowering, node, value, taken)


def _slice(lowering: Lowering, node: Node, value: Value, taken: dict[int, tuple[int, int]]) -> None:
    """Take, along each axis, a number of elements from the first one on: the same memory if they lie together, else a copy."""
    strides = _strides(value.shape)
    start = sum(first * strides[axis] for axis, (first, _) in taken.items())
    shape = tuple(taken[axis][1] if axis in taken else size for axis, size in enumerate(value.shape))
    cut = [axis for axis, size in enumerate(shape) if size != value.shape[axis]]
    together = not cut or all(size == 1 for size in shape[: max(cut)])
    if together:
        lowering.alias(value, node.outputs[0], lowering.graph.shape(node.outputs[0]), start)
        return
    lowering.alias(value, f"{node.name} part", shape, start)
    result = Value(node.outputs[0], lowering.graph.shape(node.outputs[0]))
    _copy(lowering, node, lowering.floats(f"{node.name} part"), shape, strides, result)
    lowering.name(result)


@_lowers("Concat")
def _concat(lowering: Lowering, node: Node) -> None:
    result = Value(node.outputs[0], lowering.graph.shape(node.outputs[0]))
    axis, strides, start = node.attributes["axis"] % len(result.shape), _strides(result.shape), 0
    for name in node.inputs:
        constant = lowering.constant(name)
        part = lowering.floats(name) if constant is None else lowering.array(node.name, "part", "float", constant.astype(np.float32))
        shape = lowering.graph.shape(name)
        to = Value(f"{node.outputs[0]} part", shape, source=result, start=start * strides[axis])
        _copy(lowering, node, part, shape, _strides(shape), to, strides)
        start += shape[axis]
    lowering.name(result)


@_lowers("Pad")
def _pad(lowering: Lowering, node: Node) -> None:
    widths = lowering.constant(node.inputs[1])
    filler = lowering.constant(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else None
    if node.attributes.get("mode", b"constant") != b"constant" or widths is None or (len(node.inputs) > 3 and node.inputs[3]):
        raise ExportError(f"format c has no kernel for this kind of Pad (node {node.name})")
    value = lowering.floats(node.inputs[0])
    result = Value(node.outputs[0], lowering.graph.shape(node.outputs[0]))
    strides = _strides(result.shape)
    start = sum(int(before) * stride for before, stride in zip(widths[: len(strides)], strides, strict=True))
    lowering.add(
        "fill_f32", ("copy_f32",), (_number(0.0 if filler is None else filler.item()), result.elements, result), result, _layer(node)
    )
    to = Value(f"{node.outputs[0]} part", value.shape, source=result, start=start)
    _copy(lowering, node, value, value.shape, _strides(value.shape), to, strides)
    lowering.name(result)


def _copy(
    lowering: Lowering,
    node: Node,
    source: Value | Array,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    to: Value,
    to_strides: tuple[int, ...] | None = None,
) -> None:
    """Add a step that copies elements of a shape from one place to another, each with its own strides."""
    to_strides = to_strides or _strides(shape)
    axes = [axis for axis, size in enumerate(shape) if size != 1]
    while True:  # two axes that follow each other in both places are one
        for at, (left, right) in enumerate(pairwise(axes)):
            if all(one[left] == one[right] * shape[right] for one in (strides, to_strides)):
                shape = tuple(size * shape[left] if axis == right else size for axis, size in enumerate(shape))
                del axes[at]
                break
        else:
            break
    if len(axes) > 4:
        raise ExportError(f"format c has no kernel for {node.op} over {len(axes)} axes (node {node.name})")
    sizes, from_, into = ([one[axis] for axis in axes] for one in (shape, strides, to_strides))
    numbers = [*[1] * (4 - len(axes)), *sizes, *[0] * (4 - len(axes)), *from_, *[0] * (4 - len(axes)), *into]
    lowering.add("copy_f32", ("copy_f32",), (source, *numbers, to), to, _layer(node))


def _strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(prod(shape[axis + 1 :]) for axis in range(len(shape)))


@_lowers("ReduceMean")
def _mean(lowering: Lowering, node: Node) -> None:
    axes = lowering.constant(node.inputs[1]) if len(node.inputs) > 1 else None
    value = lowering.floats(node.inputs[0])
    chosen = [int(axis) % len(value.shape) for axis in (axes if axes is not None else np.arange(len(value.shape)))]
    if chosen != list(range(chosen[0], chosen[0] + len(chosen))):
        raise ExportError(f"format c has no kernel for ReduceMean over axes that are not beside each other (node {node.name})")
    n = prod(value.shape[axis] for axis in chosen)
    inner = prod(value.shape[chosen[-1] + 1 :])
    result = Value(node.outputs[0], lowering.graph.shape(node.outputs[0]))
    lowering.add("mean_f32", ("mean_f32",), (value, result.elements // inner, n, inner, result), result, _layer(node), tensor=result.name)


@_lowers("GlobalAveragePool")
def _global_average(lowering: Lowering, node: Node) -> None:
    value = lowering.floats(node.inputs[0])
    result = Value(node.outputs[0], lowering.graph.shape(node.outputs[0]))
    n = value.elements // result.elements
    lowering.add("mean_f32", ("mean_f32",), (value, result.elements, n, 1, result), result, _layer(node), tensor=result.name)


@_lowers("Softmax")
def _softmax(lowering: Lowering, node: Node) -> None:
    value = lowering.floats(node.inputs[0])
    _last_axis(node, value)
    result = Value(node.outputs[0], value.shape)
    n = value.shape[-1]
    lowering.add(
        "softmax_f32", ("math_f32", "softmax_f32"), (value, value.elements // n, n, result), result, _layer(node), tensor=result.name
    )


@_lowers("LayerNormalization")
def _layer_norm(lowering: Lowering, node: Node) -> None:
    value = lowering.floats(node.inputs[0])
    _last_axis(node, value)
    n = value.shape[-1]
    factors = _float_weights(lowering, node.inputs[1])
    terms = _float_weights(lowering, node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else np.zeros(n, np.float32)
    arrays = (lowering.array(_layer(node), "factors", "float", factors), lowering.array(_layer(node), "terms", "float", terms))
    result = Value(node.outputs[0], value.shape)
    arguments = (value, *arrays, _number(node.attributes.get("epsilon", 1e-5)), value.elements // n, n, result)
    lowering.add("layer_norm_f32", ("math_f32", "layer_norm_f32"), arguments, result, _layer(node), tensor=result.name)


def _last_axis(node: Node, value: Value) -> None:
    if node.attributes.get("axis", -1) % len(value.shape) != len(value.shape) - 1:
        raise ExportError(f"format c has no kernel for {node.op} over any axis but the last (node {node.name})")


@_lowers("Gelu", "Sigmoid", "Tanh", "Erf")
def _curve(lowering: Lowering, node: Node) -> None:
    if _table(lowering, node, lowering.bytes_of(node.inputs[0])):
        return
    if node.attributes.get("approximate", b"none") != b"none":
        raise ExportError(f"format c has no kernel for the approximate Gelu (node {node.name})")
    value = lowering.floats(node.inputs[0])
    result = Value(node.outputs[0], value.shape)
    kernel = f"{node.op.lower()}s_f32"
    lowering.add(kernel, ("math_f32", "curves_f32"), (value, value.elements, result), result, _layer(node), tensor=result.name)


@_lowers("GRU")
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
    w, r = (_float_weights(lowering, name)[0] for name in node.inputs[1:3])
    h = r.shape[1]
    b = _float_weights(lowering, node.inputs[3])[0] if len(node.inputs) > 3 and node.inputs[3] else np.zeros(6 * h, np.float32)
    start = lowering.constant(node.inputs[5]) if len(node.inputs) > 5 and node.inputs[5] else np.zeros(h, np.float32)
    if start is None or batch != 1 or any(name for name in node.outputs[1:]):
        raise ExportError(f"format c has no kernel for a GRU with a computed start or a second output (node {node.name})")
    layer = _layer(node)
    result = Value(node.outputs[0], lowering.graph.shape(node.outputs[0]))
    arguments = (
        value,
        lowering.array(layer, "input_weight", "float", _in_bands(w.T)),
        lowering.array(layer, "input_bias", "float", b[: 3 * h]),
        lowering.array(layer, "state_weight", "float", _in_bands(r.T)),
        lowering.array(layer, "state_bias", "float", b[3 * h :]),
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


# what several need


def _conv_sizes(lowering: Lowering, node: Node, filters: tuple[int, ...]) -> dict[str, int]:
    c, h, w = lowering.graph.shape(node.inputs[0])[1:]
    o, out_h, out_w = lowering.graph.shape(node.outputs[0])[1:]
    sy, sx = node.attributes.get("strides", [1, 1])
    top, left = node.attributes.get("pads", [0, 0, 0, 0])[:2]
    sizes = {"c": c, "h": h, "w": w, "o": o, "kh": filters[2], "kw": filters[3], "sy": sy, "sx": sx, "top": top, "left": left}
    return sizes | {"out_h": out_h, "out_w": out_w} | _NO_POOLING | {"pooled_h": out_h, "pooled_w": out_w}


_NO_POOLING = {"pool_h": 1, "pool_w": 1, "pool_sy": 1, "pool_sx": 1, "average": 0}


def _window(lowering: Lowering, node: Node) -> dict[str, int] | None:
    attributes = node.attributes
    if any(attributes.get("pads", [])) or any(one != 1 for one in attributes.get("dilations", [])) or attributes.get("ceil_mode"):
        return None
    (pool_h, pool_w), (sy, sx) = attributes["kernel_shape"], attributes.get("strides", [1, 1])
    height, width = lowering.graph.shape(node.outputs[0])[2:]
    average = int(node.op == "AveragePool")
    return {"pool_h": pool_h, "pool_w": pool_w, "pool_sy": sy, "pool_sx": sx, "pooled_h": height, "pooled_w": width, "average": average}


_ORDER = "c h w o kh kw sy sx top left out_h out_w pool_h pool_w pool_sy pool_sx pooled_h pooled_w average relu".split()


def _shape(sizes: dict[str, int]) -> str:
    """Return a `conv_shape`, as it is written in C."""
    return "{" + ", ".join(str(sizes[name]) for name in _ORDER) + "}"


def _pool_shape(window: dict[str, int], c: int, h: int, w: int) -> str:
    none = dict.fromkeys(_ORDER, 0)
    return _shape(none | window | {"c": c, "h": h, "w": w, "o": c, "out_h": h, "out_w": w})


def _conv_macs(sizes: dict[str, int]) -> int:
    return sizes["o"] * sizes["out_h"] * sizes["out_w"] * sizes["c"] * sizes["kh"] * sizes["kw"]


def _image(value: Value) -> tuple[int, int, int]:
    """Return channels, height and width of a value that lies channels last, whatever its shape is now."""
    while len(value.shape) != 4 and value.source is not None:
        value = value.source
    _, c, h, w = value.shape
    return c, h, w


def _order(x: Value) -> NDArray[np.int64]:
    """Return, for each element as it lies in memory, its index in the file's order."""
    c, h, w = _image(x)
    return np.arange(c * h * w).reshape(c, h, w).transpose(1, 2, 0).ravel()


def _flattens(value: Value, shape: tuple[int, ...]) -> bool:
    return max(shape, default=1) == value.elements


def _factors(x: Value, scales: NDArray[np.float32], y: Value) -> NDArray[np.float32]:
    """Return what a sum of products is multiplied with, computed in float32 in onnxruntime's order."""
    return (np.float32(x.scale) * scales / np.float32(y.scale)).astype(np.float32)


def _integer_bias(lowering: Lowering, node: Node, weight: NDArray[Any], x: Value) -> NDArray[np.int32]:
    """Return the bias as integers, with the input's zero point taken in: sum(w * (x - zero)) = sum(w * x) - zero * sum(w)."""
    given = lowering.weights(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else None
    if given is None and len(node.inputs) > 2 and node.inputs[2]:
        raise ExportError(f"format c: the bias of {node.name} is not quantized")
    bias = given[0].astype(np.int64) if given else np.zeros(len(weight), np.int64)
    return (bias - x.zero * weight.reshape(len(weight), -1).sum(axis=1, dtype=np.int64)).astype(np.int32)


def _float_weights(lowering: Lowering, name: str) -> NDArray[np.float32]:
    constant = lowering.constant(name)
    if constant is not None:
        return constant.astype(np.float32)
    found = lowering.weights(name)
    if found is None:
        raise ExportError(f"format c: {name} is no constant, and a kernel needs one there")
    integers, scales = found
    along = (len(scales),) + (1,) * (integers.ndim - 1) if scales.ndim else ()
    return (integers.astype(np.float32) * scales.reshape(along)).astype(np.float32)


def _bias(lowering: Lowering, node: Node) -> NDArray[np.float32]:
    if len(node.inputs) > 2 and node.inputs[2]:
        return _float_weights(lowering, node.inputs[2]).ravel()
    return np.zeros(lowering.graph.shape(node.outputs[0])[1], np.float32)


def _scalar(lowering: Lowering, node: Node) -> float | None:
    constant = lowering.constant(node.inputs[1])
    return float(constant.item()) if constant is not None and constant.size == 1 else None


def _in_bands(weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a matrix, k x n, in the order in which rows_f32.c reads it."""
    bands, start = [], 0
    for width in _BANDS:
        while start + width <= weight.shape[1]:
            bands.append(weight[:, start : start + width].ravel())
            start += width
    return np.concatenate(bands)


def _vector(lowering: Lowering, node: Node, n: int) -> NDArray[np.float32] | None:
    constant = lowering.constant(node.inputs[1])
    if constant is None and (found := lowering.weights(node.inputs[1])) is not None:
        constant = _float_weights(lowering, node.inputs[1])
    return constant.ravel().astype(np.float32) if constant is not None and constant.size == n else None


def _layer(node: Node) -> str:
    """Return the layer's name: the part before the slash is the module."""
    return node.name.partition("/")[0]


def _identifier(name: str) -> str:
    return "".join(one if one.isalnum() and one.isascii() else "_" for one in name).strip("_")


def _number(value: Any) -> str:
    """Return a float32 as C has to write it so that the same float comes back."""
    return float_text(np.float32(value))


def float_text(value: np.float32) -> str:
    """Return the shortest decimal that reads back as this float32, as a C literal. Raises ExportError for infinity and NaN."""
    if not np.isfinite(value):
        raise ExportError(f"format c cannot write {value}")
    text = (
        np.format_float_scientific(value, unique=True, trim="0")
        if value and not 1e-4 <= abs(value) < 1e6
        else np.format_float_positional(value, unique=True, trim="0")
    )
    return f"{text}f"
