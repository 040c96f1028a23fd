"""How often a model is right, and where it is wrong."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge import parity
from mnist_edge.dataset import Dataset
from mnist_edge.predictor import Predictor


@dataclass(frozen=True)
class Evaluation:
    """A model's answers on a data set.

    Attributes:
        confusion: int64 10×10; row: the label, column: the answer.
        wrong: indices of the images answered wrongly.
        answers: uint8 N.
    """

    confusion: NDArray[np.int64]
    wrong: NDArray[np.intp]
    answers: NDArray[np.uint8]

    @property
    def images(self) -> int:
        """Number of images."""
        return len(self.answers)

    @property
    def correct(self) -> int:
        """Number of images answered as labelled."""
        return self.images - len(self.wrong)

    @property
    def accuracy(self) -> float:
        """Share of images answered as labelled, 0 to 1."""
        return self.correct / self.images

    def by_class(self) -> list[dict[str, Any]]:
        """Return, for each digit, how many images there are, how many were right, and the share."""
        totals, right = self.confusion.sum(axis=1), self.confusion.diagonal()
        return [
            {"digit": d, "images": int(n), "correct": int(r), "accuracy": int(r) / int(n) if n else None}
            for d, (n, r) in enumerate(zip(totals, right, strict=True))
        ]


def evaluate(predictor: Predictor, data: Dataset) -> Evaluation:
    """Run a data set through a predictor. Raises ModelError if the model fails."""
    answers = parity.logits_of(predictor.logits, data.images).argmax(axis=1).astype(np.uint8)
    confusion = np.zeros((10, 10), np.int64)
    np.add.at(confusion, (data.labels, answers), 1)
    return Evaluation(confusion, np.flatnonzero(answers != data.labels), answers)
