"""Tells a digit from what is none: a small network with one answer, in numpy.

The network that reads digits has no answer for "none of them", and its logits do not give one: a threshold on the largest logit that
keeps 99 % of MNIST refuses half of the letters and signs (docs/pictures.md). This one sees the same 28×28 and answers how likely they are a
digit, whatever model reads them: two convolutions, two layers, 22,000 weights. `benchmarks/no_digit.py` trains it on MNIST's
training images and digits drawn here, against letters, signs and scribbles drawn here, pairs and slices of digits.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Images that are worked on at a time; each takes 70 kB meanwhile.
_BATCH = 128


@cache
def _weights() -> dict[str, NDArray[np.float32]]:
    with (resources.files("mnist_edge.reading") / "no_digit.npz").open("rb") as file, np.load(file) as stored:
        return {name: stored[name].astype(np.float32) for name in stored.files}


def kinds(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return how likely each image is a digit, a sign, or something else, float32, N×3, for pixels, uint8, N×28×28, ink bright."""
    batches = [_kinds(pixels[first : first + _BATCH]) for first in range(0, len(pixels), _BATCH)]
    return np.concatenate(batches) if batches else np.empty((0, 3), np.float32)


def _kinds(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    weights = _weights()
    x: NDArray[np.float32] = (pixels.astype(np.float32) / np.float32(255))[:, None]
    for name in ("first", "second"):
        x = np.maximum(_convolved(x, weights[f"{name}.weight"], weights[f"{name}.bias"]), np.float32(0))
    x = np.maximum(x.reshape(len(x), -1) @ weights["third.weight"].T + weights["third.bias"], 0)
    logits = x @ weights["last.weight"].T + weights["last.bias"]
    likely = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: NDArray[np.float32] = likely / likely.sum(axis=1, keepdims=True)
    return shares


def _convolved(x: NDArray[np.float32], weight: NDArray[np.float32], bias: NDArray[np.float32]) -> NDArray[np.float32]:
    """Convolve with a stride of 2 and no border: N×C×H×W and O×C×K×K → N×O×H'×W'."""
    size = weight.shape[2]
    windows = sliding_window_view(x, (size, size), (2, 3))[:, :, ::2, ::2]
    n, _, height, width = windows.shape[:4]
    columns = windows.transpose(0, 2, 3, 1, 4, 5).reshape(n * height * width, -1)
    result = columns @ weight.reshape(len(weight), -1).T + bias
    return np.ascontiguousarray(result.reshape(n, height, width, -1).transpose(0, 3, 1, 2))
