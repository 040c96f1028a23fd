"""What is seen of one artifact: the test set, the golden inputs, and inputs that no test set has, each with its own tolerance."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mnist_edge.dataset import Dataset, Refused
from mnist_edge.proof import probes
from mnist_edge.proof.evaluation import Evaluation, evaluate_logits
from mnist_edge.proof.examination import Examined, examine
from mnist_edge.proof.golden import Golden, choose, compare, tolerance
from mnist_edge.proof.parity import BUDGETS

WEIGHTS = np.random.default_rng(5).normal(0, 0.02, (784, 10)).astype(np.float32)


def pytorch(pixels: np.ndarray) -> np.ndarray:
    """Answer each image by itself, so that no batch changes its last bits."""
    return np.array([one @ WEIGHTS / 255 for one in pixels.reshape(len(pixels), 784).astype(np.float32)], np.float32).reshape(-1, 10)


@pytest.fixture(scope="module")
def given(drawn_test: Dataset) -> Golden:
    return Golden(drawn_test.images[300:310], pytorch(drawn_test.images[300:310]))


def seen(run: object, precision: str, drawn_test: Dataset, given: Golden | None, *, probed: bool = False) -> Examined:
    data = drawn_test.first(100)
    asked = probes.ask(pytorch, data.images) if probed else None
    return examine(run, precision, BUDGETS[precision], data, pytorch(data.images), given, asked)  # type: ignore[arg-type]


def off_by(amount: float, at: np.ndarray) -> object:
    """Answer as PyTorch does, but for these images."""
    known = {image.tobytes() for image in at}

    def run(pixels: np.ndarray) -> np.ndarray:
        return pytorch(pixels) + np.array([[amount if image.tobytes() in known else 0] for image in pixels], np.float32)

    return run


def test_golden_inputs_hold_float32_to_its_tolerance_and_no_tighter(drawn_test: Dataset, given: Golden) -> None:
    far = seen(off_by(3e-4, given.pixels), "float32", drawn_test, given)
    assert not far.report and all(failure.startswith("golden inputs: ") for failure in far.report.failures)
    assert far.golden["max_difference"] == pytest.approx(3e-4, rel=0.05)
    near = seen(off_by(5e-5, given.pixels), "float32", drawn_test, given)
    assert near.report and near.golden["max_difference"] == pytest.approx(5e-5, rel=0.05)


def test_golden_inputs_of_a_lower_precision_may_differ_and_keep_how_far(drawn_test: Dataset, given: Golden) -> None:
    found = seen(off_by(3e-4, given.pixels), "fp16", drawn_test, given)
    assert found.report and found.golden["max_difference"] == pytest.approx(3e-4, rel=0.05)
    assert found.report.max_difference == 0  # of the test set alone
    turned = seen(lambda pixels: np.roll(pytorch(pixels), 1, axis=1) if len(pixels) < 11 else pytorch(pixels), "fp16", drawn_test, given)
    assert any(failure.startswith("golden inputs: ") for failure in turned.report.failures)


def test_without_golden_inputs_nothing_is_kept_of_them(drawn_test: Dataset) -> None:
    found = seen(pytorch, "float32", drawn_test, None)
    assert found.report and found.golden == {} and len(found.logits) == 100


def test_other_inputs_are_exact_in_float32_only(drawn_test: Dataset, given: Golden) -> None:
    white = np.full((1, 1, 28, 28), 255, np.uint8)
    assert seen(pytorch, "float32", drawn_test, given, probed=True).report
    wrong = seen(off_by(0.5, white), "float32", drawn_test, given, probed=True)
    assert [failure.partition(":")[0] for failure in wrong.report.failures] == ["all white"]
    assert seen(off_by(0.5, white), "fp16", drawn_test, given, probed=True).report


def test_tolerances() -> None:
    assert tolerance("float32", 5.0) == 1e-4
    assert tolerance("fp16", 0.25) == 0.5


def test_every_golden_answer_has_to_be_equal(given: Golden) -> None:
    one = given.pixels[:1]
    turned = compare(lambda pixels: np.array([np.roll(row, 1) if image.tobytes() == one.tobytes() else row
                                              for image, row in zip(pixels, pytorch(pixels), strict=True)], np.float32), given, None)  # fmt: skip
    assert not turned and turned.changed == (0,)


def test_four_of_each_digit_are_chosen_those_that_pytorch_is_surest_of() -> None:
    from mnist_edge.dataset import drawn

    drawn_ones = drawn.draw("test", 400, 3)
    order = {image.tobytes(): index for index, image in enumerate(drawn_ones.images)}
    logits = np.random.default_rng(0).normal(0, 3, (400, 10)).astype(np.float32)
    right = np.random.default_rng(1).random(400) < 0.6
    for index in np.flatnonzero(right):
        logits[index, drawn_ones.labels[index]] = logits[index].max() + 0.1 + index % 17
    found = choose(lambda pixels: logits[[order[image.tobytes()] for image in pixels]])
    chosen = [order[image.tobytes()] for image in found.pixels]
    assert chosen == sorted(chosen) and len(chosen) == 40
    assert (found.logits == logits[chosen]).all()
    for digit in range(10):
        sure = {}
        for index in np.flatnonzero(drawn_ones.labels == digit):
            others = np.delete(logits[index], digit).max()
            sure[int(index)] = float(logits[index, digit] - others)
        best = sorted(sure.values(), reverse=True)[:4]
        of_digit = [sure[index] for index in chosen if drawn_ones.labels[index] == digit]
        assert sorted(of_digit, reverse=True) == pytest.approx(best)


def test_golden_inputs_are_neither_the_trainings_nor_the_tests(drawn_train: Dataset, drawn_test: Dataset) -> None:
    found = choose(lambda pixels: np.eye(10, dtype=np.float32)[np.zeros(len(pixels), int)])
    mine = {image.tobytes() for image in found.pixels}
    assert len(mine) == 4 * 10
    assert not mine & {image.tobytes() for data in (drawn_train, drawn_test) for image in data.images}


def test_what_is_counted_of_answers(drawn_test: Dataset) -> None:
    few = drawn_test.first(20)
    logits = np.zeros((20, 10), np.float32)
    logits[np.arange(20), few.labels] = 3
    logits[5] = np.roll(logits[5], 1)
    found = evaluate_logits(logits, few)
    assert (found.images, found.correct, found.accuracy, found.wrong.tolist()) == (20, 19, 0.95, [5])
    assert found.confusion.sum() == 20 and found.confusion[few.labels[5], (few.labels[5] + 1) % 10] == 1
    assert found.confidences == pytest.approx(np.full(20, np.exp(3) / (np.exp(3) + 9)))
    counted = {one["digit"]: one for one in found.by_class()}
    assert list(counted) == list(range(10))
    digit = int(few.labels[5])
    share = int((few.labels == digit).sum())
    assert counted[digit] == {"digit": digit, "images": share, "correct": share - 1, "accuracy": (share - 1) / share}


def test_pictures_that_were_refused_count_as_wrong(drawn_test: Dataset) -> None:
    few = replace(drawn_test.first(10), refused=(Refused(Path("a.png"), 3, "no ink"), Refused(Path("b.png"), 3, "no ink")))
    logits = np.eye(10, dtype=np.float32)[few.labels]
    found = evaluate_logits(logits, few)
    assert (found.images, found.correct) == (12, 10) and found.accuracy == pytest.approx(10 / 12)
    three = found.by_class()[3]
    assert three["images"] == int((few.labels == 3).sum()) + 2 and three["correct"] == three["images"] - 2


def test_answers_to_nothing_are_not_right() -> None:
    nothing = Evaluation(np.zeros((10, 10), np.int64), np.empty(0, np.intp), np.empty(0, np.uint8), np.empty(0))
    assert (nothing.images, nothing.accuracy) == (0, 0.0) and nothing.by_class()[0]["accuracy"] is None
