"""Connected pieces of ink, with numpy alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Components(NamedTuple):
    """The pieces of a mask: pixels that touch at a side or a corner belong to one piece.

    Attributes:
        labels: the piece of each run; a run is a stretch of ink within a row.
        rows, starts, ends: int64, where each run lies; columns from `starts` up to, but without, `ends`.
        shape: of the mask.
        top, bottom, left, right: int64, the box of each piece; `bottom` and `right` are one beyond it.
        ink: int64, the sum of each piece's strength.
        order, edges: the runs piece by piece; those of piece `i` are ``order[edges[i]:edges[i + 1]]``.
    """

    labels: NDArray[np.intp]
    rows: NDArray[np.int64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    shape: tuple[int, int]
    top: NDArray[np.int64]
    bottom: NDArray[np.int64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    ink: NDArray[np.int64]
    order: NDArray[np.intp]
    edges: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.ink)

    @property
    def height(self) -> NDArray[np.int64]:
        """The height of each piece's box."""
        return self.bottom - self.top

    @property
    def width(self) -> NDArray[np.int64]:
        """The width of each piece's box."""
        return self.right - self.left

    @property
    def borders(self) -> NDArray[np.int64]:
        """How many of the picture's four borders each piece touches."""
        sides = (self.top == 0, self.left == 0, self.bottom == self.shape[0], self.right == self.shape[1])
        touched: NDArray[np.int64] = np.sum(sides, axis=0, dtype=np.int64)
        return touched

    def mask(self, chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return the mask of the chosen pieces; `chosen` has one value for each piece."""
        runs = chosen[self.labels]
        steps = np.zeros((self.shape[0], self.shape[1] + 1), np.int8)
        steps[self.rows[runs], self.starts[runs]] += 1
        steps[self.rows[runs], self.ends[runs]] -= 1
        return steps.cumsum(axis=1, dtype=np.int8)[:, :-1] > 0

    def mask_of(self, *pieces: int) -> NDArray[np.bool_]:
        """Return the mask of a few pieces, cut to the box around them."""
        runs = np.concatenate([self.order[self.edges[piece] : self.edges[piece + 1]] for piece in pieces])
        top, left = min(self.top[list(pieces)]), min(self.left[list(pieces)])
        height, width = max(self.bottom[list(pieces)]) - top, max(self.right[list(pieces)]) - left
        steps = np.zeros((height, width + 1), np.int8)
        steps[self.rows[runs] - top, self.starts[runs] - left] += 1
        steps[self.rows[runs] - top, self.ends[runs] - left] -= 1
        return steps.cumsum(axis=1, dtype=np.int8)[:, :-1] > 0


def find_components(mask: NDArray[np.bool_], strength: NDArray[np.uint8]) -> Components:
    """Find the pieces of a mask, H×W; `strength` is summed up as their ink.

    Runs of neighbouring rows that touch are joined, and each run takes the smallest number that it is joined to, until
    nothing changes (after He, Chao and Suzuki, "A Run-Based Two-Scan Labeling Algorithm", 2008, with whole arrays for scans).
    """
    height, width = mask.shape
    padded = np.zeros((height, width + 2), np.int8)
    padded[:, 1:-1] = mask
    change = np.diff(padded, axis=1).ravel()
    stride = width + 1
    start, end = np.flatnonzero(change == 1), np.flatnonzero(change == -1)
    # runs lie in reading order, so those of the next row that touch one are a range
    first, last = np.searchsorted(end, start + stride), np.searchsorted(start, end + stride, "right")
    count = np.maximum(last - first, 0)
    above = np.repeat(np.arange(len(start)), count)
    below = np.arange(count.sum()) - np.repeat(count.cumsum() - count - first, count)
    labels = _join(len(start), above, below)
    rows = start // stride
    starts, ends = start - rows * stride, end - rows * stride
    if not len(labels):
        return Components(
            labels,
            rows,
            starts,
            ends,
            (height, width),
            top=rows,
            bottom=rows,
            left=rows,
            right=rows,
            ink=rows.astype(np.int64),
            order=labels,
            edges=np.zeros(1, np.intp),
        )
    pieces = int(labels.max()) + 1
    total = np.zeros((height, width + 1), np.int32)
    np.cumsum(strength, axis=1, out=total[:, 1:])
    ink = np.bincount(labels, total[rows, ends] - total[rows, starts], pieces).astype(np.int64)
    order = np.argsort(labels, kind="stable")
    edges = np.searchsorted(labels[order], np.arange(pieces))
    return Components(
        labels,
        rows,
        starts,
        ends,
        (height, width),
        top=np.minimum.reduceat(rows[order], edges),
        bottom=np.maximum.reduceat(rows[order], edges) + 1,
        left=np.minimum.reduceat(starts[order], edges),
        right=np.maximum.reduceat(ends[order], edges),
        ink=ink,
        order=order,
        edges=np.append(edges, len(order)),
    )


def _join(count: int, above: NDArray[np.intp], below: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return a number, counted from 0, for each of `count` runs; runs that the pairs connect get the same number."""
    labels = np.arange(count)
    while True:
        a, b = labels[above], labels[below]
        if (a == b).all():
            break
        smaller = np.minimum(a, b)
        np.minimum.at(labels, a, smaller)
        np.minimum.at(labels, b, smaller)
        while (labels[labels] != labels).any():
            labels = labels[labels]
    return np.unique(labels, return_inverse=True)[1]
