"""How often a model is right, and where it is wrong."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.common.logits import Run, check
from mnist_edge.dataset import Dataset, Refused
from mnist_edge.dataset.writers import Writers
from mnist_edge.proof import parity
from mnist_edge.proof.confidence import softmax


@dataclass(frozen=True)
class Evaluation:
    """A model's answers on a data set.

    Attributes:
        confusion: int64 10×10; row: the label, column: the answer.
        wrong: indices of the images answered wrongly.
        answers: uint8 N.
        confidences: float64 N, the probability of each answer.
        refused: pictures of the data set that could not be read as a digit; they count as wrong.
    """

    confusion: NDArray[np.int64]
    wrong: NDArray[np.intp]
    answers: NDArray[np.uint8]
    confidences: NDArray[np.float64]
    refused: tuple[Refused, ...] = ()

    @property
    def images(self) -> int:
        """Number of images, refused ones too."""
        return len(self.answers) + len(self.refused)

    @property
    def correct(self) -> int:
        """Number of images answered as labelled."""
        return len(self.answers) - len(self.wrong)

    @property
    def accuracy(self) -> float:
        """Share of images answered as labelled, 0 to 1."""
        return self.correct / self.images if self.images else 0.0

    def by_class(self) -> list[dict[str, Any]]:
        """Return, for each digit, how many images there are, how many were right, and the share."""
        totals = self.confusion.sum(axis=1) + np.bincount([one.label for one in self.refused], minlength=10)
        return [
            {"digit": d, "images": int(n), "correct": int(r), "accuracy": int(r) / int(n) if n else None}
            for d, (n, r) in enumerate(zip(totals, self.confusion.diagonal(), strict=True))
        ]


@dataclass(frozen=True)
class Hand:
    """How a model reads one writer.

    Attributes:
        writer: NIST's number.
        group: ``pupil`` or ``employee``.
        images: indices of the writer's images in the data set.
        wrong: those answered wrongly.
    """

    writer: int
    group: str
    images: tuple[int, ...]
    wrong: tuple[int, ...]

    @property
    def accuracy(self) -> float:
        """Share of the writer's images answered as labelled, 0 to 1."""
        return 1 - len(self.wrong) / len(self.images)


def by_writer(found: Evaluation, writers: Writers) -> list[Hand]:
    """Return how each writer was read, the worst first; of those read equally well, the one with more images."""
    wrong = np.zeros(len(writers.writer), np.bool_)
    wrong[found.wrong] = True
    hands = []
    for writer in np.unique(writers.writer).tolist():
        images = np.flatnonzero(writers.writer == writer)
        hands.append(Hand(writer, writers.group(writer), tuple(images.tolist()), tuple(images[wrong[images]].tolist())))
    return sorted(hands, key=lambda one: (one.accuracy, -len(one.images), one.writer))


def misread(hand: Hand, data: Dataset, found: Evaluation) -> str:
    """Return what of a writer was read as what, in words: ``4 as 9 (2×), 7 as 1``."""
    pairs = Counter((int(data.labels[i]), int(found.answers[i])) for i in hand.wrong)
    ordered = sorted(pairs.items(), key=lambda one: (-one[1], one[0]))
    return ", ".join(f"{label} as {digit}{f' ({times}×)' if times > 1 else ''}" for (label, digit), times in ordered)


def evaluate(run: Run, data: Dataset) -> Evaluation:
    """Run a data set through a function such as `Predictor.logits`. Raises ModelError if it gives no logits."""
    return evaluate_logits(parity.logits_of(run, data.images), data)


def evaluate_logits(logits: NDArray[np.float32], data: Dataset) -> Evaluation:
    """Compare logits, float32 N×10, with the labels of a data set. Raises ModelError for logits that are not that, or not finite."""
    probabilities = softmax(check(logits, len(data)))
    answers = probabilities.argmax(axis=1).astype(np.uint8)
    confusion = np.zeros((10, 10), np.int64)
    np.add.at(confusion, (data.labels, answers), 1)
    return Evaluation(confusion, np.flatnonzero(answers != data.labels), answers, probabilities.max(axis=1), data.refused)
