"""ONNX Runtime."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_edge.common.errors import ModelError
from mnist_edge.runtimes import contract, usable_threads

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mnist_edge.common.logits import Run

# The Linux wheel looks up an events host with the first session. Only the environment stops it, and only before the import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime as ort

ort.set_default_logger_severity(3)  # errors; its warnings at start-up (no GPU, odd CPU names) do not concern the user


def load(path: Path, threads: int = 1) -> Run:
    """Load an ONNX file, or the one in a model repository for Triton. Raises ModelError if ONNX Runtime refuses it or it does not take pixels and give logits."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = usable_threads(threads)
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = ort.InferenceSession(str(contract.onnx_file(path)), options, providers=["CPUExecutionProvider"])
    except ModelError:
        raise
    except Exception as error:  # its exceptions share no base class
        reason = _first_line(error)
        hint = "; it lacks that operator: upgrade onnxruntime, or export another --quantize" if "NOT_IMPLEMENTED" in reason else ""
        raise ModelError(f"{path}: onnxruntime {ort.__version__} cannot load it: {reason}{hint}") from error
    contract.check(path, *([_port(port) for port in ports] for ports in (session.get_inputs(), session.get_outputs())))
    run = session.run
    names = ["logits"]

    def logits(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        result: NDArray[np.float32] = run(names, {"pixels": pixels})[0]
        return result

    return logits


def version() -> str:
    """Return name and version, such as ``onnxruntime 1.32.0``."""
    return f"onnxruntime {ort.__version__}"


def _port(port: Any) -> contract.Port:
    dtype = port.type.removeprefix("tensor(").removesuffix(")")
    shape = tuple(size if isinstance(size, int) else None for size in port.shape)
    return contract.Port(port.name, {"float": "float32"}.get(dtype, dtype), shape)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
