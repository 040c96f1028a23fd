"""Compares two sources of logits. The report is true or false, with the figures that say why.

Comparing never raises and never stops early: the caller decides what to do with a false report.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.common.errors import one_line
from mnist_edge.common.logits import Run, check_shape
from mnist_edge.common.text import percent
from mnist_edge.proof.confidence import softmax

#: 10,000 images in batches of 256 end in a remainder of 16.
BATCH_SIZE = 256

#: Batches tried one by one before the whole set: exporters freeze the batch at 1 or 2; a network may branch at the others.
BATCHES = (1, 2, 3, 5, 7, 8, 64)

#: How much any float32 logit may differ: several times the effect of reordered sums, a hundredth of what changes an answer.
FLOAT32_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Budget:
    """How much an artifact may differ from PyTorch.

    Attributes:
        equal_answers: smallest share of images whose most likely digit must be the reference's, 0 to 1.
        logit_difference: largest absolute difference of any logit; None for no limit.
        accuracy_drop: how far the accuracy may fall, 0 to 1: 0.001 is 0.1 points.
    """

    equal_answers: float
    logit_difference: float | None
    accuracy_drop: float = 1.0

    def with_accuracy_drop(self, drop: float) -> "Budget":
        """Return the budget with another accuracy drop. A larger drop loosens the equal answers in proportion; a smaller one keeps them."""
        loosened = max(1.0, drop / self.accuracy_drop) if self.accuracy_drop else 1.0
        return replace(self, accuracy_drop=drop, equal_answers=max(0.0, 1 - (1 - self.equal_answers) * loosened))


#: The budget of each precision. int8 is either ``int8-dynamic`` or ``int8-static``.
BUDGETS = {
    "float32": Budget(equal_answers=1.0, logit_difference=FLOAT32_TOLERANCE, accuracy_drop=0.0),
    "fp16": Budget(equal_answers=0.9995, logit_difference=None, accuracy_drop=0.0002),
    "int8-dynamic": Budget(equal_answers=0.997, logit_difference=None, accuracy_drop=0.001),
    "int8-static": Budget(equal_answers=0.997, logit_difference=None, accuracy_drop=0.001),
}


@dataclass(frozen=True)
class ParityReport:
    """How a candidate's logits differ from the reference's over a data set. It is true if they stay within the budget.

    Attributes:
        images: number of images in the reference.
        answered: number of rows that the candidate gave.
        equal_answers: number of images with the same most likely digit.
        changed: indices of the images whose answer changed.
        max_difference: largest absolute difference of a logit; infinite where a row is missing or not finite.
        p99_difference: 99th percentile of the absolute differences of all logits.
        not_finite: number of logits, of both sides, that are NaN or infinite.
        reference_accuracy: share of images that the reference answers as labelled, 0 to 1.
        accuracy: the same share for the candidate.
        smallest_margin: smallest gap between the two largest logits of an image in the reference. A difference
            below half of it cannot change an answer.
        confidence_change: mean change of an answer's probability, candidate minus reference; 0 if nothing was compared.
        p99_confidence_change: 99th percentile of its absolute change.
        budget: what was allowed.
        failures: one line for each limit that was exceeded; empty if the report is true.
        misses_tolerance_alone: whether a larger `Budget.logit_difference` alone would make it pass.
    """

    images: int
    answered: int
    equal_answers: int
    changed: tuple[int, ...]
    max_difference: float
    p99_difference: float
    not_finite: int
    reference_accuracy: float
    accuracy: float
    smallest_margin: float
    confidence_change: float
    p99_confidence_change: float
    budget: Budget
    failures: tuple[str, ...]
    misses_tolerance_alone: bool = False

    def __bool__(self) -> bool:
        return not self.failures

    @property
    def smallest_tolerance(self) -> float | None:
        """The smallest logit tolerance that would pass; None if none would."""
        would_pass = (not self.failures or self.misses_tolerance_alone) and np.isfinite(self.max_difference)
        return self.max_difference if would_pass else None

    def with_failures(self, failures: Sequence[str]) -> "ParityReport":
        """Return the report with failures of another kind added."""
        if not failures:
            return self
        return replace(self, failures=(*self.failures, *failures), misses_tolerance_alone=False)

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON values; a figure that is not finite becomes None."""
        figures = asdict(self) | {"passed": bool(self), "smallest_tolerance": self.smallest_tolerance}
        del figures["misses_tolerance_alone"]
        figures |= {"changed": list(self.changed), "failures": list(self.failures)}
        return {k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in figures.items()}


