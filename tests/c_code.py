"""Networks in C for tests: made of an ONNX file, and run beside onnxruntime."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from exporters import Calibration, Target
from exporters.c.export import export
from exporters.onnx.quantization import to_static_int8
from mnist_edge.proof.golden import Golden
from mnist_edge.runtimes import native, ort

CLASSES = tuple("0123456789")

#: What a careful project compiles with; the code has to be clean under all of it.
STRICT = ("-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-pedantic", "-Werror")

Weights = Mapping[str, NDArray[Any]]


def pictures(count: int = 64, seed: int = 0) -> NDArray[np.uint8]:
    """Return pixels, uint8 N×1×28×28: noise of several kinds, black and white among it."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (count, 1, 28, 28), dtype=np.uint8)
    pixels[1::3] = np.where(rng.random((len(pixels[1::3]), 1, 28, 28)) < 0.2, pixels[1::3], 0)
    pixels[0], pixels[2] = 0, 255
    return pixels


def written(folder: Path, onnx_file: Path, precision: str = "float32", name: str = "net", golden: Golden | None = None) -> dict[str, Any]:
    """Write the C of an ONNX file into a folder, and return what the exporter says about it. Without `golden`, onnxruntime answers the self-test."""
    folder.mkdir(parents=True)
    golden = golden or Golden(pictures(40, 1), ort.load(onnx_file)(pictures(40, 1)))
    return export(onnx_file, Target(folder, name, "tests", CLASSES, "MIT", precision, golden=golden))


def both(folder: Path, onnx_file: Path, precision: str = "float32") -> tuple[NDArray[np.float32], NDArray[np.float32], dict[str, Any]]:
    """Return the logits of the C and of onnxruntime for the same pictures, and what the exporter says about the C."""
    details = written(folder / "c", onnx_file, precision)
    pixels = pictures()
    return native.load(folder / "c")(pixels), ort.load(onnx_file)(pixels), details


def as_written(onnx_file: Path) -> NDArray[np.float32]:
    """Return the logits of `pictures`, by onnxruntime with the operators as they stand in the file, none made into one with its neighbours."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(onnx_file, options, providers=["CPUExecutionProvider"])
    logits: NDArray[np.float32] = session.run(None, {"pixels": pictures()})[0]
    return logits


def static_int8(folder: Path, float32: Path) -> Path:
    """Write a network in static int8, as an export does, calibrated on such pictures as `pictures` gives."""
    path = folder / "net.int8-static.onnx"
    to_static_int8(float32, Target(path, "net", "tests", CLASSES, "MIT", "int8-static", calibration=Calibration(pictures(100, 2), {})))
    return path


def network(path: Path, nodes: Sequence[onnx.NodeProto], weights: Weights, opset: int = 20) -> Path:
    """Write an ONNX file of nodes from tensor ``ink``, float32 N×1×28×28, to ``logits``; the pixels become ink as in every network here."""
    before = [
        helper.make_node("Cast", ["pixels"], ["whole"], name="Cast", to=TensorProto.FLOAT),
        helper.make_node("Mul", ["whole", "ink_factor"], ["shares"], name="Mul"),
        helper.make_node("Add", ["shares", "ink_term"], ["ink"], name="Add"),
    ]
    constants = {"ink_factor": np.float32(1 / 255 / 0.3081), "ink_term": np.float32(-0.1307 / 0.3081)} | dict(weights)
    inputs = [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["batch", 1, 28, 28])]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 10])]
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph([*before, *nodes], "net", inputs, outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def compiled(source: Path, into: Path, *flags: str, compiler: str = "gcc") -> subprocess.CompletedProcess[str]:
    """Compile a C file into an object, and return what the compiler said."""
    return subprocess.run([compiler, *flags, "-c", "-o", into, source], capture_output=True, text=True, check=False)
