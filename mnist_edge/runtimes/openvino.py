"""OpenVINO, on the CPU."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mnist_edge.common.errors import ModelError
from mnist_edge.runtimes import contract, usable_threads

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnist_edge.common.logits import Run

_TELEMETRY = "openvino_telemetry"


@contextmanager
def _without_telemetry() -> Iterator[None]:
    """Hide OpenVINO's telemetry while OpenVINO is imported. OpenVINO then uses its own stub from then on.

    Otherwise the import alone looks up a host and writes an identifier into the home folder. ``CI=true`` would stop it, too, but this
    process' other libraries, and the programs that it starts, would believe it. If something else imported OpenVINO first, it is too late.
    """
    before = sys.modules.get(_TELEMETRY)
    sys.modules[_TELEMETRY] = None  # type: ignore[assignment] # which makes its import fail
    try:
        yield
    finally:
        if before is None:
            del sys.modules[_TELEMETRY]
        else:
            sys.modules[_TELEMETRY] = before


with _without_telemetry():
    import openvino as ov
    from openvino.frontend import FrontEndManager


def load(path: Path, threads: int = 1) -> Run:
    """Load an ONNX file. Raises ModelError if OpenVINO refuses it or it does not take pixels and give logits."""
    # float32 is asked for because OpenVINO's own choice is bfloat16 where the processor has it, which changes logits and answers
    options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": usable_threads(threads)}
    try:
        # not Core.read_model, which tries every format that it knows on a damaged file, and prints what each says
        frontend = FrontEndManager().load_by_framework("onnx")
        model = frontend.convert(frontend.load(str(path)))
        contract.check(path, *([_port(port) for port in ports] for ports in (model.inputs, model.outputs)))
        compiled = ov.Core().compile_model(model, "CPU", options)
    except ModelError:
        raise
    except Exception as error:  # RuntimeError, its own that are no RuntimeError, and pybind's TypeError
        raise ModelError(f"{path}: {version()} cannot load it: {_reason(error)}") from error
    mine = threading.local()  # a request serves one thread at a time

    def logits(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        if not len(pixels):  # OpenVINO would refuse this and, on the same request, every batch after it
            return np.empty((0, 10), np.float32)
        request = getattr(mine, "request", None)
        if request is None:
            request = mine.request = compiled.create_infer_request()
        try:
            result: NDArray[np.float32] = request.infer([pixels])[0]
        except RuntimeError as error:
            raise ModelError(f"{path}: {version()} cannot run it: {_reason(error)}") from error
        return result

    return logits


def version() -> str:
    """Return name and version, such as ``openvino 2026.4.1``."""
    return f"openvino {ov.__version__.partition('-')[0]}"


def processor() -> tuple[str, ...]:
    """Return the features that OpenVINO finds in this processor, in its own words, sorted, such as ``BF16`` and ``INT8``."""
    found = set(ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
    return tuple(sorted(found - {"EXPORT_IMPORT"}))  # this property is about files


def _port(port: Any) -> contract.Port:
    names: Iterable[str] = port.names
    shape = tuple(None if size.is_dynamic else size.get_length() for size in port.partial_shape)
    return contract.Port(min(names, default=""), np.dtype(port.element_type.to_dtype()).name, shape)


def _reason(error: Exception) -> str:
    """Return the last line: the lines before it name places in OpenVINO's source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
