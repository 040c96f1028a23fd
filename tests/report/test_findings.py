"""What a report counts: its figures are those of the answers."""

import numpy as np
import pytest
from conftest import answering

from mnist_edge.dataset import Dataset
from mnist_edge.proof.evaluation import evaluate_logits
from mnist_edge.report.findings import Bin, Findings


def test_wrong_answers_come_the_most_confident_first(found: Findings) -> None:
    labels = found.data.labels[:5].tolist()
    some = answering(
        found, [(labels[0] + 1) % 10, labels[1], (labels[2] + 1) % 10, labels[3], (labels[4] + 1) % 10], [0.6, 0.9, 0.99, 0.9, 0.7]
    )
    assert some.wrong() == [2, 4, 0]
    assert sum(one.count for one in some.confusions()) == 3


def test_calibration_counts_every_answer_once(found: Findings) -> None:
    bins = found.calibration()
    assert sum(one.answers for one in bins) == len(found.data)
    assert sum(one.right for one in bins) == found.evaluation.correct


def test_calibration_error_is_the_gap_between_promise_and_truth(found: Findings) -> None:
    labels = found.data.labels[:100].tolist()
    answers = [label if i < 70 else (label + 1) % 10 for i, label in enumerate(labels)]
    assert answering(found, answers, [0.9] * 100).calibration_error() == pytest.approx(0.2, abs=1e-6)
    assert answering(found, answers, [0.7] * 100).calibration_error() == pytest.approx(0.0, abs=1e-6)


def test_interval_of_a_share_is_wilsons() -> None:
    low, high = Bin(0.9, 1.0, 10, 9, 0.95).interval()  # the worked example of Brown, Cai and DasGupta's formula (4), 2001
    assert (low, high) == (pytest.approx(0.5958, abs=1e-3), pytest.approx(0.9821, abs=1e-3))


def test_logits_are_compared_with_labels(drawn_test: Dataset) -> None:
    logits = np.eye(10, dtype=np.float32)[drawn_test.labels]
    assert evaluate_logits(logits, drawn_test).accuracy == 1.0
