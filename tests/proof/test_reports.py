"""The figures and the words of a report, budgets, and noise that is no noise."""

from dataclasses import replace

import numpy as np
import pytest

from mnist_edge.proof import probes, steady
from mnist_edge.proof.confidence import find_threshold, softmax
from mnist_edge.proof.parity import BUDGETS, Budget, batches_checked, check, compare, logits_of

random = np.random.default_rng(7)
REFERENCE = random.normal(0, 5, (400, 10)).astype(np.float32)
LABELS = REFERENCE.argmax(axis=1).astype(np.uint8)
PIXELS = np.zeros((400, 1, 28, 28), np.uint8)
PIXELS[:, 0, 0, 0], PIXELS[:, 0, 0, 1] = np.arange(400) % 256, np.arange(400) // 256


def run(pixels: np.ndarray) -> np.ndarray:
    return REFERENCE[(pixels[:, 0, 0, 0].astype(int) + 256 * pixels[:, 0, 0, 1].astype(int)) % 400]


def turned(count: int) -> np.ndarray:
    """The logits with so many answers changed."""
    found = REFERENCE.copy()
    found[:count] = np.roll(found[:count], 1, axis=1)
    return found


def test_each_demand_that_is_missed_is_said_with_its_figures() -> None:
    report = compare(REFERENCE, turned(3), LABELS, Budget(0.995, 0.5, 0.001))
    assert report.failures == (
        "3 of 400 answers changed; at least 99.50 % must be equal",
        "accuracy fell by 0.75 points; allowed: 0.10",
        f"logits differ by up to {report.max_difference:.3g}; allowed: 0.5",
    )
    assert (report.images, report.answered, report.equal_answers, report.changed) == (400, 400, 397, (0, 1, 2))
    assert (report.reference_accuracy, report.accuracy) == (1.0, 0.9925)
    assert compare(REFERENCE, turned(3), LABELS, Budget(1.0, None)).failures == ("3 of 400 answers changed; all must be equal",)
    short = compare(REFERENCE, REFERENCE[:399], LABELS)
    assert short.failures[0] == "399 answers for 400 images with 400 labels"
    assert (short.max_difference, short.accuracy, short.reference_accuracy) == (float("inf"), 0.0, 0.0)
    assert (short.confidence_change, short.p99_confidence_change) == (0.0, 0.0)


def test_shares_are_kept_to_the_image() -> None:
    assert compare(REFERENCE, turned(2), LABELS, Budget(0.995, None))  # 398 of 400
    assert not compare(REFERENCE, turned(3), LABELS, Budget(0.995, None))
    assert compare(REFERENCE, turned(2), LABELS, Budget(0.0, None, 0.005))
    assert not compare(REFERENCE, turned(3), LABELS, Budget(0.0, None, 0.005))
    assert compare(turned(3), REFERENCE, LABELS, Budget(0.0, None, 0.0))  # better than the reference


def test_what_an_answers_probability_gained() -> None:
    candidate = REFERENCE * np.float32(0.9)
    report = compare(REFERENCE, candidate, LABELS, Budget(0.0, None))
    rows = np.arange(400)
    change = softmax(candidate)[rows, LABELS] - softmax(REFERENCE)[rows, LABELS]
    assert report.confidence_change == pytest.approx(change.mean()) and change.mean() < -1e-3
    assert report.p99_confidence_change == pytest.approx(np.percentile(np.abs(change), 99, method="higher"))
    nan = candidate.copy()
    nan[0, 0] = np.nan
    assert compare(REFERENCE, nan, LABELS, Budget(0.0, None)).confidence_change == 0.0


def test_one_percent_of_the_differences_is_larger() -> None:
    candidate = REFERENCE.copy()
    candidate[:100, 0] += np.linspace(0.001, 0.1, 100, dtype=np.float32)
    report = compare(REFERENCE, candidate, LABELS, Budget(0.0, None))
    assert report.p99_difference == pytest.approx(np.percentile(np.abs(candidate.astype(float) - REFERENCE), 99, method="higher"))
    assert report.smallest_margin == pytest.approx(np.diff(np.sort(REFERENCE.astype(float), axis=1)[:, -2:]).min())


