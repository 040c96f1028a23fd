"""tract, in Rust, on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import tract

from mnist_edge.common.errors import ModelError
from mnist_edge.runtimes import contract

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mnist_edge.common.logits import Run

#: As numpy calls them; any other type is not ours, so its own name will do.
_DTYPES = {tract.DatumType.U8: "uint8", tract.DatumType.F32: "float32"}


def load(path: Path, threads: int = 1) -> Run:
    """Load an ONNX file, float32 or int8. Raises ModelError if tract refuses it or it does not take pixels and give logits.

    tract computes on the thread that calls it, so `threads` changes nothing. It names an output after the node that makes it, so the name of
    the output is not checked.
    """
    try:
        model = tract.onnx().load(path).into_model()
        inputs = [_port(model.input_name(i), fact) for i, fact in enumerate(model.input_facts())]
        outputs = [_port("logits", fact) for fact in model.output_facts()]
        contract.check(path, inputs, outputs)
        runnable = model.into_runnable()
    except ModelError:
        raise
    except Exception as error:  # TractError, and errors that its Python part lets through
        raise ModelError(f"{path}: {version()} cannot load it: {_reason(error)}") from error

    def logits(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        try:
            result: NDArray[np.float32] = runnable.run([pixels])[0].to_numpy()
        except tract.TractError as error:
            raise ModelError(f"{path}: {version()} cannot run it: {_reason(error)}") from error
        return result

    return logits


def version() -> str:
    """Return name and version, such as ``tract 0.23.9``."""
    return f"tract {tract.version()}"


def _port(name: str, fact: Any) -> contract.Port:
    sizes = [str(size) for size in fact.dims()]
    dtype = tract.DatumType(fact.datum_type())
    return contract.Port(name, _DTYPES.get(dtype, dtype.name), tuple(int(size) if size.isdecimal() else None for size in sizes))


def _reason(error: Exception) -> str:
    """Return what went wrong and its cause as one line, without the stack of tract's own functions."""
    said = str(error).partition("Stack backtrace:")[0]
    return " ".join(said.split())[:300] or type(error).__name__