def logits_of(run: Run, pixels: NDArray[np.uint8], batch_size: int = BATCH_SIZE) -> NDArray[np.float32]:
    """Run `pixels` in batches and return the logits, float32 N×10.

    Raises ModelError for a batch whose answer does not have its shape or dtype: a count that differs is never cut to fit.
    """
    parts = []
    for start in range(0, len(pixels), batch_size):
        batch = pixels[start : start + batch_size]
        parts.append(check_shape(run(batch), len(batch)))
    return np.concatenate(parts) if parts else np.empty((0, 10), np.float32)


def compare(
    reference: NDArray[np.float32], candidate: NDArray[np.float32], labels: NDArray[np.uint8], budget: Budget = BUDGETS["float32"]
) -> ParityReport:
    """Compare logits, float32 N×10 each, over images with these labels."""
    rows = min(len(reference), len(candidate))
    a, b = reference[:rows].astype(np.float64), candidate[:rows].astype(np.float64)
    not_finite = int((~np.isfinite(a)).sum() + (~np.isfinite(b)).sum())
    with np.errstate(invalid="ignore"):
        difference = np.abs(a - b)
    difference[~np.isfinite(difference)] = np.inf
    answers_a, answers_b = a.argmax(axis=1), b.argmax(axis=1)
    same = (answers_a == answers_b) & np.isfinite(a).all(axis=1) & np.isfinite(b).all(axis=1)
    complete = len(reference) == len(candidate) == len(labels) and rows > 0
    top = np.sort(np.where(np.isfinite(a), a, -np.inf), axis=1)[:, -2:]
    max_difference = float(difference.max()) if complete else float("inf")
    equal = int(same.sum())
    reference_accuracy = float((answers_a == labels[:rows]).mean()) if complete else 0.0
    accuracy = float((answers_b == labels[:rows]).mean()) if complete else 0.0
    change = _confidence_change(a, b) if complete and not not_finite else np.zeros(1)

    failures = []
    if not complete:
        failures.append(f"{len(candidate)} answers for {len(reference)} images with {len(labels)} labels")
    if not_finite:
        failures.append(f"{not_finite} logits are NaN or infinite")
    if not _enough(equal, len(reference), budget):
        failures.append(f"{len(reference) - equal} of {len(reference)} answers changed; {_must_be_equal(budget)}")
    if complete and not _accurate(reference_accuracy, accuracy, rows, budget):
        fall = 100 * (reference_accuracy - accuracy)
        failures.append(f"accuracy fell by {fall:.2f} points; allowed: {100 * budget.accuracy_drop:.2f}")
    others = len(failures)
    if budget.logit_difference is not None and not max_difference <= budget.logit_difference:
        failures.append(f"logits differ by up to {max_difference:.3g}; allowed: {budget.logit_difference:g}")
    return ParityReport(
        images=len(reference),
        answered=len(candidate),
        equal_answers=equal,
        changed=tuple(np.flatnonzero(~same).tolist()),
        max_difference=max_difference,
        p99_difference=float(np.percentile(difference, 99, method="higher")) if rows else float("inf"),
        not_finite=not_finite,
        reference_accuracy=reference_accuracy,
        accuracy=accuracy,
        smallest_margin=float((top[:, 1] - top[:, 0]).min()) if rows else 0.0,
        confidence_change=float(change.mean()),
        p99_confidence_change=float(np.percentile(np.abs(change), 99, method="higher")),
        budget=budget,
        failures=tuple(failures),
        misses_tolerance_alone=bool(failures) and not others,
    )


