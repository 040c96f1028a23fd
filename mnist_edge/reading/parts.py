"""Ink → parts that may be digits, or fragments of one, or several that touch; and each of them as the network would see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from mnist_edge.image.ink import quantile
from mnist_edge.image.strokes import FINE, cut_out, fit, place, stroke_width, thicken

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mnist_edge.image.components import Components
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


def parts_of(pieces: Components, chosen: NDArray[np.intp]) -> list[Part]:
    """Return the chosen pieces as parts."""
    borders = pieces.borders
    found = []
    for one in chosen.tolist():
        top, bottom, left, right = (int(side[one]) for side in (pieces.top, pieces.bottom, pieces.left, pieces.right))
        found.append(Part(top, bottom, left, right, pieces.mask_of(one), float(pieces.ink[one]), int(borders[one])))
    return found


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


def seen(ink: Ink, part: Part) -> NDArray[np.uint8]:
    """Return the part as MNIST would have placed it, uint8, 28×28, by the steps that a single digit goes through."""
    height, width = ink.strength.shape
    top, bottom = max(0, part.top - 2), min(height, part.bottom + 2)
    left, right = max(0, part.left - 2), min(width, part.right + 2)
    mask = np.zeros((bottom - top, right - left), np.bool_)
    mask[part.top - top : part.bottom - top, part.left - left : part.right - left] = part.mask
    strength = ink.strength[top:bottom, left:right]
    level = quantile(strength[mask], 0.6) // 2
    drawing = cut_out(strength, mask, level, (part.top - top, part.bottom - top, part.left - left, part.right - left))
    return place(fit(thicken(drawing, stroke_width(drawing) / FINE)))


#: A part is cut into at most so many slices for each digits' height in its width; cuts keep such a distance, as a share of that height.
_SLICES, _APART = 6, 0.1

#: Where a page has too many wide parts, a part is cut into at most so many slices, and cuts keep such a distance.
_FEW, _FAR_APART = 4, 0.25


def slices(part: Part, height: float, few: bool = False) -> list[Part]:
    """Cut a part into slices, at the places where digits may touch; `height` is that of digits around it. One slice: it has no such place.
    With `few`, it is cut only at the likeliest of them.

    A cut runs down, or slanted a little; it passes little ink, at a place that is narrow beside what lies left and right of it.
    """
    mask = part.mask
    high, wide = mask.shape
    from_middle = np.arange(high) - high / 2
    columns, near, edge = np.arange(wide), max(1, int(0.5 * height)), max(3, int(0.2 * height))
    places: list[tuple[float, int, NDArray[np.intp]]] = []
    for slant in (0.0, 0.25, -0.25, 0.5):
        shift = np.rint(-slant * from_middle).astype(np.intp)
        reach = int(np.abs(shift).max())
        sheared = np.zeros((high, wide + 2 * reach), np.int32)
        sheared[np.arange(high)[:, None], columns + reach - shift[:, None]] = mask
        passed = sheared.sum(axis=0)
        before = sliding_window_view(np.pad(passed, (near, 0)), near).max(axis=1)[:-1]
        behind = sliding_window_view(np.pad(passed, (0, near)), near).max(axis=1)[1:]
        narrowest = sliding_window_view(np.pad(passed, 2, mode="edge"), 5).min(axis=1)
        fits = (passed <= 0.6 * np.minimum(before, behind)) & (passed == narrowest)
        at = np.flatnonzero(fits[reach + edge : reach + wide - edge]) + edge
        places += [(float(passed[x + reach]) + 0.06 * abs(slant) * height, int(x), shift) for x in at]
    most, apart = (_FEW, _FAR_APART) if few else (round(_SLICES * wide / height), _APART)
    cuts: list[tuple[int, NDArray[np.intp]]] = []
    for _, x, shift in sorted(places, key=lambda place: place[:2]):
        if len(cuts) < most - 1 and all(abs(x - other) >= apart * height for other, _ in cuts):
            cuts.append((x, shift))
    owner = np.zeros(mask.shape, np.int16)
    for x, shift in cuts:
        owner += columns >= (x + shift)[:, None]
    owned = [mask & (owner == number) for number in range(len(cuts) + 1)]
    return [_cropped(part, own) for own in owned if own.any()]


def _cropped(part: Part, own: NDArray[np.bool_]) -> Part:
    y, x = np.flatnonzero(own.any(axis=1)), np.flatnonzero(own.any(axis=0))
    box = own[y[0] : y[-1] + 1, x[0] : x[-1] + 1]
    top, left = part.top + int(y[0]), part.left + int(x[0])
    return Part(
        top,
        top + box.shape[0],
        left,
        left + box.shape[1],
        np.ascontiguousarray(box),
        part.ink * float(box.sum()) / float(part.mask.sum()),
        part.borders,
    )


def pen_width(part: Part) -> float:
    """Return the mean width of a part's strokes, in pixels of the page."""
    return stroke_width(part.mask.astype(np.uint8) * np.uint8(255))
