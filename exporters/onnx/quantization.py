"""fp16 and int8, made by the tools that come with ONNX Runtime. We choose what they do to each layer, check the result, and explain it.

Our choices, and the reasons:

- int8 weights use only 7 bits if activations are unsigned (`reduce_range`): x86 processors without VNNI add pairs of products
  in 16 bits, which overflows with 8-bit weights, so the same file would answer differently there. On an emulated Haswell the
  logits of four networks moved by 4.5 to 10.1 with 8 bits, and by 0.0 with 7.
- Static int8 gives its logits in float: as bytes they saturate, and with them the confidence. The last layer adds integers, so that every
  runtime can give the same logits bit for bit; sums of floats are rounded, in an order that each processor has of its own. What comes
  behind the last layer stays in float, too.
- Static int8 covers layers with weights. Sums, the products inside attention, softmax and normalisation stay in float. For a ViT on
  2,500 held-out images, 7 answers change instead of 13, the mean confidence falls by 0.02 points instead of 0.23, and the file is smaller.
- Dynamic int8 leaves convolutions in float: as ConvInteger they are slower, and some runtimes do not know that operator.
"""

import logging
import math
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exporters.onnx.graph import GEMM_AS_MATMUL, details_of, finish, layers, layers_in_float
from exporters.registry import Target
from mnist_edge.common.errors import ExportError, UsageError, one_line, unknown_name
from mnist_edge.common.options import Option

if TYPE_CHECKING:
    import numpy as np
    import onnx
    from numpy.typing import NDArray

KEEP_FLOAT = Option("keep_float", "Leave this layer in float32, such as conv1; may be repeated.", multiple=True, metavar="LAYER")

METHODS = ("minmax", "percentile")

CALIBRATION_METHOD = Option(
    "calibration_method",
    "How to choose ranges: minmax, or percentile (clips the largest 0.01 %).",
    choices=METHODS,
    default=METHODS[0],
    metavar="METHOD",
)

#: The percentage of each tensor's values that method ``percentile`` keeps; values beyond are clipped.
PERCENTILE = 99.99

#: onnxruntime 1.31 and 1.32 crash (SIGSEGV) while loading a Gelu in float16 on the CPU, at their default optimization level.
_NO_FP16 = ("Gelu",)

#: Operators that dynamic int8 covers: the dense layers.
_DYNAMIC = ["Gemm", "MatMul"]

#: Operators that static int8 covers: those with weights, and those between them that can pass int8 through.
_STATIC = ["AveragePool", "Conv", "Gemm", "MatMul", "MaxPool", "Relu", "Reshape"]

#: How many images go through the network at a time during calibration.
_CALIBRATION_BATCH = 50


def to_fp16(float32: Path, target: Target) -> dict[str, Any]:
    """Write the graph with float16 weights and arithmetic; pixels and logits keep their types.

    Raises UnknownNameError for an unknown layer, ExportError.
    """
    import onnx
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    model = onnx.load(float32)
    kept = _kept(model, target.options.get(KEEP_FLOAT.name, ()))
    with _quiet(target):
        blocked = [*DEFAULT_OP_BLOCK_LIST, *_NO_FP16]
        reduced = convert_float_to_float16(model, keep_io_types=True, op_block_list=blocked, node_block_list=kept)
        OnnxModel.graph_topological_sort(
            reduced.graph
        )  # the tool added the casts around float layers at the end, after the nodes that read them
    return _write(reduced, target, kept)


