"""A table of measures with limits that digits keep within and pictures of nothing do not."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from math import inf
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mnist_edge.image.ink import TINY, grown, quantile
from mnist_edge.image.strokes import strokes_met

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnist_edge.image.digit import Found


class _Measures:
    """Measures of the chosen ink; `_LIMITS` says what each one is for."""

    def __init__(self, found: Found) -> None:
        self.found, self.pieces, self.chosen = found, found.pieces, found.chosen
        self.shorter_side = min(found.pieces.shape)
        self.top, self.bottom, self.left, self.right = found.box
        self.digit = found.mask[self.top : self.bottom, self.left : self.right]
        self.ink = quantile(found.strength[found.mask], 0.6)
        strongest = np.flatnonzero(self.chosen)[self.pieces.ink[self.chosen].argmax()]
        self.length = int(max(self.pieces.height[strongest], self.pieces.width[strongest]))

    def paper(self) -> float:
        """How strong the median pixel of the paper is, as a share of the ink's strength."""
        return quantile(self.found.strength[~self.found.mask], 0.5) / self.ink

    def likeness(self) -> float:
        """How far neighbouring pixels are alike: the mean of their correlations along rows and columns, 0 for noise."""
        plane = self.found.plane
        values = plane.astype(np.float64) - plane.mean()
        spread = max(1e-9, float((values**2).mean()))
        return float(((values[1:] * values[:-1]).mean() + (values[:, 1:] * values[:, :-1]).mean()) / (2 * spread))

    @cached_property
    def _around(self) -> NDArray[np.bool_]:
        """A ring around the ink, five and six pixels away, in the box with six pixels more on every side."""
        around = grown(self.digit, 6)
        around[2:-2, 2:-2] &= ~grown(self.digit, 4)
        return around

    def dark_around(self) -> float:
        """The share of the ring that is as dark as the ink."""
        plane = np.pad(self.found.plane, 6, constant_values=255)[self.top : self.bottom + 12, self.left : self.right + 12]
        return float(np.mean(plane[self._around] <= quantile(self.found.plane[self.found.mask], 0.6)))

    def strength_around(self) -> float:
        """How strong the median pixel of the ring is, as a share of the ink's strength."""
        strength = np.pad(self.found.strength, 6)[self.top : self.bottom + 12, self.left : self.right + 12]
        return quantile(strength[self._around], 0.5) / self.ink

    @cached_property
    def _met(self) -> tuple[float, float]:
        return strokes_met(self.digit)

    def fewer_strokes(self) -> float:
        """How many strokes a row meets, or a column if those are fewer."""
        return min(self._met)

    def more_strokes(self) -> float:
        """How many strokes a row meets, or a column if those are more."""
        return max(self._met)

    def longest(self) -> float:
        """The longer side of the strongest piece, in pixels."""
        return self.length

    def longest_share(self) -> float:
        """The same as a share of the picture's shorter side."""
        return self.length / self.shorter_side

    def pieces_chosen(self) -> float:
        """How many pieces make up the digit."""
        return int(self.chosen.sum())

    def times_other_ink(self) -> float:
        """The digit's ink divided by the mean ink of the five largest other pieces; infinite if there are few pieces."""
        others = np.sort(self.pieces.ink[~self.chosen & (self.pieces.borders == 0)])[-5:]
        if len(self.pieces) < 20 or not len(others):
            return inf
        return float(self.pieces.ink[self.chosen].sum() / others.mean())

    def reaches_in(self) -> float:
        """1 if the ink touches the border and does not cover the picture's middle, else 0."""
        height, width = self.pieces.shape
        central = self.left <= width / 2 <= self.right and self.top <= height / 2 <= self.bottom
        return float(self.pieces.borders[self.chosen].any() and not central)

    def flatness(self) -> float:
        """Width divided by height."""
        return (self.right - self.left) / (self.bottom - self.top)

    def pen(self) -> float:
        """The mean width of the strokes, in pixels of the 20×20 box."""
        return self.found.pen


class _Limit(NamedTuple):
    """One line of the table.

    Attributes:
        measure: what is measured.
        least, most: the limits for a digit; beyond them, it is not one.
        otherwise: what it is instead.
        seen: the extremes that were measured on digits (photos, scans, hard pictures, semeion, optdigits, MNIST), and on pictures
            without any: noise of many kinds, bare paper in all sorts of light, squared paper, fingers. A limit lies between them.
    """

    measure: Callable[[_Measures], float]
    least: float
    most: float
    otherwise: str
    seen: str


_PATTERN, _SPECKS = "noise or a pattern", "specks"
_TOO_BROAD = "a filled patch, or a pen too broad for the picture"

#: For pictures of any size, in the order in which they are checked.
_STROKES = (
    _Limit(_Measures.fewer_strokes, 0, 3, _PATTERN, "digits up to 2.5"),
    _Limit(_Measures.more_strokes, 0, 4.5, _PATTERN, "digits up to 3.7"),
)
_PIECES = (
    _Limit(_Measures.pieces_chosen, 1, 12, _SPECKS, "digits up to 11"),
    _Limit(_Measures.times_other_ink, 8, inf, _SPECKS, "digits from 13"),
)
_SHAPE = (
    _Limit(_Measures.flatness, 0, 3, "a line", "MNIST's digits up to 2, one of optdigits 3"),
    _Limit(_Measures.pen, 0, 7, "a filled patch", "digits up to 5.9, two of optdigits 6.9"),
)

#: For pictures of at most `TINY` pixels, whose strokes break and reach the border.
_TINY_LIMITS = (
    _Limit(_Measures.paper, 0, 0.15, "paper or noise", "digits up to 0.10"),
    _Limit(_Measures.likeness, 0.2, inf, "noise", "MNIST's digits, at 8×8, from 0.22 in 99 of 100"),
    *_STROKES,
    _Limit(_Measures.longest, 5, inf, _SPECKS, "digits from 7"),
    *_PIECES,
    *_SHAPE,
)

#: For larger ones.
_LIMITS = (
    _Limit(_Measures.paper, 0, 0.2, "paper or noise", "digits up to 0.19; noise usually 0.3"),
    _Limit(_Measures.dark_around, 0, 0.15, _TOO_BROAD, "digits usually up to 0.04, two up to 0.15"),
    _Limit(_Measures.strength_around, 0, 0.18, "a shadow", "digits up to 0.17, out of focus; shadows from 0.18"),
    *_STROKES,
    _Limit(_Measures.longest, 8, inf, _SPECKS, "digits from 28"),
    _Limit(_Measures.longest_share, 0.04, inf, _SPECKS, "digits from 0.09"),
    *_PIECES,
    _Limit(_Measures.reaches_in, 0, 0, "something that reaches in from the border", "no digit; fingers do"),
    *_SHAPE,
)


def why_no_digit(found: Found) -> str | None:
    """Return what was found if it is not a digit, None if it may be one."""
    measures = _Measures(found)
    for limit in _TINY_LIMITS if max(found.pieces.shape) <= TINY else _LIMITS:
        if not limit.least <= limit.measure(measures) <= limit.most:
            return limit.otherwise
    return None
