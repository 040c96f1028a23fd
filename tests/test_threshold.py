"""The threshold of reliability, on whatever confidences there may be."""

import numpy as np
import pytest

from mnist_edge.proof.confidence import RELIABLE, find_threshold, softmax


def answered_with(confidences: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Logits, float32 N×10, whose answer is 0 with each confidence, and labels of which the `right` ones are 0."""
    logits = np.zeros((len(confidences), 10), np.float32)
    with np.errstate(divide="ignore"):
        logits[:, 0] = np.minimum(np.log(9 * confidences / (1 - confidences)), 1000)
    return logits, np.where(right, 0, 1).astype(np.uint8)


def check(logits: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Check what is said against the images themselves, as `predict` computes their confidences."""
    found = find_threshold(logits, labels)
    probabilities = softmax(logits)
    confidences, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    reached = confidences >= found.confidence
    assert found.answered == reached.mean()
    if reached.any():
        assert right[reached].mean() >= found.reliable
    if found.confidence < 1:
        assert found.reliable == RELIABLE
    lower = [t for t in np.unique(confidences) if t < found.confidence and right[confidences >= t].mean() >= RELIABLE]
    assert not [t for t in lower if (confidences >= t).sum() > reached.sum()], "a lower threshold would have answered more"
    return found.confidence, found.answered


def test_rounding_lets_no_wrong_answers_in() -> None:
    confidences = np.repeat([0.99996, 0.99984, 0.99981], [2000, 100, 50])
    threshold, answered = check(*answered_with(confidences, confidences > 0.99982))
    assert 0.99981 < threshold <= 0.99984
    assert answered == 2100 / 2150


@pytest.mark.parametrize("seed", range(40))
def test_the_share_that_is_promised_is_kept(seed: int) -> None:
    random = np.random.default_rng(seed)
    count = int(random.integers(1, 4000))
    confidences = 1 - random.uniform(0, 0.8, count) ** random.integers(1, 12)
    if seed % 2:
        confidences = np.round(confidences, int(random.integers(2, 6)))  # many alike, and some of exactly 1
    right = random.random(count) < np.maximum(confidences, 0.2) ** random.choice([0.001, 0.01, 0.1, 1])
    check(*answered_with(confidences.clip(0.2, 1), right))


def test_a_cut_never_parts_images_of_the_same_confidence() -> None:
    confidences = np.repeat([0.9, 0.8], [1500, 1000])
    right = np.ones(2500, bool)
    right[1999:] = False  # of those at 0.8 the first half are right
    threshold, answered = check(*answered_with(confidences, right))
    assert 0.8 < threshold <= 0.9
    assert answered == 0.6


def test_wrong_answers_of_full_confidence_are_not_called_reliable() -> None:
    logits, labels = answered_with(np.ones(100), np.arange(100) < 60)
    found = find_threshold(logits, labels)
    assert found == (1.0, 0.6, 1.0)  # sixty of a hundred are right, and that is what is said


def test_a_threshold_of_few_digits_where_that_is_enough() -> None:
    threshold, _ = check(*answered_with(np.linspace(0.2, 0.9, 100), np.ones(100, bool)))
    assert threshold in (0.2, 0.1999)
