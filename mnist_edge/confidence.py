"""How sure an answer is, and from where on that can be relied on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: From the threshold on, this share of the held-out images is answered rightly.
RELIABLE = 0.999


def softmax(logits: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Return the probabilities, float64 N×10, of logits, N×10."""
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    probabilities: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return probabilities


class Threshold(NamedTuple):
    """From which confidence on a model's answers are reliable.

    Attributes:
        confidence: the lowest one, 0 to 1.
        reliable: the share of right answers from there on, at least; what was asked for.
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
    order = np.argsort(-confidences, kind="stable")
    right = (probabilities.argmax(axis=1) == labels)[order]
    sound = np.flatnonzero(right.cumsum() >= RELIABLE * np.arange(1, len(right) + 1))
    if not len(sound):
        return Threshold(1.0, RELIABLE, 0.0)
    return Threshold(round(float(confidences[order[sound[-1]]]), 4), RELIABLE, (int(sound[-1]) + 1) / len(labels))
