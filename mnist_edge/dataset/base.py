"""What a data set is, wherever it came from."""

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mnist_edge.common.errors import DataError


@dataclass(frozen=True)
class Refused:
    """A labelled picture that could not be read as a digit, and why."""

    path: Path
    label: int
    reason: str


@dataclass(frozen=True)
class Dataset:
    """Labelled images. Raises DataError for arrays that are not as described here.

    Attributes:
        name: ``mnist``, ``drawn``, or ``folder:NAME``.
        split: ``train`` or ``test``.
        images: uint8, N×1×28×28, ink bright on a dark ground; N is 1 or more.
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
        what = f"{self.name} ({self.split})"
        if not _is_bytes(self.images, 4) or self.images.shape[1:] != (1, 28, 28):
            raise DataError(f"{what}: images are uint8 N×1×28×28; these are {_described(self.images)}")
        if not _is_bytes(self.labels, 1):
            raise DataError(f"{what}: labels are uint8 N; these are {_described(self.labels)}")
        if len(self.images) != len(self.labels):
            raise DataError(f"{what}: {len(self.images)} images but {len(self.labels)} labels")
        if self.paths and len(self.paths) != len(self.images):
            raise DataError(f"{what}: {len(self.images)} images but {len(self.paths)} paths")
        if not len(self.images):
            raise DataError(f"{what}: no images")
        if self.labels.max() > 9:
            position = int(np.argmax(self.labels > 9))
            raise DataError(f"{what}: label {self.labels[position]} at position {position}; labels are 0 to 9")

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


def _is_bytes(array: object, dimensions: int) -> bool:
    return isinstance(array, np.ndarray) and array.dtype == np.uint8 and array.ndim == dimensions


def _described(array: object) -> str:
    return f"{array.dtype} {'×'.join(map(str, array.shape))}" if isinstance(array, np.ndarray) else type(array).__name__
