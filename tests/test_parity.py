"""The comparator has to see every way in which an export goes wrong; numpy says what is right."""

import numpy as np
import pytest

from mnist_edge.common.logits import Run
from mnist_edge.proof.parity import BUDGETS, Budget, batches_checked, check, compare

random = np.random.default_rng(0)
REFERENCE = random.normal(0, 5, (600, 10)).astype(np.float32)
LABELS = REFERENCE.argmax(axis=1).astype(np.uint8)
PIXELS = np.arange(600, dtype=np.uint32).view(np.uint8).reshape(600, 4).repeat(196, axis=1).reshape(600, 1, 28, 28)


def run(pixels: np.ndarray) -> np.ndarray:
    """Answer as the reference does: each image carries its index in its first four distinct bytes."""
    return REFERENCE[pixels.reshape(len(pixels), 4, 196)[:, :, 0].copy().view(np.uint32)[:, 0]]


def test_equal_logits_pass_with_the_figures_that_numpy_gives() -> None:
    noise = random.normal(0, 1e-5, REFERENCE.shape).astype(np.float32)
    report = compare(REFERENCE, REFERENCE + noise, LABELS)
    difference = np.abs(REFERENCE.astype(np.float64) - (REFERENCE + noise))
    top = np.sort(REFERENCE.astype(np.float64), axis=1)
    assert report
    assert report.max_difference == pytest.approx(difference.max())
    assert report.p99_difference == pytest.approx(np.percentile(difference, 99, method="higher"))
    assert report.smallest_margin == pytest.approx((top[:, -1] - top[:, -2]).min())
    assert report.smallest_tolerance == report.max_difference
    assert report.accuracy == report.reference_accuracy == 1.0


def test_smallest_tolerance_is_the_one_that_passes() -> None:
    candidate = REFERENCE + np.float32(3e-4)
    report = compare(REFERENCE, candidate, LABELS)
    assert not report
    tolerance = report.smallest_tolerance
    assert tolerance is not None
    assert compare(REFERENCE, candidate, LABELS, Budget(1.0, tolerance))
    assert not compare(REFERENCE, candidate, LABELS, Budget(1.0, tolerance * 0.999))


def test_one_changed_answer_fails_and_is_named() -> None:
    candidate = REFERENCE.copy()
    candidate[17] = np.roll(candidate[17], 1)
    report = compare(REFERENCE, candidate, LABELS, Budget(1.0, 1e9))
    assert not report
    assert report.changed == (17,)
    assert report.equal_answers == 599
    assert report.smallest_tolerance is None
    assert compare(REFERENCE, candidate, LABELS, Budget(0.99, 1e9))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("side", [0, 1])
def test_what_is_not_finite_fails_on_either_side_even_where_both_agree(value: float, side: int) -> None:
    sides = [REFERENCE.copy(), REFERENCE.copy()]
    sides[side][3, 9] = value
    report = compare(sides[0], sides[1], LABELS, Budget(0.0, 1e9))
    assert not report
    assert report.not_finite == 1
    sides[1 - side][3, 9] = value
    assert not compare(sides[0], sides[1], LABELS, Budget(0.0, 1e9))
    assert report.to_json()["max_difference"] is None


@pytest.mark.parametrize("rows", [0, 1, 599])
def test_unequal_counts_fail(rows: int) -> None:
    assert not compare(REFERENCE, REFERENCE[:rows], LABELS)
    assert not compare(REFERENCE[:rows], REFERENCE, LABELS)
    assert not compare(REFERENCE, REFERENCE, LABELS[:rows])


def test_nothing_compared_is_no_proof() -> None:
    empty = np.empty((0, 10), np.float32)
    assert not compare(empty, empty, np.empty(0, np.uint8))


