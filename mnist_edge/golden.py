"""Golden inputs: a few drawn digits with PyTorch's logits, which travel in a model's folder, for a check that needs no data set."""

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from mnist_edge import parity
from mnist_edge.errors import ModelError
from mnist_edge.parity import Budget, ParityReport, Run

#: The file's name.
GOLDEN = "golden.npz"

#: Of each digit there are so many, chosen from so many drawn ones.
_EACH, _DRAWN = 4, 40

#: Neither the training's nor the test's stream of drawn digits.
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
                return cls(arrays["pixels"], arrays["logits"])
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise ModelError(f"{path}: not readable as golden inputs: {error}") from error


def choose(run: Run) -> Golden:
    """Return four drawn digits of each kind with the answers of `run`, PyTorch: those that it is surest of, 40 in all.

    Sure ones, because their answer may not change whatever the precision; what damage or another processor does to a file
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


def compare(run: Run, golden: Golden, equal_answers: int | None = None, max_difference: float = 0.0) -> ParityReport:
    """Run the inputs in small batches and in one, and compare with PyTorch's answers.

    `equal_answers` and `max_difference` are what the artifact was measured to do where it was made: None, and 0, for float32.
    Twice that difference is allowed, for another processor rounds int8 elsewhere, and never less than float32's budget.
    """
    allowed = max(2 * max_difference, parity.BUDGETS["float32"].logit_difference or 0.0)
    share = 1.0 if equal_answers is None else equal_answers / len(golden.pixels)
    answers = golden.logits.argmax(axis=1).astype(np.uint8)
    return parity.check(run, golden.logits, golden.pixels, answers, Budget(share, allowed))[0]


def measure(run: Run, golden: Golden) -> dict[str, float | int]:
    """Return what `compare` is to hold an artifact to."""
    report = parity.check(run, golden.logits, golden.pixels, golden.logits.argmax(axis=1).astype(np.uint8), Budget(0.0, None))[0]
    return {"equal_answers": report.equal_answers, "max_difference": report.max_difference}
