"""Operators that move elements and compute nothing."""

from __future__ import annotations

from itertools import pairwise
from math import prod

import numpy as np

from exporters.c.graph import Node
from exporters.c.lowering.state import Lowering, layer_of, lowers
from exporters.c.steps import Array, Value, number
from mnist_edge.common.errors import ExportError

#: Operators that change a value's shape and nothing else.
_RESHAPING = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity")


@lowers(*_RESHAPING)
def _reshape(lowering: Lowering, node: Node) -> None:
    value = lowering.value(node.inputs[0])
    shape = lowering.graph.shape(node.outputs[0])
    flattens = len(shape) < 4 and max(shape, default=1) == value.elements  # whoever takes it then asks for the order of the file
    if not flattens and shape != value.shape:
        value = lowering.in_order(value)
    lowering.alias(value, node.outputs[0], shape)


@lowers("Transpose")
def _transpose(lowering: Lowering, node: Node) -> None:
    value = lowering.floats(node.inputs[0])
    order = node.attributes["perm"]
    strides = strides_of(value.shape)
    shape = tuple(value.shape[axis] for axis in order)
    longer = [axis for axis in order if value.shape[axis] != 1]
    if longer == sorted(longer):  # only axes of one element move
        lowering.alias(value, node.outputs[0], shape)
        return
    result = Value(node.outputs[0], shape)
    copy(lowering, node, value, shape, tuple(strides[axis] for axis in order), result)
    lowering.name(result)


@lowers("Gather")
def _gather(lowering: Lowering, node: Node) -> None:
    index, axis = lowering.constant(node.inputs[1]), node.attributes.get("axis", 0)
    if index is None or index.size != 1:
        raise ExportError(f"format c has no kernel for Gather of more than one index (node {node.name})")
    value = lowering.floats(node.inputs[0])
    axis %= len(value.shape)
    _slice(lowering, node, value, {axis: (int(index.item()) % value.shape[axis], 1)})


@lowers("Slice")
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
    strides = strides_of(value.shape)
    start = sum(first * strides[axis] for axis, (first, _) in taken.items())
    shape = tuple(taken[axis][1] if axis in taken else size for axis, size in enumerate(value.shape))
    cut = [axis for axis, size in enumerate(shape) if size != value.shape[axis]]
    together = not cut or all(size == 1 for size in shape[: max(cut)])
    if together:
        lowering.alias(value, node.outputs[0], lowering.graph.shape(node.outputs[0]), start)
        return
    lowering.alias(value, f"{node.name} part", shape, start)
    result = Value(node.outputs[0], lowering.graph.shape(node.outputs[0]))
    copy(lowering, node, lowering.floats(f"{node.name} part"), shape, strides, result)
    lowering.name(result)


@lowers("Concat")
def _concat(lowering: Lowering, node: Node) -> None:
    result = Value(node.outputs[0], lowering.graph.shape(node.outputs[0]))
    axis, strides, start = node.attributes["axis"] % len(result.shape), strides_of(result.shape), 0
    for name in node.inputs:
        constant = lowering.constant(name)
        part = lowering.floats(name) if constant is None else lowering.array(node.name, "part", "float", constant.astype(np.float32))
        shape = lowering.graph.shape(name)
        to = Value(f"{node.outputs[0]} part", shape, source=result, start=start * strides[axis])
        copy(lowering, node, part, shape, strides_of(shape), to, strides)
        start += shape[axis]
    lowering.name(result)


@lowers("Pad")
def _pad(lowering: Lowering, node: Node) -> None:
    widths = lowering.constant(node.inputs[1])
    filler = lowering.constant(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else None
    usual = node.attributes.get("mode", b"constant") == b"constant" and not (len(node.inputs) > 3 and node.inputs[3])
    if not usual or widths is None or widths.min() < 0:
        raise ExportError(f"format c has no kernel for this kind of Pad (node {node.name})")
    value = lowering.floats(node.inputs[0])
    result = Value(node.outputs[0], lowering.graph.shape(node.outputs[0]))
    strides = strides_of(result.shape)
    start = sum(int(before) * stride for before, stride in zip(widths[: len(strides)], strides, strict=True))
    lowering.add(
        "fill_f32", ("copy_f32",), (number(0.0 if filler is None else filler.item()), result.elements, result), result, layer_of(node)
    )
    to = Value(f"{node.outputs[0]} part", value.shape, source=result, start=start)
    copy(lowering, node, value, value.shape, strides_of(value.shape), to, strides)
    lowering.name(result)


def copy(
    lowering: Lowering,
    node: Node,
    source: Value | Array,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    to: Value,
    to_strides: tuple[int, ...] | None = None,
) -> None:
    """Add a step that copies elements of a shape from one place to another, each with its own strides."""
    to_strides = to_strides or strides_of(shape)
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
    lowering.add("copy_f32", ("copy_f32",), (source, *numbers, to), to, layer_of(node))


def strides_of(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return how far the elements of each axis lie apart, in elements."""
    return tuple(prod(shape[axis + 1 :]) for axis in range(len(shape)))
