"""Ink → parts that may be digits, or fragments of one, or several that touch; and each of them as the network would see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mnist_edge.image.components import Components, find_components
from mnist_edge.image.ink import quantile
from mnist_edge.image.strokes import FINE, cut_out, fit, place, stroke_width, thicken

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mnist_edge.reading.page import Ink


class Part(NamedTuple):
    """A piece of ink, or a slice of one.

    Attributes:
        top, bottom, left, right: its box, in pixels of the page; bottom and right are one beyond.
        mask: bool, of the size of the box.
        ink: the sum of its strength.
        borders: how many of the page's borders it touches.
    """

    top: int
    bottom: int
    left: int
    right: int
    mask: NDArray[np.bool_]
    ink: float
    borders: int = 0

    @property
    def height(self) -> int:
        """The height of its box."""
        return self.bottom - self.top

    @property
    def width(self) -> int:
        """The width of its box."""
        return self.right - self.left


def parts_of(ink: Ink, pieces: Components, chosen: NDArray[np.intp]) -> list[Part]:
    """Return the chosen pieces as parts."""
    sides = zip(pieces.top, pieces.bottom, pieces.left, pieces.right, pieces.ink, pieces.borders, strict=True)
    every = list(sides)
    return [
        Part(int(t), int(b), int(le), int(r), pieces.mask_of(int(one)), float(i), int(n))
        for one in chosen
        for t, b, le, r, i, n in (every[one],)
    ]


def joined(parts: Sequence[Part]) -> Part:
    """Return several parts as one."""
    if len(parts) == 1:
        return parts[0]
    top, left = min(one.top for one in parts), min(one.left for one in parts)
    bottom, right = max(one.bottom for one in parts), max(one.right for one in parts)
    mask = np.zeros((bottom - top, right - left), np.bool_)
    for one in parts:
        mask[one.top - top : one.bottom - top, one.left - left : one.right - left] |= one.mask
    return Part(top, bottom, left, right, mask, sum(one.ink for one in parts), max(one.borders for one in parts))


def seen(ink: Ink, part: Part) -> tuple[NDArray[np.uint8], float]:
    """Return the part as MNIST would have placed it, uint8, 28×28, and the width of its pen, in pixels of the 20×20 box."""
    height, width = ink.strength.shape
    top, bottom = max(0, part.top - 2), min(height, part.bottom + 2)
    left, right = max(0, part.left - 2), min(width, part.right + 2)
    mask = np.zeros((bottom - top, right - left), np.bool_)
    mask[part.top - top : part.bottom - top, part.left - left : part.right - left] = part.mask
    strength = ink.strength[top:bottom, left:right]
    level = quantile(strength[mask], 0.6) // 2
    drawing = cut_out(strength, mask, level, (part.top - top, part.bottom - top, part.left - left, part.right - left))
    pen = stroke_width(drawing) / FINE
    return place(fit(thicken(drawing, pen))), pen


def slices(part: Part, height: float, most: int = 4) -> list[Part]:
    """Cut a part into slices, at the places where digits may touch; `height` is that of digits around it. One slice: it has no such place.

    A cut runs down, or slanted a little; it passes little ink, at a place that is narrow beside what lies left and right of it.
    """
    mask = part.mask
    best: list[tuple[float, int, float]] = []
    rows = np.arange(mask.shape[0])
    least = max(3, int(0.2 * height))
    for slant in (0.0, 0.25, -0.25, 0.5):
        shift = np.rint((rows - mask.shape[0] / 2) * -slant).astype(int)
        reach = int(np.abs(shift).max()) if len(shift) else 0
        sheared = np.zeros((mask.shape[0], mask.shape[1] + 2 * reach), np.int32)
        columns = np.arange(mask.shape[1])
        sheared[rows[:, None], columns[None] + reach - shift[:, None]] = mask
        passed = sheared.sum(axis=0).astype(np.float64)
        for x in range(least, mask.shape[1] - least):
            at = x + reach
            left, right = passed[max(0, at - int(0.5 * height)) : at].max(), passed[at + 1 : at + 1 + int(0.5 * height)].max()
            if passed[at] <= 0.6 * min(left, right) and passed[at] == passed[at - 2 : at + 3].min():
                best.append((float(passed[at]) + 0.3 * abs(slant) * height * 0.2, x, slant))
    best.sort()
    cuts: list[tuple[int, float]] = []
    for _, x, slant in best:
        if len(cuts) < most - 1 and all(abs(x - other) >= 0.25 * height for other, _ in cuts):
            cuts.append((x, slant))
    if not cuts:
        return [part]
    cuts.sort()
    owner = np.zeros(mask.shape, np.int8)
    for x, slant in cuts:
        owner += np.arange(mask.shape[1])[None] >= (x + np.rint((rows - mask.shape[0] / 2) * -slant))[:, None]
    found = []
    for number in range(len(cuts) + 1):
        own = mask & (owner == number)
        if own.any():
            found.append(_cropped(part, own, float(own.sum()) / max(1, mask.sum())))
    return found


def _cropped(part: Part, own: NDArray[np.bool_], share: float) -> Part:
    y, x = np.flatnonzero(own.any(axis=1)), np.flatnonzero(own.any(axis=0))
    box = own[y[0] : y[-1] + 1, x[0] : x[-1] + 1]
    top, left = part.top + int(y[0]), part.left + int(x[0])
    return Part(top, top + box.shape[0], left, left + box.shape[1], np.ascontiguousarray(box), part.ink * share, part.borders)
