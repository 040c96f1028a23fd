"""How long one answer takes, in this process."""

import random
import time
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from mnist_edge.common.logits import Run

#: Blocks of each method, and seconds of each block.
_BLOCKS, _SECONDS = 8, 0.04


def latencies(runs: Mapping[str, Run], image: NDArray[np.uint8], blocks: int = _BLOCKS, seed: int = 0) -> dict[str, NDArray[np.float64]]:
    """Return the seconds of many single answers, by name, for one image, uint8 1×1×28×28.

    Each block runs one method alone, and the blocks come in shuffled order: calls that alternate push each other out of the
    processor's caches, and a machine that slows down half-way would be unfair to the last method.
    """
    for run in runs.values():
        repeat(run, image, _SECONDS / 4)
    order = [name for name in runs for _ in range(blocks)]
    random.Random(seed).shuffle(order)
    found: dict[str, list[float]] = {name: [] for name in runs}
    for name in order:
        found[name] += repeat(runs[name], image, _SECONDS)
    return {name: np.array(times) for name, times in found.items()}


def repeat(run: Run, pixels: NDArray[np.uint8], seconds: float, at_least: int = 3) -> list[float]:
    """Run the same pixels for this many seconds, but `at_least` this many times, and return the seconds of each call."""
    clock = time.perf_counter
    times: list[float] = []
    end = clock() + seconds
    before = clock()
    while before < end or len(times) < at_least:
        run(pixels)
        now = clock()
        times.append(now - before)
        before = now
    return times
