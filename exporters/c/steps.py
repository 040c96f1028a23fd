"""The steps of a network in C: each calls one kernel. `lowering` makes them, `memory` gives each result a place, `text` writes them."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.common.errors import ExportError

#: Bytes of an element of each type.
SIZES = {"uint8_t": 1, "int8_t": 1, "int32_t": 4, "float": 4}

#: Every place in the workspace starts at a multiple of this, so that kernels can load words.
ALIGNMENT = 4


@dataclass(frozen=True, eq=False)
class Value:
    """A result in memory, of one image.

    Attributes:
        name: its tensor's name in the ONNX file.
        shape: as in the ONNX file, for a batch of one.
        type: its C type.
        scale, zero: what its bytes stand for: ``(byte - zero) * scale``; of floats 1 and 0.
        channels_last: True if it lies in memory as height, width, channels.
        source: the value whose memory it is, in another shape; None if it has its own.
        start: the element of that memory at which it begins.
    """

    name: str
    shape: tuple[int, ...]
    type: str = "float"
    scale: float = 1.0
    zero: int = 0
    channels_last: bool = False
    source: Value | None = None
    start: int = 0

    @property
    def elements(self) -> int:
        """How many elements it has."""
        return prod(self.shape)

    @property
    def bytes(self) -> int:
        """How many bytes it takes, rounded up so that whole words can be read."""
        return -(-self.elements * SIZES[self.type] // ALIGNMENT) * ALIGNMENT

    @property
    def image(self) -> tuple[int, int, int]:
        """Channels, height and width of a value that lies channels last, whatever its shape is now."""
        owner = self
        while len(owner.shape) != 4 and owner.source is not None:
            owner = owner.source
        _, c, h, w = owner.shape
        return c, h, w

    @property
    def root(self) -> Value:
        """The value that owns the memory."""
        return self if self.source is None else self.source.root


@dataclass(frozen=True, eq=False)
class Array:
    """Constants in flash. Elements are of a C type: int8_t, int32_t, uint8_t or float."""

    name: str
    type: str
    values: NDArray[Any]

    @property
    def bytes(self) -> int:
        """How many bytes it takes."""
        return int(self.values.size) * SIZES[self.type]


@dataclass(frozen=True, eq=False)
class Scratch:
    """Memory that one step needs while it runs."""

    type: str
    elements: int

    @property
    def bytes(self) -> int:
        """How many bytes it takes."""
        return -(-self.elements * SIZES[self.type] // ALIGNMENT) * ALIGNMENT


#: What a kernel is called with. A number or a text stands in the code as it is.
Argument = Value | Array | Scratch | int | float | str


@dataclass(frozen=True, eq=False)
class Step:
    """One call of a kernel.

    Attributes:
        kernel: the function's name.
        needs: names of the files in ``kernels/`` that it is in, in the order in which they have to come.
        arguments: in order.
        output: what it writes.
        layer: the layer's name, for people.
        macs: multiplications with addition.
        fused: True if onnxruntime computes it in one with what stands around it, and rounds otherwise.
    """

    kernel: str
    needs: tuple[str, ...]
    arguments: tuple[Argument, ...]
    output: Value
    layer: str
    macs: int = 0
    fused: bool = False

    @property
    def inputs(self) -> list[Value]:
        """The values that it reads."""
        return [one for one in self.arguments if isinstance(one, Value) and one is not self.output]

    @property
    def scratch(self) -> list[Scratch]:
        """The memory that it needs while it runs."""
        return [one for one in self.arguments if isinstance(one, Scratch)]


@dataclass(frozen=True)
class Network:
    """All steps of a network.

    Attributes:
        steps: in the order in which they run.
        pixels: the input, 784 bytes, which the caller has.
        logits: the output, which the caller has room for.
    """

    steps: tuple[Step, ...]
    pixels: Value
    logits: Value


def number(value: Any) -> str:
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


def float_texts(values: NDArray[Any]) -> list[str]:
    """Return `float_text` of each of N float32, of millions in seconds: numpy writes most of an array's numbers alike. Raises ExportError."""
    flat = np.asarray(values, np.float32)
    size = np.abs(flat)
    alike = (flat == 0) | ((size > 1e-4) & (size < 1e6))
    words = [f"{word}f" for word in np.where(alike, flat, np.float32(0)).astype(str).tolist()]
    for index in np.flatnonzero(~alike):
        words[index] = float_text(flat[index])
    return words
