"""What a data set is, wherever it came from."""

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mnist_edge.errors import DataError

#: Every twelfth training image is held out for validation: 5,000 of MNIST's 60,000.
VALIDATION_EVERY = 12


@dataclass(frozen=True)
class Refused:
    """A labelled picture that could not be read as a digit, and why."""

    path: Path
    label: int
    reason: str


@dataclass(frozen=True)
class Dataset:
    """Labelled images.

    Attributes:
        name: ``mnist``, ``drawn``, or ``folder:NAME``.
        split: ``train`` or ``test``.
        images: uint8, N×1×28×28, ink bright on a dark ground.
        labels: uint8, N, each 0 to 9.
        paths: the file of each image, where each has its own.
        refused: pictures of a test set that could not be read; they are not among the images.
    """

    name: str
    split: str
    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    paths: tuple[Path, ...] = field(default=(), repr=False)
    refused: tuple[Refused, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        if len(self.images) != len(self.labels):
            raise DataError(f"{self.name} ({self.split}): {len(self.images)} images but {len(self.labels)} labels")

    def __len__(self) -> int:
        return len(self.images)

    @cached_property
    def sha256(self) -> str:
        """SHA-256 over the images' bytes, then the labels': the same data gives the same hash, however it was stored."""
        digest = hashlib.sha256(np.ascontiguousarray(self.images).data)
        digest.update(np.ascontiguousarray(self.labels).data)
        return digest.hexdigest()

    def first(self, count: int | None) -> "Dataset":
        """Return the first `count` images, or all of them for None. Raises DataError if there are not so many."""
        if count is None:
            return self
        if not 0 < count <= len(self):
            raise DataError(f"{self.name} ({self.split}) has {len(self)} images; {count} were asked for")
        return Dataset(self.name, self.split, self.images[:count], self.labels[:count], self.paths[:count])


def split_validation(dataset: Dataset) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the indices to train on and those held out: always the same twelfth, at every seed and size."""
    held_out = np.arange(len(dataset)) % VALIDATION_EVERY == VALIDATION_EVERY - 1
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)
