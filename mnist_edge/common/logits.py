"""Defines a valid answer: logits, float32 N×10, one finite row per image. All answers are checked here."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from mnist_edge.common.errors import ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Anything that answers: pixels, uint8 N×1×28×28 → logits, float32 N×10. It may have an attribute ``figures``, a dict from names to whole
#: numbers: what the images so far took. The emulated chips have ``flash_bytes`` (code and weights of the network), ``ram_bytes`` (workspace and
#: the deepest stack, without the pixels and logits that the caller has), ``stack_bytes``, ``instructions`` (the mean of an image) and
#: ``most_instructions`` (the most for one image).
Run = Callable[["NDArray[np.uint8]"], "NDArray[np.float32]"]


def check(logits: Any, rows: int, source: str = "", columns: int = 10) -> NDArray[np.float32]:
    """Return `logits` if they are float32, `rows`×`columns`, and all finite. Raises ModelError, which names the `source`."""
    check_shape(logits, rows, source, columns)
    # the product with itself is finite if all values are; this takes half the time, and one image takes only 27 µs
    if not isfinite(np.vdot(logits, logits)) and not np.isfinite(logits).all():
        raise ModelError(f"{_of(source)}answered NaN or infinity, so it cannot be used; export or train it again")
    checked: NDArray[np.float32] = logits
    return checked


def check_shape(logits: Any, rows: int, source: str = "", columns: int = 10) -> NDArray[np.float32]:
    """Return `logits` if they are float32, `rows`×`columns`; a wrong number of rows is never cut to fit. Raises ModelError."""
    if not isinstance(logits, np.ndarray) or logits.dtype != np.float32 or logits.shape != (rows, columns):
        what = f"{logits.dtype} {logits.shape}" if isinstance(logits, np.ndarray) else type(logits).__name__
        raise ModelError(f"{_of(source)}answered {what} where float32 ({rows}, {columns}) was expected")
    checked: NDArray[np.float32] = logits
    return checked


def figures(run: Run) -> dict[str, int]:
    """Return the figures of a function that answers, or of the one that it wraps; empty if it has none. Raises ModelError for others than counts."""
    told = getattr(run, "figures", None)
    if told is None:
        inner = getattr(run, "__wrapped__", None)
        return figures(inner) if inner is not None else {}
    if not isinstance(told, dict) or not all(
        isinstance(name, str) and type(number) is int and number >= 0 for name, number in told.items()
    ):
        raise ModelError(f"the runtime's figures are {told!r}, but must be a dict of names and whole numbers")
    return dict(told)


def _of(source: str) -> str:
    return f"{source}: " if source else ""
