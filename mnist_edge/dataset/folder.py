"""Folders of pictures, a folder a digit: ``train/0…9`` and ``test/0…9``, or just ``0…9``."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from mnist_edge import image
from mnist_edge.dataset.base import CLASSES, Dataset
from mnist_edge.errors import DataError, PictureError


def load_folder(folder: Path, split: str) -> Dataset:
    """Read one split of a folder of pictures, prepared as for `predict`.

    ``FOLDER/train`` and ``FOLDER/test`` are the splits; a folder with ``0…9`` right inside serves as a test set alone.
    Raises DataError for a missing split, an empty digit or a file that is no picture.
    """
    if not folder.is_dir():
        state = "not a folder" if folder.exists() else "no such folder"
        raise DataError(f"{folder}: {state}{_meant(folder)}; --data takes mnist, drawn or a folder with train/0…9 and test/0…9")
    root = folder / split
    if not root.is_dir():
        if split == "test" and any((folder / digit).is_dir() for digit in CLASSES):
            root = folder
        else:
            raise DataError(f"{folder}: no folder {split}/ in it; a {split} split is {split}/0 to {split}/9 with pictures in each")
    paths, labels = [], []
    for digit in CLASSES:
        found = sorted(_pictures(root / digit))
        if not found:
            raise DataError(f"{root / digit}: no pictures; every digit from 0 to 9 needs at least one ({', '.join(image.SUFFIXES)})")
        paths += found
        labels += [int(digit)] * len(found)
    pixels = np.empty((len(paths), 1, 28, 28), np.uint8)
    for i, path in enumerate(paths):
        try:
            pixels[i, 0] = image.read(path)
        except PictureError as error:
            raise DataError(str(error)) from error
    return Dataset(f"folder:{folder.resolve().name}", split, pixels, np.array(labels, np.uint8), tuple(paths))


def write_folder(dataset: Dataset, folder: Path, progress: Callable[[int], object] = lambda done: None) -> None:
    """Write a data set out as ``FOLDER/SPLIT/DIGIT/INDEX.png``; the index is the image's place in the data set.

    Raises DataError if ``FOLDER/SPLIT`` holds anything already: nothing of the user's is overwritten.
    """
    root = folder / dataset.split
    if root.exists() and any(root.iterdir()):
        raise DataError(f"{root}: not empty; name a new folder, or delete this one first")
    for digit in CLASSES:
        (root / digit).mkdir(parents=True, exist_ok=True)
    for i, (pixels, label) in enumerate(zip(dataset.images, dataset.labels, strict=True)):
        Image.fromarray(pixels[0]).save(root / str(label) / f"{i:05d}.png")
        progress(i + 1)


def _meant(folder: Path) -> str:
    import difflib

    nearest = difflib.get_close_matches(str(folder), ("mnist", "drawn"), n=1)
    return f" (did you mean {nearest[0]!r}?)" if nearest else ""


def _pictures(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from (p for p in folder.iterdir() if p.suffix.lower() in image.SUFFIXES and p.is_file())
