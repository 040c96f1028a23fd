"""Golden inputs: a few drawn digits with PyTorch's logits, which travel in a model's folder, for a check that needs no data set."""

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from mnist_edge.common.errors import ModelError
from mnist_edge.common.logits import Run, check
from mnist_edge.proof import parity
from mnist_edge.proof.parity import FLOAT32_TOLERANCE, Budget, ParityReport

#: How many inputs there are of each digit, and how many drawn digits they are chosen from.
_EACH, _DRAWN = 4, 40

#: Differs from the seeds of the drawn training and test digits.
_SEED = 3


@dataclass(frozen=True)
class Golden:
    """A few inputs and PyTorch's answers.

    Attributes:
        pixels: uint8 N×1×28×28.
        logits: float32 N×10.
    """

    pixels: NDArray[np.uint8]
    logits: NDArray[np.float32]

    def to_bytes(self) -> bytes:
        """Return a ``.npz`` file; the same arrays give the same bytes."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, pixels=self.pixels, logits=self.logits)
        return buffer.getvalue()

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `to_bytes` gave. Raises ModelError."""
        try:
            with np.load(path, allow_pickle=False) as arrays:
                pixels, logits = arrays["pixels"], arrays["logits"]
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise ModelError(f"{path}: not readable as golden inputs: {error}") from error
        if pixels.dtype != np.uint8 or pixels.shape[1:] != (1, 28, 28) or not len(pixels):
            raise ModelError(f"{path}: golden inputs are uint8 N×1×28×28, and these are {pixels.dtype} {pixels.shape}")
        return cls(pixels, check(logits, len(pixels), str(path)))


def choose(run: Run) -> Golden:
    """Return four drawn digits of each kind with the answers of `run`, PyTorch: the ones with the most certain answers, 40 in all.

    Certain ones are chosen because their answer must not change in any precision. The effect of damage or of another processor
    shows in the logits of any input.
    """
    from mnist_edge.dataset import drawn

    candidates = drawn.draw("test", 10 * _DRAWN, _SEED)
    logits = parity.logits_of(run, candidates.images)
    top = np.sort(logits, axis=1)
    margin = np.where(logits.argmax(axis=1) == candidates.labels, top[:, -1] - top[:, -2], -1.0)
    chosen = [np.flatnonzero(candidates.labels == digit) for digit in range(10)]
    indices = np.sort(np.concatenate([of[np.argsort(-margin[of], kind="stable")[:_EACH]] for of in chosen]))
    return Golden(candidates.images[indices], logits[indices])


def compare(run: Run, golden: Golden, allowed: float | None) -> ParityReport:
    """Run the inputs in small batches and in one, and compare with PyTorch's answers: all must be equal.

    `allowed` is the largest difference of a logit, None for any: see `tolerance`.
    """
    answers = golden.logits.argmax(axis=1).astype(np.uint8)
    return parity.check(run, golden.logits, golden.pixels, answers, Budget(1.0, allowed))[0]


def tolerance(precision: str, max_difference: float) -> float:
    """Return how far an artifact's logits may be from PyTorch's, given how far they were on the machine that made it.

    For float32 that is its budget. For a lower precision it is twice the distance, because another processor rounds int8 differently.
    """
    return FLOAT32_TOLERANCE if precision == "float32" else 2 * max_difference
