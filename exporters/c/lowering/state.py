"""The state of a lowering, and the table of operators."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.c.graph import Graph, Node
from exporters.c.steps import Argument, Array, Network, Step, Value, number
from mnist_edge.common.errors import ExportError

LOWERED: dict[str, Callable[[Lowering, Node], None]] = {}


def lowers(*operators: str) -> Callable[[Callable[[Lowering, Node], None]], Callable[[Lowering, Node], None]]:
    """Enter a function into the table, as the one that lowers these operators."""

    def add(function: Callable[[Lowering, Node], None]) -> Callable[[Lowering, Node], None]:
        LOWERED.update(dict.fromkeys(operators, function))
        return function

    return add


class Lowering:
    """The state of one lowering: which tensors are computed, and where each lies.

    Attributes:
        graph: the network.
        steps: what is lowered so far.
        done: names of nodes that an earlier one took in.
        consumers: for each tensor, the nodes that take it.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.steps: list[Step] = []
        self.done: set[str] = set()
        self.pixels = Value(graph.input, graph.shape(graph.input), "uint8_t")
        self.values: dict[str, Value] = {graph.input: self.pixels}
        self._dequantized: dict[str, Value] = {}
        self.integer_weights: dict[str, tuple[NDArray[Any], NDArray[np.float32]]] = {}
        self.consumers: dict[str, list[Node]] = {}
        self._names: set[str] = set()
        for node in graph.nodes:
            for name in set(node.inputs):
                self.consumers.setdefault(name, []).append(node)

    # what is there

    def constant(self, name: str) -> NDArray[Any] | None:
        """Return a constant, if a tensor is one."""
        return self.graph.constants.get(name)

    def weights(self, name: str) -> tuple[NDArray[Any], NDArray[np.float32]] | None:
        """Return a constant's integers and their scales, which broadcast to them, if a tensor is a dequantized constant."""
        return self.integer_weights.get(name)

    def bytes_of(self, name: str) -> Value | None:
        """Return the bytes that a float tensor stands for, if it is a dequantized value."""
        value = self.values.get(name)
        return value if value is not None and value.type == "uint8_t" and value.scale != 1.0 else None

    def value(self, name: str) -> Value:
        """Return a computed tensor. Raises ExportError for a constant."""
        found = self.values.get(name)
        if found is None:
            raise ExportError(f"format c: a constant, {name}, stands where a kernel needs a computed tensor")
        return found

    def floats(self, name: str) -> Value:
        """Return a tensor as floats, in the order that it has in the file; dequantize it first if need be."""
        found = self.value(name)
        if found.type == "float":
            return self.in_order(found)
        if name in self._dequantized:
            return self._dequantized[name]
        found = self.in_order(found)
        result = Value(f"{name}_floats", found.shape)
        self.add("dequantize_u8", ("quantize",), (found, number(found.scale), found.zero, found.elements, result), result, name)
        self._dequantized[name] = result
        return result

    def pixels_together(self, name: str) -> Value:
        """Return a tensor of an image as floats, with the channels of each pixel together."""
        found = self.values.get(name)
        if found is not None and found.type == "float" and found.channels_last:
            return found
        value = self.floats(name)
        return self.channels_last(value)

    def channels_last(self, value: Value) -> Value:
        """Return an image with the channels of each pixel together."""
        _, c, h, w = value.shape
        if value.channels_last:
            return value
        if c == 1 or h * w == 1:
            return replace(value, channels_last=True, source=value)
        result = replace(value, name=f"{value.name}_channels_last", channels_last=True, source=None, start=0)
        kernel = "channels_last_u8" if value.type == "uint8_t" else "channels_last_f32"
        self.add(kernel, ("layout",), (value, h * w, c, result), result, value.name)
        return result

    def in_order(self, value: Value) -> Value:
        """Return a value in the order of the file: channels before height and width."""
        if not value.channels_last:
            return value
        c, h, w = value.image
        if c == 1 or h * w == 1:
            return replace(value, channels_last=False, source=value)
        result = replace(value, name=f"{value.name}_in_order", channels_last=False, source=None, start=0)
        kernel = "channels_first_u8" if value.type == "uint8_t" else "channels_first_f32"
        self.add(kernel, ("layout",), (value, h * w, c, result), result, value.name)
        return result

    def follower(self, name: str, *operators: str) -> Node | None:
        """Return the node that alone takes a tensor, if it is one of `operators`."""
        nodes = self.consumers.get(name, [])
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
            self.values[tensor] = output

    def alias(self, value: Value, name: str, shape: tuple[int, ...], start: int = 0) -> None:
        """Let a tensor be another's memory in another shape, from one of its elements on."""
        self.values[name] = replace(value, name=name, shape=shape, source=value, start=value.start + start)

    def name(self, value: Value) -> None:
        """Let a value that several steps wrote be the tensor of its name."""
        self.values[value.name] = value

    def array(self, layer: str, what: str, type: str, values: NDArray[Any]) -> Array:
        """Return constants under a name of their own."""
        name = f"{identifier(layer)}_{what}"
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
        scale, zero = byte_format(self, node)
        if between and zero != 0:  # only from zero on do bytes cut off what is negative
            return None
        if between:
            self.done.add(between.name)
        return node, Value(node.outputs[0], self.graph.shape(node.outputs[0]), "uint8_t", scale, zero)

    def network(self) -> Network:
        """Return the steps, the last of which writes the logits."""
        logits = self.floats(self.graph.output)
        if logits.elements != logits.root.elements:  # a part of something larger, which would not fit into the caller's memory
            whole = Value("logits", logits.shape)
            self.add("copy_f32", ("copy_f32",), (logits, 1, 1, 1, logits.elements, 0, 0, 0, 1, 0, 0, 0, 1, whole), whole, "logits")
            logits = whole
        return Network(tuple(self.steps), self.pixels, logits.root)


def byte_format(lowering: Lowering, quantizer: Node) -> tuple[float, int]:
    """Return scale and zero point. Raises ExportError for anything but unsigned bytes with one scale."""
    scale, zero = lowering.graph.constants[quantizer.inputs[1]], lowering.graph.constants[quantizer.inputs[2]]
    if zero.dtype != np.uint8 or scale.ndim:
        raise ExportError(f"format c quantizes to unsigned bytes with one scale only (node {quantizer.name}: {zero.dtype})")
    return float(scale), int(zero)


def layer_of(node: Node) -> str:
    """Return the layer's name: the part before the slash is the module."""
    return node.name.partition("/")[0]


def identifier(name: str) -> str:
    """Return a name with nothing but letters, digits and underscores, which begins with a letter."""
    words = "".join(one if one.isalnum() and one.isascii() else "_" for one in name).strip("_")
    return words if words[:1].isalpha() else f"layer_{words}".rstrip("_")