def test_a_report_of_nothing_has_no_figures_to_be_glad_of() -> None:
    empty = np.empty((0, 10), np.float32)
    report = compare(empty, empty, np.empty(0, np.uint8), Budget(0.0, None))
    assert not report
    assert (report.smallest_margin, report.p99_difference, report.max_difference) == (0.0, float("inf"), float("inf"))
    assert report.failures == ("0 answers for 0 images with 0 labels",)


def test_a_reports_json_holds_what_it_says() -> None:
    body = compare(REFERENCE, turned(2), LABELS, Budget(0.99, None)).to_json()
    assert body["changed"] == [0, 1] and body["failures"] == [] and body["passed"] is True and body["smallest_tolerance"] > 1
    assert "misses_tolerance_alone" not in body
    body = compare(REFERENCE, REFERENCE[:1], LABELS).to_json()
    assert body["max_difference"] is None and body["passed"] is False and body["smallest_tolerance"] is None


def test_failures_of_another_kind_leave_no_tolerance_that_would_do() -> None:
    report = compare(REFERENCE, REFERENCE + np.float32(0.001), LABELS)
    assert report.smallest_tolerance is not None and report.with_failures([]) is report
    more = report.with_failures(["golden inputs: wrong"])
    assert more.failures == (*report.failures, "golden inputs: wrong") and more.smallest_tolerance is None
    good = compare(REFERENCE, REFERENCE, LABELS)
    assert good.smallest_tolerance == 0 and not good.with_failures(["wrong"])


@pytest.mark.parametrize(
    ("precision", "drop", "equal"),
    [
        ("int8-static", 0.002, 0.994),
        ("int8-static", 0.001, 0.997),
        ("int8-static", 0.0001, 0.997),
        ("int8-static", 0.0, 0.997),
        ("int8-static", 1.0, 0.0),
        ("fp16", 0.0004, 0.999),
        ("float32", 0.5, 1.0),
    ],
)
def test_a_looser_accuracy_loosens_the_equal_answers_and_a_tighter_one_does_not(precision: str, drop: float, equal: float) -> None:
    budget = BUDGETS[precision].with_accuracy_drop(drop)
    assert budget.accuracy_drop == drop
    assert budget.equal_answers == pytest.approx(equal, abs=1e-9)
    assert budget.logit_difference == BUDGETS[precision].logit_difference


def test_the_budgets_are_those_that_are_documented() -> None:
    assert {
        "float32": Budget(1.0, 1e-4, 0.0),
        "fp16": Budget(0.9995, None, 0.0002),
        "int8-dynamic": Budget(0.997, None, 0.001),
        "int8-static": Budget(0.997, None, 0.001),
    } == BUDGETS
    assert compare(REFERENCE, turned(400), LABELS, Budget(0.0, None))  # where no drop is named, any is allowed


def test_the_batches_that_go_wrong_are_named() -> None:
    def refuses(pixels: np.ndarray) -> np.ndarray:
        if len(pixels) in (2, 5, 64):
            raise RuntimeError("fixed")
        return run(pixels)

    report, logits = check(refuses, REFERENCE, PIXELS, LABELS, BUDGETS["float32"])
    assert report.failures == ("batches of 2, 5 and 64: RuntimeError: fixed",)
    assert report.max_difference == float("inf") and report.smallest_tolerance is None and (logits == REFERENCE).all()
    assert report.equal_answers == 400 and report.changed == ()

    def large(pixels: np.ndarray) -> np.ndarray:
        if len(pixels) > 64:
            raise RuntimeError("out of memory")
        return run(pixels)

    report, logits = check(large, REFERENCE, PIXELS, LABELS, BUDGETS["float32"])
    assert any(failure.startswith("batches of 256: ") for failure in report.failures) and logits.shape == (0, 10)
    assert (report.answered, report.images) == (0, 400)


