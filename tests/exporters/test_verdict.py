"""What a lower precision is good for: the words follow from the figures, and what saves no space is not published."""

import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from exporters.verdict import Verdict, judge
from mnist_edge.common.trees import Tree


def verdict(size: float = 0.5, slowdown: float = 1.0, reduced: float | None = None) -> Verdict:
    return Verdict(round(10_000 * size), 10_000, 0.001 * slowdown, 0.001, reduced)


@pytest.mark.parametrize(("size", "gains"), [(0.1, True), (0.9, True), (0.9001, False), (1.0, False), (1.3, False)])
def test_only_what_is_clearly_smaller_gains(size: float, gains: bool) -> None:
    assert verdict(size).gains is gains
    assert verdict(size, slowdown=0.1).gains is gains  # speed here tells nothing of the device


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0.2, "20 % of the size"),
        (0.215, "a quarter of the size"),
        (0.27, "a quarter of the size"),
        (0.28, "28 % of the size"),
        (0.3, "a third of the size"),
        (0.36, "a third of the size"),
        (0.37, "37 % of the size"),
        (0.495, "half the size"),
        (0.55, "half the size"),
        (0.56, "56 % of the size"),
        (1.02, "102 % of the size"),
    ],
)
def test_size_in_words(size: float, words: str) -> None:
    assert verdict(size).describe() == f"{words}; as fast here"


@pytest.mark.parametrize(
    ("slowdown", "words"),
    [
        (1.0, "as fast"),
        (1.19, "as fast"),
        (1.2, "1.2× slower"),
        (3.04, "3.0× slower"),
        (0.84, "as fast"),
        (1 / 1.2, "1.2× faster"),
        (0.25, "4.0× faster"),
    ],
)
def test_speed_in_words(slowdown: float, words: str) -> None:
    assert Verdict(5000, 10_000, slowdown, 1.0).describe() == f"half the size; {words} here"


@pytest.mark.parametrize(
    ("size", "slowdown", "advice"),
    [
        (0.5, 2.0, "ship it if flash is scarce, float32 if speed counts"),
        (0.5, 0.5, "ship it"),
        (0.5, 1.0, "ship it if flash or download size counts"),
        (0.9, 1.0, "ship it if flash or download size counts"),
        (0.95, 0.5, "it was published by force; ship it only if it is also faster on the device"),
        (0.95, 1.0, "ship float32"),
        (0.95, 2.0, "ship float32"),
        (0.5, 1 / 1.2, "ship it"),
        (0.5, 1.2, "ship it if flash is scarce, float32 if speed counts"),
    ],
)
@pytest.mark.parametrize(
    ("accuracy", "change"),
    [
        (0.99, "accuracy unchanged"),
        (0.99004, "accuracy unchanged"),
        (0.9899, "accuracy -0.01 points"),
        (0.995, "accuracy +0.50 points"),
        (0.89, "accuracy -10.00 points"),
    ],
)
def test_advice_follows_from_the_figures(size: float, slowdown: float, advice: str, accuracy: float, change: str) -> None:
    report: Any = SimpleNamespace(accuracy=accuracy, reference_accuracy=0.99)
    one = Verdict(round(10_000 * size), 10_000, slowdown, 1.0)
    assert one.advise(report) == f"{one.describe()}; {change}: {advice}"


def test_why_nothing_is_gained() -> None:
    said = "it saves no space: 95 % of the size; as fast here"
    assert verdict(0.95).why_not() == verdict(0.95, reduced=0.5).why_not() == verdict(0.95, reduced=0.9).why_not() == said
    for share in (0.0, 0.49):
        assert (
            verdict(0.95, reduced=share).why_not()
            == f"{said}, because only {100 * share:.0f} % of its weights are in layers that this can reduce"
        )


def test_the_figures_are_those_of_the_two_files() -> None:
    def run(seconds: float) -> Any:
        def answer(pixels: np.ndarray) -> np.ndarray:
            time.sleep(seconds)
            return np.zeros((len(pixels), 10), np.float32)

        return answer

    reduced: Any = SimpleNamespace(run=run(0.03), tree=Tree("", 300, {}), details={"reduced_weights": 0.75})
    float32: Any = SimpleNamespace(run=run(0.005), tree=Tree("", 1200, {}), details={})
    body = judge(reduced, float32, np.zeros((1, 1, 28, 28), np.uint8)).to_json()
    assert (body["bytes"], body["float32_bytes"], body["size_ratio"], body["reduced_weights"]) == (300, 1200, 0.25, 0.75)
    assert body["latency_seconds"] > 0.02 > body["float32_latency_seconds"] > 0.004  # type: ignore[operator]
    assert body["latency_ratio"] == body["latency_seconds"] / body["float32_latency_seconds"]  # type: ignore[operator]
    assert judge(float32, reduced, np.zeros((1, 1, 28, 28), np.uint8)).reduced_weights is None
