"""Says in words what a lower precision is good for: size, speed and accuracy against float32 in the same format, on this machine."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exporters.writing import File
from mnist_edge.benchmark.latency import latencies
from mnist_edge.common.text import percent
from mnist_edge.proof.parity import ParityReport

#: A file larger than this share of the float32 file is not called smaller.
_SMALLER = 0.9

#: A file counts as faster only from this factor on: two runs of the same file may differ by as much on a busy machine.
_FASTER = 1.2


@dataclass(frozen=True)
class Verdict:
    """A reduced artifact compared with float32 in the same format, with the same options.

    Attributes:
        bytes, float32_bytes: sizes of the two files.
        latency, float32_latency: median seconds for one image, one thread, on this machine.
        reduced_weights: share of the weights that are in the lower precision, 0 to 1; None if the format does not say.
    """

    bytes: int
    float32_bytes: int
    latency: float
    float32_latency: float
    reduced_weights: float | None = None

    @property
    def size(self) -> float:
        """Size as a share of float32's."""
        return self.bytes / self.float32_bytes

    @property
    def slowdown(self) -> float:
        """Latency as a multiple of float32's."""
        return self.latency / self.float32_latency

    @property
    def gains(self) -> bool:
        """Whether it is worth having: clearly smaller. Its speed here says nothing about the speed on the target device."""
        return self.size <= _SMALLER

    def describe(self) -> str:
        """Return size and speed in words."""
        return f"{_share(self.size)}; {self.speed} here"

    def advise(self, report: ParityReport) -> str:
        """Return size, speed, accuracy and advice, in one sentence."""
        points = 100 * (report.accuracy - report.reference_accuracy)
        accuracy = "accuracy unchanged" if abs(points) < 0.005 else f"accuracy {points:+.2f} points"
        smaller, faster, slower = self.size <= _SMALLER, self.slowdown <= 1 / _FASTER, self.slowdown >= _FASTER
        if smaller and slower:
            advice = "ship it if flash is scarce, float32 if speed counts"
        elif smaller and faster:
            advice = "ship it"
        elif smaller:
            advice = "ship it if flash or download size counts"
        elif faster:
            advice = "it was published by force; ship it only if it is also faster on the device"
        else:
            advice = "ship float32"
        return f"{self.describe()}; {accuracy}: {advice}"

    def why_not(self) -> str:
        """Return why there is no gain."""
        little = ""
        if self.reduced_weights is not None and self.reduced_weights < 0.5:
            little = f", because only {percent(self.reduced_weights, 0)} of its weights are in layers that this can reduce"
        return f"it saves no space: {self.describe()}{little}"

    @property
    def speed(self) -> str:
        """Speed in words, such as ``1.4× faster``."""
        if self.slowdown >= _FASTER:
            return f"{self.slowdown:.1f}× slower"
        if self.slowdown <= 1 / _FASTER:
            return f"{1 / self.slowdown:.1f}× faster"
        return "as fast"

    def to_json(self) -> dict[str, float | int | None]:
        """Return the figures as JSON values."""
        return {
            "bytes": self.bytes,
            "float32_bytes": self.float32_bytes,
            "size_ratio": self.size,
            "latency_seconds": self.latency,
            "float32_latency_seconds": self.float32_latency,
            "latency_ratio": self.slowdown,
            "reduced_weights": self.reduced_weights,
        }


def judge(reduced: File, float32: File, image: NDArray[np.uint8]) -> Verdict:
    """Compare two artifacts on one image, uint8 1×1×28×28. The latencies are measured now, on this machine."""
    times = {name: float(np.median(values)) for name, values in latencies({"reduced": reduced.run, "float32": float32.run}, image).items()}
    return Verdict(reduced.tree.bytes, float32.tree.bytes, times["reduced"], times["float32"], reduced.details.get("reduced_weights"))


def _share(size: float) -> str:
    for most, words in ((0.27, "a quarter of the size"), (0.36, "a third of the size"), (0.55, "half the size")):
        if most - 0.06 <= size <= most:
            return words
    return f"{100 * size:.0f} % of the size"
