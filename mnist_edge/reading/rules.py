"""Takes rules, squares and the lines of boxes out of the ink, and leaves the digits that stand on them or cross them whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mnist_edge.image.components import Components, find_components

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: A side of a box is a straight stroke of at least so many digits' heights, and so many times as high as broad.
_SIDE_HEIGHT, _SIDE_SHAPE = 0.5, 4

#: Sides are alike within the first share of a digit's height, and the second of their distance, since a page may be turned a little.
_ALIKE, _TURNED = 0.15, 0.05

#: How far apart they are, in heights: less than the first where two boxes meet, else at least the second; more than the third tells nothing.
_SAME, _NEAR, _FAR = 0.3, 0.8, 20

#: So many alike are sides if each stands on a rule, or hangs from one, and if each joins two.
_ON_ONE_RULE, _BETWEEN_TWO = 4, 2


class Rules(NamedTuple):
    """The pixels of lines, bool, H×W: of those along the rows, and of those along the columns."""

    across: NDArray[np.bool_]
    down: NDArray[np.bool_]


def find_rules(mask: NDArray[np.bool_], least: float) -> Rules:
    """Return lines at least so long, along the rows or the columns: rules, squares, boxes. What crosses them is not part of them."""
    return Rules(_rules(mask, least), _rules(np.ascontiguousarray(mask.T), least).T)


def sides_of_boxes(pieces: Components, rules: Rules, height: float) -> NDArray[np.bool_]:
    """Return which pieces are upright lines too short to be rules: sides of boxes, between two rules, or teeth of a comb, on one.

    `height` is that of the digits. A single stroke is not enough, for it may be a 1; and where there are upright rules as well, as on squared
    paper, the sides are parts of these.
    """
    found = np.zeros(len(pieces), np.bool_)
    strokes = np.flatnonzero((pieces.height >= _SIDE_HEIGHT * height) & (pieces.height >= _SIDE_SHAPE * pieces.width))
    reach = max(3, round(0.08 * height))
    above, below = (_has_rule(pieces, rules.across, strokes, side, reach) for side in ("top", "bottom"))
    top, bottom, left = pieces.top[strokes], pieces.bottom[strokes], pieces.left[strokes]
    for ends, least in ((above & below, _BETWEEN_TWO), (below, _ON_ONE_RULE), (above, _ON_ONE_RULE)):
        own = np.flatnonzero(ends)
        for one in own:
            apart = np.abs(left[own] - left[one])
            alike = apart <= _FAR * height
            for side in (top, bottom):
                alike &= np.abs(side[own] - side[one]) <= _ALIKE * height + _TURNED * apart
            alike &= np.abs((bottom - top)[own] - (bottom - top)[one]) <= _ALIKE * height
            far = apart >= _NEAR * height
            next_to_it = alike & ~far & (apart > _SAME * height)  # 11 and 111; the sides of two boxes may be nearer
            if (
                1 + (alike & far).sum() >= least
                and not next_to_it.any()
                and not _is_squared(rules, top[one], bottom[one], left[one], height)
            ):
                found[strokes[one]] = True
    return found


def _has_rule(pieces: Components, across: NDArray[np.bool_], chosen: NDArray[np.intp], side: str, reach: int) -> NDArray[np.bool_]:
    """Return for each chosen piece whether there is a rule within `reach` of its upper or lower end."""
    touched = np.zeros(len(chosen), np.bool_)
    for i, one in enumerate(chosen):
        end = int(getattr(pieces, side)[one])
        left, right = max(0, int(pieces.left[one]) - reach), int(pieces.right[one]) + reach
        touched[i] = across[max(0, end - reach) : end + reach, left:right].any()
    return touched


def _is_squared(rules: Rules, top: int, bottom: int, left: int, height: float) -> bool:
    """Return whether upright rules run on both sides of a stroke."""
    reach = round(2 * height)
    beside = rules.down[top:bottom, max(0, left - reach) : left], rules.down[top:bottom, left : left + reach]
    return all(bool(one.any()) for one in beside)


def _runs(mask: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp], tuple[int, int]]:
    """Return where the runs of ink in the rows start and end, in the flat order of an array with one more column, and the shape of that array."""
    padded = np.zeros((mask.shape[0], mask.shape[1] + 2), np.int8)
    padded[:, 1:-1] = mask
    change = np.diff(padded, axis=1)
    flat = change.ravel()
    return np.flatnonzero(flat == 1), np.flatnonzero(flat == -1), change.shape


def _run_lengths(mask: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Return for each pixel how many pixels of its row lie beside it without a gap, itself counted; 0 outside the mask."""
    start, end, shape = _runs(mask)
    steps = np.zeros(shape[0] * shape[1], np.int32)
    steps[start], steps[end] = end - start, start - end
    return steps.cumsum(dtype=np.int32).reshape(shape)[:, :-1]