def to_dynamic_int8(float32: Path, target: Target) -> dict[str, Any]:
    """Write the graph with uint8 weights in its dense layers. Their inputs are scaled at run time.

    One scale is computed for the whole batch, so an image's logits depend a little on its neighbours.
    Raises UnknownNameError for an unknown layer, ExportError.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    kept = _kept(onnx.load(float32), target.options.get(KEEP_FLOAT.name, ()))
    with _prepared(float32, target) as (prepared, written), _quiet(target):
        quantize_dynamic(
            prepared,
            written,
            op_types_to_quantize=_DYNAMIC,
            per_channel=True,
            weight_type=QuantType.QUInt8,
            nodes_to_exclude=[*kept, *(name + GEMM_AS_MATMUL for name in kept)],
        )
        reduced = onnx.load(written)
    return _write(reduced, target, kept)


def to_static_int8(float32: Path, target: Target) -> dict[str, Any]:
    """Write the graph in QDQ form: int8 weights per channel, uint8 activations with ranges measured on training images.

    Raises UnknownNameError for an unknown layer, ExportError.
    """
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    method = target.options.get(CALIBRATION_METHOD.name, METHODS[0])
    if target.calibration is None:
        raise UsageError("static int8 needs training images to calibrate on")
    model = onnx.load(float32)
    kept = _kept(model, target.options.get(KEEP_FLOAT.name, ()))
    percentile = method == "percentile"
    with _prepared(float32, target) as (prepared, written), _quiet(target):
        last, behind = _ends(onnx.load(prepared))
        quantize_static(
            prepared,
            written,
            _reader(target.calibration.images),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=[*kept, *behind],
            calibrate_method=CalibrationMethod.Percentile if percentile else CalibrationMethod.MinMax,
            op_types_to_quantize=_STATIC,
            extra_options={"MatMulConstBOnly": True} | ({"CalibPercentile": PERCENTILE} if percentile else {}),
        )
        reduced = onnx.load(written)
    for name in last:
        _leave_output_in_float(reduced, name)
    return _write(reduced, target, kept) | {"calibration": {"method": method, **target.calibration.record}}


def _ends(model: "onnx.ModelProto") -> tuple[list[str], list[str]]:
    """Return the names of the last layers, and of the other nodes that have no layer behind them."""
    found = {node.name for node in layers(model)}
    before_a_layer: set[str] = set()
    last: list[str] = []
    behind: list[str] = []
    for node in reversed(model.graph.node):  # a graph lists a node after those that it reads
        is_at_the_end = before_a_layer.isdisjoint(node.output)
        if is_at_the_end:
            (last if node.name in found else behind).append(node.name)
        if node.name in found or not is_at_the_end:
            before_a_layer.update(node.input)
    return last, behind


def _leave_output_in_float(model: "onnx.ModelProto", layer: str) -> None:
    """Take away the QuantizeLinear and the DequantizeLinear behind a layer, if they are there."""
    nodes = model.graph.node
    output = next(node for node in nodes if node.name == layer).output[0]
    quantized = [node for node in nodes if node.op_type == "QuantizeLinear" and node.input[0] == output]
    dequantized = [node for node in nodes for one in quantized if node.op_type == "DequantizeLinear" and node.input[0] == one.output[0]]
    ends = {port.name for port in model.graph.output}
    for gone in dequantized:
        if gone.output[0] in ends:  # the layer itself gives the graph's output then
            next(node for node in nodes if node.name == layer).output[0] = gone.output[0]
        for node in nodes:
            node.input[:] = [output if name == gone.output[0] else name for name in node.input]
    scales = {name for node in quantized for name in node.input[1:]}
    for node in (*quantized, *dequantized):
        nodes.remove(node)
    used = {name for node in nodes for name in node.input}
    for tensor in [tensor for tensor in model.graph.initializer if tensor.name in scales - used]:
        model.graph.initializer.remove(tensor)


def _kept(model: "onnx.ModelProto", names: Sequence[str]) -> list[str]:
    """Return the nodes for the given names of nodes or modules: ``fc1`` stands for ``fc1/Gemm`` and everything in ``fc1.0``."""
    known = [node.name for node in layers(model)]
    found = []
    for name in names:
        matching = [node for node in known if node == name or node.startswith((f"{name}/", f"{name}."))]
        if not matching:
            raise unknown_name("layer", name, [*dict.fromkeys(node.split("/")[0] for node in known)])
        found += matching
    return found


@contextmanager
def _prepared(float32: Path, target: Target) -> Iterator[tuple[Path, Path]]:
    """Give a file preprocessed by ONNX Runtime, with every shape inferred, and a path to write to."""
    from onnxruntime.quantization import quant_pre_process

    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        with _quiet(target):
            quant_pre_process(float32, prepared)
        yield prepared, Path(folder) / "reduced.onnx"


@contextmanager
def _quiet(target: Target) -> Iterator[None]:
    """Keep ONNX Runtime's tools from writing to standard output and the log, and turn their failures into an ExportError."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with redirect_stdout(StringIO()):
            yield
    except Exception as error:  # they may raise anything
        raise ExportError(f"{target.name}: ONNX Runtime cannot make {target.precision} of it: {one_line(error)}") from error
    finally:
        logging.disable(disabled)


def _reader(images: "NDArray[np.uint8]") -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._batches = iter([images[start : start + _CALIBRATION_BATCH] for start in range(0, len(images), _CALIBRATION_BATCH)])

        def get_next(self) -> dict[str, Any] | None:
            batch = next(self._batches, None)
            return None if batch is None else {"pixels": batch}

    return Reader()


def _write(model: "onnx.ModelProto", target: Target, kept: Sequence[str]) -> dict[str, Any]:
    reduced = sorted({*kept} - layers_in_float(model))
    if reduced:
        raise ExportError(f"{target.name}: ONNX Runtime reduced {', '.join(reduced)}, which had to stay in float32")
    target.path.write_bytes(finish(model, target))
    return details_of(model) | {"kept_float": list(kept), "reduced_weights": round(_reduced_share(model), 4)}


def _reduced_share(model: "onnx.ModelProto") -> float:
    """Return the share of the weights that are in the lower precision, 0 to 1."""
    import onnx

    weights = {onnx.TensorProto.FLOAT: 0, onnx.TensorProto.FLOAT16: 0, onnx.TensorProto.INT8: 0, onnx.TensorProto.UINT8: 0}
    for tensor in model.graph.initializer:
        if tensor.data_type in weights:
            weights[tensor.data_type] += math.prod(tensor.dims)
    return 1 - weights[onnx.TensorProto.FLOAT] / max(1, sum(weights.values()))
