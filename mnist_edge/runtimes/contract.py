"""What every artifact takes and gives, whatever runs it: pixels, uint8 N×1×28×28 → logits, float32 N×10, for any N."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mnist_edge.common.errors import FixedBatchError, ModelError


class Port(NamedTuple):
    """An input or an output: its name, its type as numpy calls it, its shape with None for an open size."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]

    def __str__(self) -> str:
        return f"{self.name} {self.dtype} {'×'.join('N' if size is None else str(size) for size in self.shape)}"


def check(path: Path, inputs: Sequence[Port], outputs: Sequence[Port]) -> None:
    """Raise ModelError, which names `path`, unless these are the contract's."""
    if _but_for_the_batch(inputs) != [("pixels", "uint8", (1, 28, 28))] or _but_for_the_batch(outputs) != [("logits", "float32", (10,))]:
        takes, gives = (", ".join(map(str, ports)) or "nothing" for ports in (inputs, outputs))
        raise ModelError(f"{path}: takes {takes} and gives {gives}; the contract is pixels uint8 N×1×28×28 → logits float32 N×10")
    if (batch := inputs[0].shape[0]) is not None:
        raise FixedBatchError(f"{path}: its batch is fixed to {batch}; the contract is any number of images", batch)


def onnx_file(path: Path) -> Path:
    """Return the ONNX file of an artifact: itself, or the one in a model repository for Triton. Raises ModelError if that has none, or several."""
    if not path.is_dir():
        return path
    found = sorted(path.glob("*/*/model.onnx"))
    if len(found) != 1:
        raise ModelError(f"{path}: {len(found) or 'no'} files */*/model.onnx in it; a model repository for Triton has one here")
    return found[0]


def _but_for_the_batch(ports: Sequence[Port]) -> list[tuple[str, str, tuple[int | None, ...]]]:
    return [(port.name, port.dtype, port.shape[1:]) for port in ports]
