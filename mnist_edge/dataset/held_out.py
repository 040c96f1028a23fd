"""Which training images are held out: those of some writers where the writers are known, else every twelfth.

People write a digit the same way each time. So a network that has seen a writer reads that writer's other digits better than a stranger's, and the
writers of MNIST's test set are all strangers. That is why whole writers are held out of MNIST: 45 of its 539 (`writers`).
"""

from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mnist_edge.common.errors import DataError
from mnist_edge.dataset.base import Dataset

#: The rules, as manifests and ``train --held-out`` name them. A manifest without one is of a model whose rule was ``every-twelfth``.
Rule = Literal["writers", "every-twelfth"]
WRITERS: Rule = "writers"
EVERY_TWELFTH: Rule = "every-twelfth"

VALIDATION_EVERY = 12

#: `Dataset.sha256` of MNIST's 60,000 training images in their order.
MNIST_SHA256 = "edc0d1098aa497be14ace79ddd5171e5a3dcf9c4d196c015389203eb3ba1f59b"

#: The rows of MNIST's training set that are held out, a line a writer; the file says where they come from.
FILE = Path(__file__).with_name("held_out_writers.txt")


def rule_for(data: Dataset) -> Rule:
    """Return the rule for a new training on this data: ``writers`` for MNIST's training set, whole and in its order."""
    return WRITERS if data.name == "mnist" and len(data) == 60_000 and data.sha256 == MNIST_SHA256 else EVERY_TWELFTH


def split_validation(data: Dataset, rule: Rule) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the indices to train on and those held out: by one rule always the same, at every seed.

    A folder of pictures is sorted by digit, so that by ``every-twelfth`` each digit with twelve pictures or more has one held out at least.
    Raises DataError for ``writers`` if the data is not MNIST, and for a rule of a newer version.
    """
    if rule not in (WRITERS, EVERY_TWELFTH):
        raise DataError(f"unknown rule {rule!r} for the images that are held out; upgrade mnist-edge")
    if rule == WRITERS:
        if rule_for(data) != WRITERS:
            raise DataError(
                f"only the writers of MNIST's whole training set are known, not those of {data.name} ({data.split}, {len(data):,} images); "
                "use --held-out every-twelfth"
            )
        held_out = np.zeros(len(data), np.bool_)
        held_out[rows_of_writers()] = True
    else:
        held_out = np.arange(len(data)) % VALIDATION_EVERY == VALIDATION_EVERY - 1
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


@cache
def rows_of_writers() -> NDArray[np.intp]:
    """Return the rows of MNIST's training set that the held-out writers wrote, in ascending order."""
    lines = [line for line in FILE.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    return np.sort(np.concatenate([np.array(line.partition(":")[2].split(), np.intp) for line in lines]))
