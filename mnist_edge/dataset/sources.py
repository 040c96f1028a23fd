"""Resolves ``--data``, and finds MNIST."""

import os
from dataclasses import dataclass
from pathlib import Path

from mnist_edge.common.errors import DataError
from mnist_edge.common.files import cache_dir
from mnist_edge.dataset import drawn, idx
from mnist_edge.dataset.base import Dataset
from mnist_edge.dataset.folder import load_folder

MNIST, DRAWN = "mnist", "drawn"

#: Printed if MNIST is missing: how to get it, and what can replace it if the user did not ask for MNIST itself.
DATA_DIR = "--data-dir FOLDER (torchvision's layout)"
GET_MNIST = f"you can: mnist-edge data download · {DATA_DIR}"
NO_HOME = "this user has no home folder to look in; MNIST_EDGE_DATA_DIR or --data-dir names another"
OTHER_DATA = "--data drawn (needs no file) · --data FOLDER of pictures"
WAYS_ON = f"{GET_MNIST} · {OTHER_DATA}"


@dataclass(frozen=True)
class Found:
    """Where MNIST was looked for, in order, and the folder with at least one of its files, or None.

    `looked_in` is empty for a user without a home folder who names no other. `unreadable` says why a folder could not be read.
    """

    looked_in: tuple[Path, ...]
    raw_dir: Path | None
    unreadable: str = ""

    @property
    def complete(self) -> bool:
        """Whether all of its files are there."""
        return self.raw_dir is not None and idx.is_complete(self.raw_dir)

    def missing(self) -> str:
        """Return the words for where it is not complete."""
        state = "not" if self.raw_dir is None else "incomplete"
        return f"MNIST is {state} on this machine ({self.where()})"

    def where(self) -> str:
        """Return the words for where it was looked for."""
        if not self.looked_in:
            return NO_HOME
        return f"looked in {', '.join(map(str, self.looked_in))}{self.unreadable and f': {self.unreadable}'}"


def find_mnist(data_dir: Path | None = None) -> Found:
    """Look for MNIST in `data_dir`, else in ``MNIST_EDGE_DATA_DIR``, else in the user's cache folder.

    A folder that the user named is the only one looked in: what lies elsewhere may be another MNIST.
    """
    named = data_dir or (Path(os.environ["MNIST_EDGE_DATA_DIR"]) if os.environ.get("MNIST_EDGE_DATA_DIR") else None)
    folder = named or cache_dir()
    if folder is None:
        return Found((), None)
    try:
        return Found((folder,), idx.find_raw_dir(folder))
    except OSError as error:  # another user's, or a name too long
        return Found((folder,), None, error.strerror or str(error))


def load(data: str, split: str, data_dir: Path | None = None, count: int | None = None) -> Dataset:
    """Load one split (``train`` or ``test``) of ``mnist``, ``drawn`` or a folder of pictures.

    `count` takes only this many: the first of MNIST, a drawn set of that size, or an equal share of each digit of a folder, as far as it
    allows. Raises DataError if it is not on this machine or malformed. Nothing is downloaded here.
    """
    if data == DRAWN:
        return drawn.draw(split, count)
    if data != MNIST:
        return load_folder(Path(data), split, count)
    found = find_mnist(data_dir)
    if found.raw_dir is None:
        raise DataError(f"{found.missing()}; {WAYS_ON}")
    return idx.load_mnist(found.raw_dir, split).first(count)


def load_for_proof(data: str | None, data_dir: Path | None = None) -> Dataset:
    """Load the test set that an export is proven on: `data` if it is given, else MNIST where it is on the machine, else drawn digits."""
    if data is None:
        data = DRAWN if find_mnist(data_dir).raw_dir is None else MNIST
    return load(data, "test", data_dir)


def describe(dataset: Dataset) -> dict[str, str | int]:
    """Return what a manifest says of a data set: name, split, number of images, hash."""
    return {"name": dataset.name, "split": dataset.split, "images": len(dataset), "sha256": dataset.sha256}
