"""MNIST's own file format, plain or gzipped, in torchvision's folder layout.

The format is described on the data set's page, http://yann.lecun.com/exdb/mnist/: a big-endian magic number (0x00000803
for images, 0x00000801 for labels), the sizes as big-endian 32-bit integers, then unsigned bytes.
"""

import gzip
import os
import stat
import struct
import zlib
from collections.abc import Generator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from mnist_edge.common.errors import DataError
from mnist_edge.dataset.base import Dataset

FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}

_UNSIGNED_BYTE, _INTEGER = 0x08, 0x0C


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """Read an idx file of unsigned bytes with this number of `dimensions`; ``.gz`` is unpacked.

    Raises DataError, naming the file, for a wrong magic number, a file too short or too long, or damaged gzip data.
    """
    array: NDArray[np.uint8] = _read(path, dimensions, _UNSIGNED_BYTE, np.dtype(np.uint8))
    return array


def read_table(path: Path) -> NDArray[np.int32]:
    """Read an idx file of 32-bit integers with rows and columns, as `read_idx` reads bytes."""
    return _read(path, 2, _INTEGER, np.dtype(">i4")).astype(np.int32)


def _read(path: Path, dimensions: int, code: int, kind: np.dtype[Any]) -> NDArray[Any]:
    try:
        if path.suffix == ".gz":
            with gzip.open(path, "rb") as file:
                data = file.read()
        else:
            data = path.read_bytes()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: damaged gzip data ({error}); delete the file and fetch it again") from error
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error
    header = 4 + 4 * dimensions
    if len(data) < header:
        raise DataError(f"{path}: {len(data)} bytes are too few for an idx header of {header}; the file is truncated")
    magic = int.from_bytes(data[:4], "big")
    expected = code << 8 | dimensions
    if magic != expected:
        raise DataError(
            f"{path}: magic number 0x{magic:08x} where 0x{expected:08x} was expected; not the kind of idx file that its name says"
        )
    shape = struct.unpack(f">{dimensions}I", data[4:header])
    size = int(np.prod([int(n) for n in shape], dtype=object)) * kind.itemsize
    if len(data) - header != size:
        state = "truncated" if len(data) - header < size else "too long"
        raise DataError(f"{path}: {state}: {len(data) - header} bytes of data where the header says {size}")
    return np.frombuffer(data, kind, offset=header).reshape(shape)


def is_idx(path: str | Path) -> bool:
    """Say whether a regular file, plain or gzipped, begins as an idx file of images or of labels does."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116 - a pipe would wait, and lose its first bytes
            return False
        with _open(path) as file:
            return file.read(4) in (_magic(1), _magic(3))
    except (OSError, EOFError, zlib.error):
        return False


def stream_images(path: str | Path, batch: int, start: int = 0, stop: int | None = None) -> Generator[NDArray[np.uint8], None, None]:
    """Yield the images of an idx file of any length, plain or gzipped, as uint8 n×1×28×28, `batch` at a time and then the rest.

    `start` and `stop` choose a part of them. What is wrong with the file behind its images is noticed only without `stop`.

    Raises DataError, naming the file, if there are none, they are not 28×28, or the file is damaged, too short or too long:
    then after what was whole.
    """
    try:
        with _open(path) as file:
            header = file.read(16)
            if header[:4] == _magic(1):
                raise DataError(f"{path}: an idx file of labels; name the file of images")
            if len(header) < 16:
                raise DataError(f"{path}: {len(header)} bytes are too few for an idx header of 16; the file is truncated")
            _, count, height, width = struct.unpack(">4I", header)
            if (height, width) != (28, 28):
                raise DataError(f"{path}: images of {height}×{width} pixels; an idx file is read as it is, and the network takes 28×28")
            if not count:
                raise DataError(f"{path}: an idx file without images")
            file.seek(16 + 784 * start)
            end = count if stop is None else min(stop, count)
            for first in range(start, end, batch):
                wanted = min(batch, end - first)
                data = file.read(wanted * 784)
                whole = len(data) // 784
                if whole:
                    yield np.frombuffer(data, np.uint8, whole * 784).reshape(whole, 1, 28, 28)
                if whole < wanted:
                    raise DataError(f"{path}: truncated: it ends in image {first + whole + 1:,} of {count:,}")
            if stop is None and file.read(1):
                raise DataError(f"{path}: too long: more data follows the {count:,} images that its header names")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: damaged gzip data ({error}); delete the file and fetch it again") from error
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error


def _magic(dimensions: int) -> bytes:
    return bytes((0, 0, _UNSIGNED_BYTE, dimensions))


def _open(path: str | Path) -> BinaryIO:
    return gzip.open(path, "rb") if str(path).endswith(".gz") else open(path, "rb")  # type: ignore[return-value] # noqa: PTH123


def find_raw_dir(data_dir: Path) -> Path | None:
    """Return the folder under `data_dir` that holds MNIST's files, or None.

    torchvision's layout is ``MNIST/raw``; the files may also lie in ``raw`` or in `data_dir` itself.
    """
    for folder in (data_dir / "MNIST" / "raw", data_dir / "raw", data_dir):
        if any(locate(folder, name) for names in FILES.values() for name in names):
            return folder
    return None


def is_complete(folder: Path) -> bool:
    """Say whether all four files are in a folder."""
    return all(locate(folder, name) for names in FILES.values() for name in names)


def load_mnist(raw_dir: Path, split: str) -> Dataset:
    """Read one split of MNIST. Raises DataError, naming the file, if one is missing or malformed."""
    images_path, labels_path = (_require(raw_dir, name) for name in FILES[split])
    images = read_idx(images_path, 3)
    labels = read_idx(labels_path, 1)
    if images.shape[1:] != (28, 28):
        raise DataError(f"{images_path}: images of {images.shape[1]}×{images.shape[2]} pixels; 28×28 was expected")
    if len(images) != len(labels):
        raise DataError(f"{images_path} has {len(images)} images but {labels_path.name} has {len(labels)} labels")
    check_labels(labels, labels_path)
    return Dataset("mnist", split, images[:, None], labels)


def check_labels(labels: NDArray[np.uint8], where: Path) -> None:
    """Raise DataError unless every label is 0 to 9 and every digit occurs."""
    if not len(labels):
        raise DataError(f"{where}: no labels")
    if labels.max() > 9:
        position = int(np.argmax(labels > 9))
        raise DataError(f"{where}: label {labels[position]} at position {position}; labels are 0 to 9")
    empty = [str(digit) for digit in range(10) if digit not in labels]
    if empty:
        raise DataError(f"{where}: no example of {', '.join(empty)}; every digit needs at least one")


def locate(folder: Path, name: str) -> Path | None:
    """Return the path of one of MNIST's files in a folder, plain or gzipped; None if it is not there."""
    for candidate in (folder / name, folder / f"{name}.gz"):
        if candidate.is_file():
            return candidate
    return None


def _require(folder: Path, name: str) -> Path:
    path = locate(folder, name)
    if path is None:
        raise DataError(
            f"{folder / name}: not found, and neither is its .gz; MNIST is four files; to fetch them, run: mnist-edge data download"
        )
    return path