def test_batches_that_differ_though_the_whole_does_not() -> None:
    def wrong(pixels: np.ndarray) -> np.ndarray:
        return run(pixels) + np.float32(0.25 if len(pixels) in (3, 8) else 0)

    report, _ = check(wrong, REFERENCE, PIXELS, LABELS, BUDGETS["float32"])
    assert report.failures == ("batches of 3 and 8: logits differ by up to 0.25, though not in batches of 256",)
    assert report.max_difference == report.smallest_tolerance == pytest.approx(0.25, rel=1e-5) and report.equal_answers == 400
    loose = replace(BUDGETS["float32"], logit_difference=0.2501)
    assert check(wrong, REFERENCE, PIXELS, LABELS, loose)[0]

    def nan(pixels: np.ndarray) -> np.ndarray:
        return run(pixels) * np.float32("nan" if len(pixels) == 5 else 1)

    report, _ = check(nan, REFERENCE, PIXELS, LABELS, Budget(0.0, 1.0))
    assert report.failures == ("batches of 5: 50 logits are NaN or infinite, though not in batches of 256",)
    assert report.not_finite == 50 and report.smallest_tolerance is None


def test_a_small_set_is_compared_in_the_batches_that_it_fills() -> None:
    sizes = []

    def watched(pixels: np.ndarray) -> np.ndarray:
        sizes.append(len(pixels))
        return run(pixels)

    assert check(watched, REFERENCE[:6], PIXELS[:6], LABELS[:6], BUDGETS["float32"])[0]
    assert sizes == [1, 2, 3, 6]
    assert list(batches_checked(6)) == [1, 2, 3, 6] and list(batches_checked(5)) == [1, 2, 5]
    assert list(batches_checked(512)) == [1, 2, 3, 5, 7, 8, 64, 256] and list(batches_checked(255))[-1] == 255
    assert logits_of(run, PIXELS[:0]).shape == (0, 10) and (logits_of(run, PIXELS, 7) == REFERENCE).all()


def test_inputs_that_no_test_set_has() -> None:
    images = random.integers(0, 256, (70, 1, 28, 28), dtype=np.uint8)
    asked = probes.ask(lambda pixels: np.tile(pixels.reshape(len(pixels), -1).mean(axis=1, dtype=np.float32)[:, None], 10), images)
    assert {name: len(pixels) for name, pixels in asked.pixels.items()} == {
        "all black": 1,
        "all white": 1,
        "noise": 16,
        "inverted images": 64,
    }
    assert (asked.pixels["inverted images"] == 255 - images[:64]).all()
    assert asked.logits["all black"][0, 0] == 0 and asked.logits["all white"][0, 0] == 255
    noise = asked.pixels["noise"]
    assert (noise.min(), noise.max()) == (0, 255) and len(np.unique(noise, axis=0)) == 16


@pytest.mark.parametrize(("size", "allowed"), [(50.0, 1e-4), (1000.0, 1e-3)])
def test_tolerance_for_other_inputs_grows_with_large_logits_only(size: float, allowed: float) -> None:
    def constant(by: float) -> object:
        return lambda pixels: np.full((len(pixels), 10), size + by, np.float32)

    asked = probes.ask(constant(0), PIXELS[:4])  # type: ignore[arg-type]
    assert probes.failures(constant(0.7 * allowed), asked, exact=True) == []  # type: ignore[arg-type]
    found = probes.failures(constant(1.6 * allowed), asked, exact=True)  # type: ignore[arg-type]
    assert len(found) == 4 and found[0].startswith("all black: logits differ by up to ") and f"allowed: {allowed:.3g}" in found[0]
    assert probes.failures(constant(1.6 * allowed), asked, exact=False) == []  # type: ignore[arg-type]


def test_an_error_is_no_answer_to_other_inputs() -> None:
    def raises(pixels: np.ndarray) -> np.ndarray:
        raise ValueError("no\nsuch thing")

    found = probes.failures(raises, probes.ask(run, PIXELS[:4]), exact=False)
    assert [failure.partition(":")[0] for failure in found] == ["all black", "all white", "noise", "inverted images"]
    assert all("\n" not in failure for failure in found)


