"""Convolution and pooling."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.c.graph import Node
from exporters.c.lowering.state import Lowering, layer_of, lowers
from exporters.c.lowering.weights import WORD, along_first_axis, float_bias, float_weights, in_bands, integer_bias, multipliers, padded
from exporters.c.steps import Argument, Scratch, Value, number
from mnist_edge.common.errors import ExportError

#: Outputs of a convolution that are computed together where no pooling follows. Filters of more weights than `_LARGE` do not stay in a processor's
#: nearest caches, so more outputs share each reading of them; networks for microcontrollers have none, and keep their small workspace.
_GROUP, _LARGE_GROUP, _LARGE = 4, 16, 65_536


@lowers("Conv")
def _conv(lowering: Lowering, node: Node) -> None:
    attributes = node.attributes
    _refuse_other_than_images(lowering, node)
    if (
        attributes.get("group", 1) != 1
        or any(one != 1 for one in attributes.get("dilations", []))
        or attributes.get("auto_pad", b"NOTSET") != b"NOTSET"
    ):
        raise ExportError(f"format c has no kernel for Conv with groups, dilations or auto_pad (node {node.name})")
    x = lowering.bytes_of(node.inputs[0])
    weights = lowering.weights(node.inputs[1])
    if (
        x is not None
        and weights is not None
        and (scales := along_first_axis(*weights)) is not None
        and _conv_u8(lowering, node, x, weights[0], scales)
    ):
        return
    filters, bias = float_weights(lowering, node.inputs[1]), float_bias(lowering, node)
    value = lowering.pixels_together(node.inputs[0])
    sizes = _conv_sizes(lowering, node, filters.shape)
    name = node.outputs[0]
    relu = 0
    if following := lowering.follower(name, "Relu"):
        lowering.done.add(following.name)
        name, relu = following.outputs[0], 1
    pooled = lowering.follower(name, "MaxPool", "AveragePool")
    if pooled is not None and (window := _window_of(lowering, pooled)) is not None:
        lowering.done.add(pooled.name)
        name, sizes = pooled.outputs[0], sizes | window
    result = Value(name, lowering.graph.shape(name), channels_last=True)
    matrix = filters.transpose(2, 3, 1, 0).reshape(-1, len(filters))
    window_size = sizes["pool_h"] * sizes["pool_w"]
    together = _LARGE_GROUP if matrix.size > _LARGE else _GROUP
    group = window_size if window_size > 1 else min(together, sizes["out_w"] * sizes["out_h"])
    arguments = (
        value,
        lowering.array(layer_of(node), "filters", "float", in_bands(matrix)),
        lowering.array(layer_of(node), "bias", "float", padded(bias)),
        _shape_text(sizes | {"relu": relu}),
        group,
        Scratch("float", group * (len(matrix) + (len(filters) if window_size > 1 else 0))),
        result,
    )
    lowering.add("conv_f32", ("window", "rows_f32", "conv_f32"), arguments, result, layer_of(node), _conv_macs(sizes), name)


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
    if after and pooled and (window := _window_of(lowering, pooled)) is not None:  # the largest byte of a window is that of the largest sum
        lowering.done |= {after.name, pooled.name}
        name, sizes = pooled.outputs[0], sizes | window
    channels, kernel = filters.shape[1], filters.shape[2:]
    k = -(-channels * prod(kernel) // WORD) * WORD
    rows = np.zeros((len(filters), k), np.int8)
    rows[:, : channels * prod(kernel)] = filters.transpose(0, 2, 3, 1).reshape(len(filters), -1)
    layer = layer_of(node)
    x = lowering.channels_last(x)
    y = replace(y, name=name, shape=lowering.graph.shape(name), channels_last=True)
    arguments = (
        x,
        lowering.array(layer, "filters", "int8_t", rows),
        lowering.array(layer, "bias", "int32_t", integer_bias(lowering, node, filters, x)),
        lowering.array(layer, "scale", "float", multipliers(x, scales, y)),
        _shape_text(sizes | {"relu": 0}),
        k,
        x.zero,
        y.zero,
        Scratch("uint8_t", k * sizes["pool_h"] * sizes["pool_w"]),
        y,
    )
    lowering.add("conv_u8", ("window", "dot_u8", "conv_u8"), arguments, y, layer, _conv_macs(sizes), name)
    return True


@lowers("MaxPool", "AveragePool")
def _pool(lowering: Lowering, node: Node) -> None:
    _refuse_other_than_images(lowering, node)
    window = _window_of(lowering, node)
    if window is None:
        raise ExportError(f"format c has no kernel for {node.op} with padding, dilations, ceil_mode or auto_pad (node {node.name})")
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
                _pool_shape_text(window, c, h, w),
                number(source.scale),
                source.zero,
                number(y.scale),
                y.zero,
                y,
            )
            # the mean of a whole image is another kernel in onnxruntime, which rounds as the processor's instructions do it
            fused = node.op == "AveragePool" and (window["pool_h"], window["pool_w"]) == (h, w)
            lowering.add("pool_u8", ("window", "dot_u8", "pool_u8"), arguments, y, layer_of(node), tensor=name, fused=fused)
            return
    value = lowering.pixels_together(node.inputs[0])
    result = Value(node.outputs[0], lowering.graph.shape(node.outputs[0]), channels_last=True)
    lowering.add(
        "pool_f32",
        ("window", "pool_f32"),
        (value, _pool_shape_text(window, c, h, w), result),
        result,
        layer_of(node),
        tensor=node.outputs[0],
    )


def _refuse_other_than_images(lowering: Lowering, node: Node) -> None:
    if len(lowering.graph.shape(node.inputs[0])) != 4:
        raise ExportError(f"format c has no kernel for {node.op} over anything but height and width (node {node.name})")


def _conv_sizes(lowering: Lowering, node: Node, filters: tuple[int, ...]) -> dict[str, int]:
    c, h, w = lowering.graph.shape(node.inputs[0])[1:]
    o, out_h, out_w = lowering.graph.shape(node.outputs[0])[1:]
    sy, sx = node.attributes.get("strides", [1, 1])
    top, left = node.attributes.get("pads", [0, 0, 0, 0])[:2]
    sizes = {"c": c, "h": h, "w": w, "o": o, "kh": filters[2], "kw": filters[3], "sy": sy, "sx": sx, "top": top, "left": left}
    return sizes | {"out_h": out_h, "out_w": out_w} | _NO_POOLING | {"pooled_h": out_h, "pooled_w": out_w}


_NO_POOLING = {"pool_h": 1, "pool_w": 1, "pool_sy": 1, "pool_sx": 1, "average": 0}


def _window_of(lowering: Lowering, node: Node) -> dict[str, int] | None:
    attributes = node.attributes
    if any(attributes.get("pads", [])) or any(one != 1 for one in attributes.get("dilations", [])) or attributes.get("ceil_mode"):
        return None
    if attributes.get("auto_pad", b"NOTSET") != b"NOTSET":
        return None
    (pool_h, pool_w), (sy, sx) = attributes["kernel_shape"], attributes.get("strides", [1, 1])
    height, width = lowering.graph.shape(node.outputs[0])[2:]
    average = int(node.op == "AveragePool")
    return {"pool_h": pool_h, "pool_w": pool_w, "pool_sy": sy, "pool_sx": sx, "pooled_h": height, "pooled_w": width, "average": average}


_ORDER = [
    "c",
    "h",
    "w",
    "o",
    "kh",
    "kw",
    "sy",
    "sx",
    "top",
    "left",
    "out_h",
    "out_w",
    "pool_h",
    "pool_w",
    "pool_sy",
    "pool_sx",
    "pooled_h",
    "pooled_w",
    "average",
    "relu",
]


def _shape_text(sizes: dict[str, int]) -> str:
    """Return a `conv_shape`, as it is written in C."""
    return "{" + ", ".join(str(sizes[name]) for name in _ORDER) + "}"


def _pool_shape_text(window: dict[str, int], c: int, h: int, w: int) -> str:
    none = dict.fromkeys(_ORDER, 0)
    return _shape_text(none | window | {"c": c, "h": h, "w": w, "o": c, "out_h": h, "out_w": w})


def _conv_macs(sizes: dict[str, int]) -> int:
    return sizes["o"] * sizes["out_h"] * sizes["out_w"] * sizes["c"] * sizes["kh"] * sizes["kw"]


@lowers("GlobalAveragePool")
def _global_average(lowering: Lowering, node: Node) -> None:
    value = lowering.floats(node.inputs[0])
    result = Value(node.outputs[0], lowering.graph.shape(node.outputs[0]))
    n = value.elements // result.elements
    lowering.add("mean_f32", ("mean_f32",), (value, result.elements, n, 1, result), result, layer_of(node), tensor=result.name)
