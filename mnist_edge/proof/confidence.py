"""How sure a model is of an answer, and above which confidence it is reliable."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: At or above the threshold, this share of the answers to held-out images is right.
RELIABLE = 0.999


def softmax(logits: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Return the probabilities, float64 N×10, of logits, N×10."""
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    probabilities: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return probabilities


class Threshold(NamedTuple):
    """The confidence above which a model's answers are reliable.

    Attributes:
        confidence: the lowest one, 0 to 1.
        reliable: at least this share of the answers from there on is right: `RELIABLE`, or less where `confidence` is 1.0 and even
            answers of full confidence are wrong too often.
        answered: the share of the held-out images that reach it.
    """

    confidence: float
    reliable: float
    answered: float

    def to_json(self) -> dict[str, Any]:
        """Return the threshold as JSON values."""
        return {"threshold": self.confidence, "reliable": self.reliable, "answered": self.answered}


def find_threshold(logits: NDArray[np.float32], labels: NDArray[np.uint8]) -> Threshold:
    """Return the lowest confidence from which on the answers are right in `RELIABLE` of the cases; 1.0 if none is.

    `logits`, float32 N×10, and `labels` are of held-out images: neither trained on nor tested on. After Geifman and El-Yaniv,
    "Selective Classification for Deep Neural Networks", 2017: of all thresholds that keep the risk, the one that answers most.
    """
    probabilities = softmax(logits)
    confidences = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    levels, level = np.unique(confidences, return_inverse=True)  # ascending; images of the same confidence stay together
    images, correct = (np.bincount(level, weights)[::-1].cumsum()[::-1] for weights in (None, right))  # at or above each level
    sound = np.flatnonzero(correct >= RELIABLE * images)
    if len(sound):
        lowest = int(sound[0])
        below = float(levels[lowest - 1]) if lowest else 0.0
        return Threshold(_shortest(below, float(levels[lowest])), RELIABLE, int(images[lowest]) / len(labels))
    if levels[-1] < 1:
        return Threshold(1.0, RELIABLE, 0.0)
    return Threshold(1.0, math.floor(1000 * correct[-1] / images[-1]) / 1000, int(images[-1]) / len(labels))


def _shortest(below: float, confidence: float) -> float:
    """Return `confidence` rounded down to the fewest decimals, four or more, that stay above `below`, the next lower one."""
    for decimals in range(4, 16):
        scale = 10.0**decimals
        rounded = math.floor(confidence * scale) / scale
        if below < rounded <= confidence:
            return rounded
    return confidence
