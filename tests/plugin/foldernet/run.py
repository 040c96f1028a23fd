"""Runs ``graph.json``, a list of steps in order, and the arrays that it names."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from mnist_edge.common.errors import ModelError, UsageError
from mnist_edge.common.logits import Run

Array = NDArray[np.float32]


def version() -> str:
    """Return the release."""
    return "foldernet 1.2.3"


def processor() -> tuple[str, ...]:
    """Return what of the processor it uses: whatever numpy does."""
    return ("numpy",)


def load(path: Path, threads: int = 1, chunk: int = 64) -> Run:
    """Load a folder. Raises ModelError."""
    if chunk < 1:
        raise UsageError(f"--chunk {chunk}: 1 or more")
    try:
        graph = json.loads((path / "graph.json").read_bytes())
        arrays = {file.stem: np.load(file, allow_pickle=False) for file in (path / "weights").iterdir()}
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: not a folder of foldernet's: {error}") from error

    def run(pixels: NDArray[np.uint8]) -> Array:
        parts = [_answer(graph, arrays, pixels[start : start + chunk]) for start in range(0, len(pixels), chunk)]
        return np.concatenate(parts) if parts else np.empty((0, 10), np.float32)

    return run


def _answer(graph: list[dict[str, Any]], arrays: dict[str, Array], pixels: NDArray[np.uint8]) -> Array:
    x = pixels.astype(np.float32)
    for step in graph:
        weight, bias = (arrays[f"{step['name']}.{what}"].astype(np.float32) if "name" in step else None for what in ("weight", "bias"))
        match step["op"]:
            case "scale":
                x = x * np.float32(step["by"]) + np.float32(step["plus"])
            case "conv":
                pad = step["padding"]
                padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
                windows = sliding_window_view(padded, weight.shape[2:], axis=(2, 3))
                x = np.tensordot(windows, weight, axes=((1, 4, 5), (1, 2, 3))).transpose(0, 3, 1, 2) + bias[:, None, None]
            case "pool":
                x = x.reshape(*x.shape[:2], x.shape[2] // 2, 2, x.shape[3] // 2, 2).max(axis=(3, 5))
            case "relu":
                x = np.maximum(x, 0)
            case "dense":
                x = x.reshape(len(x), -1) @ weight.T + bias
    return np.ascontiguousarray(x, np.float32)