def test_check_runs_small_batches_whole_batches_and_the_remainder() -> None:
    seen = []

    def watched(pixels: np.ndarray) -> np.ndarray:
        seen.append(len(pixels))
        return run(pixels)

    report, logits = check(watched, REFERENCE, PIXELS, LABELS, BUDGETS["float32"])
    assert report
    assert (logits == REFERENCE).all()
    assert seen == [1, 2, 3, 5, 7, 8, 64, 256, 256, 88]
    assert list(batches_checked(600)) == [1, 2, 3, 5, 7, 8, 64, 256, 88]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 8, 64, 256, 88])
def test_check_sees_a_runtime_that_is_wrong_at_one_batch_size_only(size: int) -> None:
    def wrong(pixels: np.ndarray) -> np.ndarray:
        return run(pixels) + np.float32(len(pixels) == size)

    report, _ = check(wrong, REFERENCE, PIXELS, LABELS, BUDGETS["float32"])
    assert not report
    assert report.max_difference == pytest.approx(1, abs=1e-5)
    assert report.smallest_tolerance == report.max_difference


def test_check_names_the_images_that_change_their_answer_in_a_small_batch_only() -> None:
    def wrong(pixels: np.ndarray) -> np.ndarray:
        return np.roll(run(pixels), 1, axis=1) if len(pixels) == 2 else run(pixels)

    report, _ = check(wrong, REFERENCE, PIXELS, LABELS, Budget(1.0, 1e9))
    assert report.changed == (1, 2)
    assert report.equal_answers == 598
    assert report.smallest_tolerance is None


def test_the_tolerance_that_is_named_goes_with_the_verdict() -> None:
    candidate = REFERENCE.copy()
    candidate[17] = np.roll(candidate[17], 1)
    report = compare(REFERENCE, candidate, LABELS, Budget(0.999, 1e9))  # 599 of 600 is 99.83 %
    assert not report
    assert report.smallest_tolerance is None


@pytest.mark.parametrize("index", [0, 4, 300])
def test_an_answer_within_the_budget_may_change_wherever_it_is(index: int) -> None:
    def wrong(pixels: np.ndarray) -> np.ndarray:
        answers = run(pixels).copy()
        answers[(answers == REFERENCE[index]).all(axis=1)] = np.roll(REFERENCE[index], 1)
        return answers

    report, _ = check(wrong, REFERENCE, PIXELS, LABELS, Budget(0.99, None, 0.01))
    assert report, report.failures
    assert report.changed == (index,)
    assert not check(wrong, REFERENCE, PIXELS, LABELS, Budget(0.999, None, 0.01))[0]
    assert not check(wrong, REFERENCE, PIXELS, LABELS, Budget(0.99, None, 0.001))[0]


def test_answers_that_change_in_small_batches_only_count_against_the_share() -> None:
    def wrong(pixels: np.ndarray) -> np.ndarray:
        return np.roll(run(pixels), 1, axis=1) if len(pixels) == 7 else run(pixels)

    assert check(wrong, REFERENCE, PIXELS, LABELS, Budget(0.98, None))[0]
    report, _ = check(wrong, REFERENCE, PIXELS, LABELS, Budget(0.99, None))
    assert report.failures == ("7 of 600 answers changed in small or large batches; at least 99.00 % must be equal",)


def raise_error(pixels: np.ndarray) -> np.ndarray:
    raise RuntimeError("no such operator\nsecond line")


@pytest.mark.parametrize(
    "broken",
    [
        raise_error,
        lambda pixels: run(pixels)[:-1],
        lambda pixels: run(pixels)[:, :9],
        lambda pixels: run(pixels).astype(np.float64),
        lambda pixels: run(pixels).tolist(),
        lambda pixels: np.concatenate([run(pixels), run(pixels)[:1]]),
    ],
)
def test_check_fails_for_an_answer_of_the_wrong_kind(broken: Run) -> None:
    report, _ = check(broken, REFERENCE, PIXELS, LABELS, BUDGETS["float32"])
    assert not report
    assert report.smallest_tolerance is None
    assert all("\n" not in failure for failure in report.failures)
