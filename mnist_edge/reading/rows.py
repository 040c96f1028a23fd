"""Characters → rows from top to bottom, each from left to right, and the words in a row."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mnist_edge.reading.choosing import Character

#: A character belongs to a row if its middle is at most this far from where the row would run, in heights of digits.
_NEAR = 0.55

#: How many of a row's last characters say where it runs.
_LAST = 5


def find_rows(characters: list[Character], height: float) -> list[list[Character]]:
    """Return the rows of characters; `height` is that of most digits.

    From left to right, each character joins the row that runs nearest to its middle, or begins one. Where a row runs is a line through
    its last few characters, so that it may slope, and bend.
    """
    rows: list[list[Character]] = []
    for character in sorted(characters, key=lambda one: one.part.left + one.part.right):
        part = character.part
        x, y = _middle(character)
        best, nearest = np.inf, None
        for row in rows:
            last = row[-1].part
            off = abs(y - _runs_at(row, x, height)) / max(height, min(part.height, last.height))
            if off > _NEAR:
                continue
            off += min(0.25, 0.05 * max(0.0, x - (last.left + last.right) / 2) / height)  # of two rows the nearer
            if off < best:
                best, nearest = off, row
        if nearest is None:
            rows.append([character])
        else:
            nearest.append(character)
    return sorted(_merged(rows, height), key=lambda row: sum(_middle(one)[1] for one in row) / len(row))


def _middle(one: Character) -> tuple[float, float]:
    return (one.part.left + one.part.right) / 2, (one.part.top + one.part.bottom) / 2


def _runs_at(row: list[Character], x: float, height: float) -> float:
    """Return where a row would run at `x`; its slope is drawn to 0 while it is short."""
    last = row[-_LAST:]
    xs, ys = [_middle(one)[0] for one in last], [_middle(one)[1] for one in last]
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    middle: float = sum(y * one.part.height for y, one in zip(ys, last, strict=True)) / sum(one.part.height for one in last)
    slope = sum((a - mean_x) * (b - mean_y) for a, b in zip(xs, ys, strict=True))
    return middle + slope / (sum((a - mean_x) ** 2 for a in xs) + (3 * height) ** 2) * (x - mean_x)


def _merged(rows: list[list[Character]], height: float) -> list[list[Character]]:
    """Join rows that run along the same line and share no place on it: a speck beside a row may have begun a second one."""
    result: list[list[Character]] = []
    for row in sorted(rows, key=len, reverse=True):
        for other in result:
            if _is_same_row(row, other, height):
                other += row
                other.sort(key=lambda one: one.part.left + one.part.right)
                break
        else:
            result.append(row)
    return result


def _is_same_row(row: list[Character], other: list[Character], height: float) -> bool:
    xs, ys = zip(*(_middle(one) for one in other), strict=True)
    if not min(ys) - height < _middle(row[0])[1] < max(ys) + height:
        return False
    for one in row:
        x, y = _middle(one)
        if abs(y - float(np.interp(x, xs, ys))) > 0.4 * max(height, one.part.height):
            return False
        near = min(other, key=lambda known: abs(_middle(known)[0] - x)).part
        if min(near.right, one.part.right) - max(near.left, one.part.left) > 0.5 * min(near.width, one.part.width):
            return False
    return True


def words(row: list[Character], height: float) -> list[list[Character]]:
    """Part a row where a gap is wide, and wider than most of the row's gaps."""
    gaps = [right.part.left - left.part.right for left, right in pairwise(row)]
    least = max(0.6 * height, 2 * float(np.median(gaps)) if gaps else 0)
    found = [row[:1]]
    for gap, character in zip(gaps, row[1:], strict=True):
        if gap > least:
            found.append([])
        found[-1].append(character)
    return found
