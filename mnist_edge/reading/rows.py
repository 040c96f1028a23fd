"""Characters → rows from top to bottom, each from left to right, and the words in a row."""

from __future__ import annotations

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
    order = sorted(characters, key=lambda one: one.part.left + one.part.right)
    rows: list[list[Character]] = []
    for character in order:
        part = character.part
        x, y = (part.left + part.right) / 2, (part.top + part.bottom) / 2
        best, nearest = _NEAR + 0.25, None
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
    rows = _merged(rows, height)
    return sorted(rows, key=lambda row: float(np.mean([one.part.top + one.part.bottom for one in row])))


def _merged(rows: list[list[Character]], height: float) -> list[list[Character]]:
    """Join rows that run along the same line and share no place on it: a speck beside a row may have begun a second one."""
    rows = sorted(rows, key=len, reverse=True)
    result: list[list[Character]] = []
    for row in rows:
        for other in result:
            if _is_same_row(row, other, height):
                other += row
                other.sort(key=lambda one: one.part.left + one.part.right)
                break
        else:
            result.append(row)
    return result


def _is_same_row(row: list[Character], other: list[Character], height: float) -> bool:
    xs, ys = (np.array([(getattr(one.part, a) + getattr(one.part, b)) / 2 for one in other]) for a, b in (("left", "right"), ("top", "bottom")))
    for one in row:
        x, y = (one.part.left + one.part.right) / 2, (one.part.top + one.part.bottom) / 2
        if abs(y - float(np.interp(x, xs, ys))) > 0.4 * max(height, one.part.height):
            return False
        near = other[int(np.abs(xs - x).argmin())].part
        if min(near.right, one.part.right) - max(near.left, one.part.left) > 0.5 * min(near.width, one.part.width):
            return False
    return True


def _runs_at(row: list[Character], x: float, height: float) -> float:
    """Return where a row would run at `x`; its slope is drawn to 0 while it is short."""
    parts = [one.part for one in row[-_LAST:]]
    xs = np.array([(part.left + part.right) / 2 for part in parts])
    ys = np.array([(part.top + part.bottom) / 2 for part in parts])
    middle = float(np.average(ys, weights=[part.height for part in parts]))
    slope = float(((xs - xs.mean()) * (ys - ys.mean())).sum() / (((xs - xs.mean()) ** 2).sum() + (3 * height) ** 2))
    return middle + slope * (x - float(xs.mean()))


def words(row: list[Character], height: float) -> list[list[Character]]:
    """Part a row where a gap is wide, and wider than most of the row's gaps."""
    gaps = [right.part.left - left.part.right for left, right in zip(row, row[1:], strict=False)]
    least = max(0.6 * height, 2 * float(np.median(gaps)) if gaps else 0)
    found = [row[:1]]
    for gap, character in zip(gaps, row[1:], strict=True):
        if gap > least:
            found.append([])
        found[-1].append(character)
    return found
