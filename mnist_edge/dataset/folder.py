"""Folders of pictures, one folder per digit: ``train/0…9`` and ``test/0…9``, or just ``0…9``."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from mnist_edge import image
from mnist_edge.common.contract import CLASSES
from mnist_edge.common.errors import DataError, PictureError, printable
from mnist_edge.common.text import data_name
from mnist_edge.dataset.base import Dataset, Refused


def load_folder(folder: Path, split: str, count: int | None = None) -> Dataset:
    """Read one split of a folder of pictures, prepared as for `predict`; the images are sorted by digit, then by file name.

    ``FOLDER/train`` and ``FOLDER/test`` are the splits; a folder with ``0…9`` right inside serves as a test set alone. Pictures of a
    test set that cannot be read are listed as refused.

    `count` takes this many pictures, as evenly over the digits as possible. They are always the same ones, the first by
    name. The others are not read.

    Raises DataError for a missing split, no pictures, too few for `count`, a `count` too small for every digit to occur, and, in a
    training set, a digit without pictures or a picture that cannot be read.
    """
    if not folder.is_dir():
        state = "not a folder" if folder.exists() else "no such folder"
        raise DataError(f"{folder}: {state}{_meant(folder)}; --data takes mnist, drawn or a folder with train/0…9 and test/0…9")
    root = folder / split
    if not root.is_dir():
        if split == "test" and any((folder / digit).is_dir() for digit in CLASSES):
            root = folder
        else:
            here = " and no folders 0 to 9" if split == "test" else ""
            raise DataError(f"{folder}: no folder {split}/ in it{here}; a {split} split is {split}/0 to {split}/9 with pictures in each")
    found = {digit: sorted(_pictures(root / digit)) for digit in CLASSES}
    empty = [digit for digit in CLASSES if not found[digit]]
    if len(empty) == len(CLASSES) or (split == "train" and empty):
        raise DataError(
            f"{root / empty[0]}: no pictures; a training set needs all ten digits, a test set one ({', '.join(image.SUFFIXES)})"
        )
    name = f"folder:{folder.resolve().name}"
    if count is not None:
        found = _spread(found, count, f"{data_name(name)} ({split})")
    pixels, labels, paths, refused = [], [], [], []
    for digit, pictures in found.items():
        for path in pictures:
            try:
                pixels.append(image.read(path))
            except PictureError as error:
                if split == "train":
                    raise DataError(f"{error}; remove it from the training set") from error
                refused.append(Refused(path, int(digit), str(error).removeprefix(f"{printable(path)}: ")))
                continue
            labels.append(int(digit))
            paths.append(path)
    if not pixels:
        raise DataError(
            f"{root}: none of its {len(refused)} pictures can be read; the first is {refused[0].path.name}: {refused[0].reason}"
        )
    images = np.stack(pixels)[:, None]
    return Dataset(name, split, images, np.array(labels, np.uint8), tuple(paths), tuple(refused))


def _spread(found: dict[str, list[Path]], count: int, what: str) -> dict[str, list[Path]]:
    """Take `count` of the pictures: in each round, one of each digit that has any left."""
    there, digits = sum(map(len, found.values())), sum(map(bool, found.values()))
    if count > there:
        raise DataError(f"{what} has {there} images; {count} were asked for")
    if count < digits:
        raise DataError(f"{what} has images of {digits} digits; {count} are too few to take one of each")
    shares = dict.fromkeys(found, 0)
    while (left := count - sum(shares.values())) > 0:
        unfinished = [digit for digit in found if shares[digit] < len(found[digit])]
        for digit in unfinished[:left]:
            shares[digit] += 1
    return {digit: pictures[: shares[digit]] for digit, pictures in found.items()}


def write_folder(dataset: Dataset, folder: Path, progress: Callable[[int], object] = lambda done: None) -> None:
    """Write a data set out as ``FOLDER/SPLIT/DIGIT/INDEX.png``; the index is the image's place in the data set.

    Raises DataError if FOLDER is a file, or ``FOLDER/SPLIT`` holds anything already: nothing of the user's is overwritten.
    """
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder} is a file; name a folder")
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
        yield from (p for p in folder.iterdir() if p.suffix.lower() in image.SUFFIXES and not p.name.startswith(".") and p.is_file())
