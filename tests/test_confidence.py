import numpy as np
import pytest

from mnist_edge.proof.confidence import RELIABLE, find_threshold, softmax


def logits_for(confidences: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """Logits whose softmax gives each answer its confidence, the rest spread evenly."""
    logits = np.zeros((len(answers), 10), np.float32)
    logits[np.arange(len(answers)), answers] = np.log(9 * confidences / (1 - confidences))
    return logits


def test_softmax_is_finite_and_sums_to_one_for_large_logits() -> None:
    probabilities = softmax(np.array([[1000, 0, 0, 0, 0, 0, 0, 0, 0, 999], [-5] * 10], np.float32))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert probabilities[0, 0] == pytest.approx(np.e / (1 + np.e))


def test_from_the_threshold_on_answers_are_reliable_and_below_it_no_longer() -> None:
    random = np.random.default_rng(0)
    confidences = random.uniform(0.3, 0.999, 5000)
    labels = random.integers(0, 10, 5000).astype(np.uint8)
    wrong = random.random(5000) > confidences**0.02  # the less sure, the more often wrong
    answers = np.where(wrong, (labels + 1) % 10, labels)
    found = find_threshold(logits_for(confidences, answers), labels)
    reached = confidences >= found.confidence - 1e-4
    assert (answers == labels)[reached].mean() >= RELIABLE - 2 / reached.sum()
    assert found.answered == pytest.approx(reached.mean(), abs=1e-3)
    lower = confidences >= found.confidence - 0.05
    assert (answers == labels)[lower].mean() < RELIABLE


def test_a_model_that_is_always_right_needs_no_threshold_and_one_that_never_is_has_none() -> None:
    confidences, labels = np.linspace(0.2, 0.9, 100), np.arange(100, dtype=np.uint8) % 10
    assert find_threshold(logits_for(confidences, labels), labels).answered == 1.0
    never = find_threshold(logits_for(confidences, (labels + 1) % 10), labels)
    assert (never.confidence, never.answered) == (1.0, 0.0)