def _bridged(mask: NDArray[np.bool_], gap: int) -> NDArray[np.bool_]:
    """Return the mask with gaps in its rows closed that are no longer than `gap`."""
    start, end, shape = _runs(mask)
    steps = np.zeros(shape[0] * shape[1], np.int8)
    steps[start], steps[end] = 1, -1
    close = (start[1:] - end[:-1] <= gap) & (start[1:] // shape[1] == end[:-1] // shape[1])
    steps[start[1:][close]] = 0
    steps[end[:-1][close]] = 0
    return steps.reshape(shape).cumsum(axis=1, dtype=np.int8)[:, :-1] > 0


def _rules(mask: NDArray[np.bool_], least: float) -> NDArray[np.bool_]:
    """Return the pixels of lines that run along the rows, straight or bent a little, at least so long.

    A line is flat: from each of its pixels it is much farther along the row than across it, dots and dashes taken as one. A stroke
    that crosses it parts it, unless it is a line itself; so what lies farther along on the same curve belongs to it too.
    """
    unit = max(mask.shape) / 400
    closed = _bridged(mask, max(2, round(unit)))
    thick = np.ascontiguousarray(_run_lengths(np.ascontiguousarray(closed.T)).T)
    flat = closed & (_run_lengths(closed) >= np.maximum(3 * thick, 2 * unit)) & (thick <= max(3, least / 14))
    crossed = closed & (thick >= 12 * unit)  # by a long stroke, such as the side of a box
    joined = _bridged(flat, max(3, round(3 * unit))) | (crossed & _bridged(flat, round(10 * unit)))
    pieces = find_components(joined, closed.view(np.uint8))
    found = np.zeros_like(mask)
    long = np.flatnonzero((pieces.width >= least) & (pieces.height <= 0.3 * pieces.width + 4))
    for one in long[np.argsort(-pieces.width[long])][:300]:
        top, bottom, left, right = (int(side[one]) for side in (pieces.top, pieces.bottom, pieces.left, pieces.right))
        own = flat[top:bottom, left:right] & pieces.mask_of(int(one))
        _take_line(own, top, left, mask, thick, flat, found)
    return found & mask


def _take_line(
    own: NDArray[np.bool_],
    top: int,
    left: int,
    mask: NDArray[np.bool_],
    thick: NDArray[np.int32],
    flat: NDArray[np.bool_],
    found: NDArray[np.bool_],
) -> None:
    """Mark the pixels of the line that a flat piece is part of, if it is thin, even and without great gaps."""
    y, x = np.nonzero(own)
    width = own.shape[1]
    across = float(np.median(thick[y + top, x + left]))
    at = x / width * 2 - 1
    near = np.ones(len(x), np.bool_)
    fit = np.zeros(3)
    for tolerance in (4.0, 2.0, 1.0):
        if near.sum() < 8:
            return
        fit = np.polynomial.polynomial.polyfit(at[near], y[near], 2)
        near = np.abs(y - np.polynomial.polynomial.polyval(at, fit)) <= tolerance * across + 1.5
    covered = len(np.unique(x[near]))
    if covered < 0.6 * width or width < 14 * across:
        return
    columns = np.arange(max(0, left - width), min(mask.shape[1], left + 2 * width))
    centre = np.polynomial.polynomial.polyval((columns - left) / width * 2 - 1, fit) + top
    half = round(across + 1.5)
    for down in range(-half, half + 1):
        rows = np.floor(centre + down + 0.5).astype(np.intp)  # not rint, which would skip every other row
        inside = (rows >= 0) & (rows < mask.shape[0])
        r, c = rows[inside], columns[inside]
        beyond = (c < left) | (c >= left + width)
        found[r, c] |= (thick[r, c] <= 1.7 * across + 1) & (flat[r, c] | ~beyond)