def test_extremes_stand_before_the_images() -> None:
    found = steady.with_extremes(PIXELS[1:3])
    assert found.shape == (5, 1, 28, 28) and found.dtype == np.uint8
    assert not found[0].any() and (found[1] == 255).all() and (found[3:] == PIXELS[1:3]).all()
    assert found[2].min() == 0 and found[2].max() == 255


def test_a_difference_beyond_rounding_is_told_in_full() -> None:
    one = np.zeros((3, 10), np.float32)
    large = np.full((3, 10), 100_000, np.float32)
    assert steady.difference(one, one + np.float32(9e-5)) == 0
    assert steady.difference(one, one + np.float32(2e-4)) == pytest.approx(2e-4)
    assert steady.difference(large, large + np.float32(0.5)) == 0  # rounding grows with the logits
    assert steady.difference(large, large + np.float32(2)) == 2
    mixed = one.copy()
    mixed[1] = 100_000
    off = mixed.copy()
    off[0, 3] = 0.5
    assert steady.difference(mixed, off) == 0.5  # an image's own logits say what it may differ by
    assert steady.difference(one, one[:2]) == float("inf")
    for value in (np.nan, np.inf, -np.inf):
        odd = one.copy()
        odd[2, 5] = value
        assert steady.difference(odd, odd) == 0
        assert steady.difference(one, odd) > 1e30 and steady.difference(odd, one) > 1e30


def test_a_network_is_asked_in_batches_of_several_sizes() -> None:
    asked = []

    def watched(pixels: np.ndarray) -> np.ndarray:
        asked.append(len(pixels))
        return run(pixels)

    assert steady.find_unsteadiness(watched, PIXELS[:16]) is None
    assert asked == [16, 16, *[1] * 16, *[2] * 8, *[3] * 5, 1, *[5] * 3, 1, 7, 7, 2, 8, 8]


def test_noise_is_told_from_a_batch_that_matters() -> None:
    calls = []

    def second(pixels: np.ndarray) -> np.ndarray:
        calls.append(len(pixels))
        return run(pixels) + np.float32(0.5 if len(calls) == 2 else 0)

    found = steady.find_unsteadiness(second, PIXELS[:13])
    assert found == (True, pytest.approx(0.5), 13) and "differ by 0.5" in str(found)

    expected = run(PIXELS[:13])
    found = steady.find_unsteadiness(lambda pixels: run(pixels) + np.float32(len(pixels) == 8), PIXELS[:13], expected)
    assert found == (False, pytest.approx(1, abs=1e-5), 8) and "(tried: 8 at once)" in str(found)
    found = steady.find_unsteadiness(lambda pixels: run(pixels) + np.float32(len(pixels) == 6), PIXELS[:13], expected)
    assert found is not None and found.batch == 6  # the last batch of seven is one of six
    assert steady.find_unsteadiness(run, PIXELS[:13], expected) is None


def test_a_threshold_says_how_reliable_full_confidence_is() -> None:
    logits = np.zeros((3000, 10), np.float32)
    logits[:, 0] = 1000
    labels = np.zeros(3000, np.uint8)
    labels[:7] = 1
    found = find_threshold(logits, labels)
    assert found == (1.0, 0.997, 1.0)  # 99.766 %, rounded down
    assert found.to_json() == {"threshold": 1.0, "reliable": 0.997, "answered": 1.0}
    labels[:7], labels[:3] = 0, 1
    assert find_threshold(logits, labels) == (1.0, 0.999, 1.0)  # 2,997 of 3,000 are exactly what is promised
    logits[:1500, 0] = 1
    labels[:] = 0
    labels[:100] = 1
    labels[2000:2010] = 1
    found = find_threshold(logits, labels)
    assert found == (1.0, 0.993, 0.5)


def test_probabilities_are_each_images_own() -> None:
    logits = np.array([[0, 0], [np.log(3), 0], [1e4, 0]], np.float32)
    assert softmax(logits) == pytest.approx(np.array([[0.5, 0.5], [0.75, 0.25], [1, 0]]))
