"""Sheets with rows of drawn digits, made for a test."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from mnist_edge import Predictor
from mnist_edge.dataset import drawn
from mnist_edge.reading.judging import kinds

REFERENCE = Path(__file__).resolve().parents[1] / "models" / "lenet"

ROWS = ["12345", "67890", "31415"]


@cache
def clear_digits() -> dict[int, list[np.ndarray]]:
    """Drawn digits that the reference reads rightly and surely, so that a test is about the page."""
    data, found = drawn.draw("test", 600, seed=11), {digit: [] for digit in range(10)}
    answers = Predictor.load(REFERENCE).predictions(Predictor.load(REFERENCE).logits(data.images))
    likely = kinds(data.images[:, 0])[:, 0]
    for image, label, answer, one in zip(data.images[:, 0], data.labels, answers, likely, strict=True):
        if answer.digit == label and answer.confidence > 0.99 and one > 0.9 and (image > 127).mean() < 0.14:
            found[int(label)].append(image)
    return found


def page(
    rows: list[str],
    side: int = 60,
    gap: int = 12,
    slope: float = 0.0,
    size: tuple[int, int] | None = None,
    sizes: Callable[[int], float] = lambda _: 1.0,
    paper: int = 235,
    ink: int = 40,
) -> Image.Image:
    """A sheet with rows of digits; a space is one."""
    width = max(len(row) for row in rows) * (side + gap) + 120
    height = int(len(rows) * side * 1.7 + slope * width) + 120
    width, height = size or (width, height)
    strength = np.zeros((height, width), np.float64)
    for i, row in enumerate(rows):
        for j, character in enumerate(row):
            if character == " ":
                continue
            own = round(side * sizes(j))
            choice = clear_digits()[int(character)]
            digit = np.asarray(Image.fromarray(choice[(7 * i + 3 * j) % len(choice)]).resize((own, own), Image.Resampling.BICUBIC))
            x = 60 + j * (side + gap)
            y = int(60 + i * side * 1.7 + slope * x + (side - own) / 2)
            box = strength[y : y + own, x : x + own]
            np.maximum(box, digit / 255, out=box)
    return Image.fromarray((paper + (ink - paper) * strength).astype(np.uint8))


def touching(digits: str = "36") -> Image.Image:
    """A sheet with digits that strokes join."""
    sheet = np.full((160, 132 + 44 * len(digits)), 255, np.uint8)
    right = 0
    for i, digit in enumerate(digits):
        x = 40 + 44 * i
        one = 255 - np.asarray(Image.fromarray(clear_digits()[int(digit)][1]).resize((84, 84), Image.Resampling.BICUBIC))
        at = x + np.flatnonzero((one[38:44] < 100).any(axis=0))
        sheet[40:124, x : x + 84] = np.minimum(sheet[40:124, x : x + 84], one)
        if i:
            sheet[78:84, right - 4 : at[0] + 4] = 0
        right = at[-1]
    return Image.fromarray(sheet)