def check(
    run: Run, reference: NDArray[np.float32], pixels: NDArray[np.uint8], labels: NDArray[np.uint8], budget: Budget
) -> tuple[ParityReport, NDArray[np.float32]]:
    """Run images in small batches first, then all in batches of `BATCH_SIZE`. Return the report and the logits of the second run.

    The report's differences and changed answers are those of all batches together: an artifact that answers the whole set
    well but differs in one of the batches of `BATCHES` fails, with its figures. A candidate that refuses a batch, or gives it
    the wrong shape, fails with that as its reason.
    """
    start = 0
    small: list[tuple[int, ParityReport]] = []
    refusals: dict[str, list[int]] = {}
    differing: list[int] = []
    for size in BATCHES:
        batch = slice(start, start + size)
        start += size
        if start > len(pixels):
            break
        try:
            answer = check_shape(run(pixels[batch]), size)
        except Exception as error:  # a runtime may raise anything, and none of it is an answer
            refusals.setdefault(one_line(error), []).append(size)
            continue
        # too few images for a share: their answers count among all below
        report = compare(reference[batch], answer, labels[batch], Budget(0.0, budget.logit_difference))
        small.append((batch.start, report))
        if not report:
            differing.append(size)
    failures = [f"{_batches(sizes)}: {reason}" for reason, sizes in refusals.items()]
    try:
        candidate = logits_of(run, pixels)
    except Exception as error:
        failures.append(f"{_batches([BATCH_SIZE])}: {one_line(error)}")
        candidate = np.empty((0, 10), np.float32)
    whole = compare(reference, candidate, labels, budget)
    changed = sorted({*whole.changed, *(offset + index for offset, report in small for index in report.changed)})
    equal = min(whole.equal_answers, len(reference) - len(changed))
    if _enough(whole.equal_answers, len(reference), budget) and not _enough(equal, len(reference), budget):
        failures.append(f"{len(reference) - equal} of {len(reference)} answers changed in small or large batches; {_must_be_equal(budget)}")
    not_finite = whole.not_finite + sum(report.not_finite for _, report in small)
    farthest = max(report.max_difference for report in (whole, *(report for _, report in small)))
    together = replace(
        whole,
        changed=tuple(changed),
        equal_answers=equal,
        max_difference=float("inf") if refusals else farthest,
        not_finite=not_finite,
    ).with_failures(failures)
    if differing and whole:
        figures = f"{not_finite} logits are NaN or infinite" if not_finite else f"logits differ by up to {farthest:.3g}"
        failure = f"{_batches(differing)}: {figures}, though not in batches of {BATCH_SIZE}"
        alone = not together.failures and not not_finite
        together = replace(together, failures=(*together.failures, failure), misses_tolerance_alone=alone)
    return together, candidate


def _batches(sizes: Sequence[int]) -> str:
    listed = ", ".join(map(str, sizes[:-1]))
    return f"batches of {listed} and {sizes[-1]}" if listed else f"batches of {sizes[-1]}"


def batches_checked(images: int) -> Iterator[int]:
    """Yield the batch sizes that `check` runs over so many images: those of `BATCHES`, the full batch and its remainder."""
    yield from (size for size, needed in zip(BATCHES, np.cumsum(BATCHES), strict=True) if needed <= images)
    if images >= BATCH_SIZE:
        yield BATCH_SIZE
    if images % BATCH_SIZE:
        yield images % BATCH_SIZE


def _must_be_equal(budget: Budget) -> str:
    return "all must be equal" if budget.equal_answers == 1 else f"at least {percent(budget.equal_answers)} must be equal"


def _enough(equal: int, images: int, budget: Budget) -> bool:
    """Compare whole numbers of images: 99.5 % of 1,000 is 995, whatever the last bit of the product."""
    return equal >= budget.equal_answers * images - 1e-6


def _accurate(reference: float, candidate: float, images: int, budget: Budget) -> bool:
    """Compare whole numbers of images: 0.02 points of 10,000 is two images."""
    return round((reference - candidate) * images) <= budget.accuracy_drop * images + 1e-6


def _confidence_change(reference: NDArray[np.float64], candidate: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what the reference's answer gained in probability, float64 N."""
    rows, answers = np.arange(len(reference)), reference.argmax(axis=1)
    change: NDArray[np.float64] = softmax(candidate)[rows, answers] - softmax(reference)[rows, answers]
    return change
