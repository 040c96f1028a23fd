"""Who wrote MNIST's images, from QMNIST's label files (Yadav and Bottou, "Cold Case: The Lost MNIST Digits", 2019).

The first rows of ``qmnist-train-labels-idx2-int`` and ``qmnist-test-labels-idx2-int`` are MNIST's images in MNIST's order.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mnist_edge.common.errors import DataError
from mnist_edge.dataset import idx
from mnist_edge.dataset.base import Dataset
from mnist_edge.dataset.sources import MNIST, find_mnist

#: QMNIST's label file of each split, plain or as ``.gz``.
FILES = {"train": "qmnist-train-labels-idx2-int", "test": "qmnist-test-labels-idx2-int"}

#: Of NIST's series, the one that pupils wrote; the others are of employees of the census bureau.
PUPILS = 4


@dataclass(frozen=True)
class Writers:
    """Who wrote each image of a data set.

    Attributes:
        series: int32 N, NIST's series: 0 to 3 employees, 4 pupils.
        writer: int32 N, NIST's number of the writer; no two series share one.
    """

    series: NDArray[np.int32]
    writer: NDArray[np.int32]

    def group(self, writer: int) -> str:
        """Return ``pupil`` or ``employee``."""
        return "pupil" if self.series[self.writer == writer][0] == PUPILS else "employee"


def writers_of(data: Dataset, file: Path | None = None, data_dir: Path | None = None) -> Writers | None:
    """Return who wrote the images, as `file` says; without one, as a label file of QMNIST beside MNIST's files says; else None.

    Raises DataError for a file that does not belong to the data.
    """
    if file is None and data.name == MNIST and (raw_dir := find_mnist(data_dir).raw_dir) is not None:
        file = find_writers(raw_dir, data.split)
    return None if file is None else read_writers(file, data)


def find_writers(folder: Path, split: str) -> Path | None:
    """Return QMNIST's label file of a split in a folder, plain or gzipped; None if it is not there."""
    return idx.locate(folder, FILES[split])


def read_writers(path: Path, data: Dataset) -> Writers:
    """Return who wrote the images of `data`, whose rows are the first of QMNIST's label file `path`.

    Raises DataError for a file that cannot be read, is no such file, or has other labels than the data.
    """
    table = idx.read_table(path)
    if table.shape[1] < 3:
        raise DataError(f"{path}: {table.shape[1]} columns; QMNIST's extended labels have eight (the files named …-idx2-int)")
    if len(table) < len(data):
        raise DataError(f"{path}: {len(table):,} rows for {len(data):,} images; name the file that belongs to these images")
    rows = table[: len(data)]
    if (other := np.flatnonzero(rows[:, 0] != data.labels)).size:
        raise DataError(
            f"{path}: the labels are not those of {data.name} ({data.split}); the first that differs is at position {other[0]}: "
            "name the file that belongs to these images"
        )
    return Writers(rows[:, 1], rows[:, 2])
