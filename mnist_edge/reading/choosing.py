"""Which pieces of ink are a digit together, and which are several digits that touch: every way is tried, and the surest one is taken.

A piece may be a digit, a fragment of one, or several. So the pieces that lie near each other form a cluster, each set of them that may be one
digit is an option, and of all ways to use each piece once the one is taken whose options the networks are surest of, weighted by
their ink. It is the over-segmentation of LeCun et al., "Gradient-Based Learning Applied to Document Recognition", 1998, section V,
with a second network for "no digit" where they trained one to refuse.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import log
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mnist_edge.reading.judging import kinds
from mnist_edge.reading.parts import Part, joined, seen, slices

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnist_edge.reading.page import Ink

#: Pixels, uint8, N×1×28×28, ink bright → the probabilities of the digits, N×10.
Answer = Callable[["NDArray[np.uint8]"], "NDArray[np.float64]"]

#: Of a cluster, the largest pieces that are tried together; and of how many one digit may consist.
_MOST_IN_CLUSTER, _MOST_IN_DIGIT = 6, 3

#: A piece smaller than this share of a digit's height is a fragment or a speck.
SMALL = 0.35

#: A slice has to be a digit at least so surely, and at least so high, as a share of the whole; and all slices of a whole so surely on average.
_CUT, _CUT_HEIGHT, _CUT_SURE = 0.2, 0.62, 0.75

#: A digit is at most so wide, as a share of the height of the page's digits. When so many sets of slices have been tried, the rest is cut into few.
_WIDEST, _MOST_SPANS = 1.6, 5_000

#: What is a sign at least so surely stays whole, whatever its pieces look like: those of % are 0, 1 and 0.
_SIGN = 0.7

#: How sure it is that a speck may be left out.
_SPECK = 0.5


class Character(NamedTuple):
    """A part of the page, and what the networks take it for.

    Attributes:
        part: where it is.
        pixels: uint8, 28×28, as the networks saw it.
        digit: the likeliest digit.
        probability: of that digit, if it is one.
        kinds: how likely it is a digit, a sign, or something else.
        cut: whether it was cut from a piece of several digits.
    """

    part: Part
    pixels: NDArray[np.uint8]
    digit: int
    probability: float
    kinds: tuple[float, float, float]
    cut: bool = False

    @property
    def is_bare(self) -> bool:
        """Whether it is a single stroke, as a 1 may be, but also what is left of a rule, a frame or the sheet's edge."""
        return (self.digit == 1 or self.part.height >= 5 * self.part.width) and self.part.height >= 2 * self.part.width

    @property
    def strength(self) -> float:
        """The mean strength of its ink."""
        return self.part.ink / max(1.0, float(self.part.mask.sum()))

    @property
    def sure(self) -> float:
        """How likely it is this digit."""
        return self.probability * self.kinds[0]

    @property
    def worth(self) -> float:
        """How likely this part is one character: a digit, or a sign, or, with less weight, since fragments are, something else.

        A clear sign counts in full, for its pieces may look like digits.
        """
        if self.kinds[1] >= _SIGN:
            return 1.0
        return max(self.sure, 0.7 * self.kinds[1], 0.3 * self.kinds[2], 1e-6)


def ask(ink: Ink, parts: Sequence[Part], answer: Answer, cut: bool = False) -> list[Character]:
    """Show parts to the networks, all in one batch."""
    if not parts:
        return []
    pixels = np.stack([seen(ink, part) for part in parts])
    return named(parts, pixels, answer, cut)


def named(parts: Sequence[Part], pixels: NDArray[np.uint8], answer: Answer, cut: bool = False) -> list[Character]:
    """Return characters for parts and their pixels, uint8, N×28×28."""
    probabilities, kind = answer(pixels[:, None]), kinds(pixels)
    digits = probabilities.argmax(axis=1)
    return [
        Character(part, pixels[i], int(digits[i]), float(probabilities[i, digits[i]]), tuple(kind[i].tolist()), cut)
        for i, part in enumerate(parts)
    ]


def find_characters(ink: Ink, parts: list[Part], height: float, answer: Answer) -> list[Character]:
    """Return the page's characters, in no order; `height` is that of its digits, in pixels."""
    neighbours = _neighbours(parts, height)
    small = [max(part.height, part.width) < SMALL * height for part in parts]
    sets = []
    for cluster in _clusters(neighbours):
        members = sorted(cluster, key=lambda i: -parts[i].ink)[:_MOST_IN_CLUSTER]
        options = [one for one in _subsets(members, neighbours) if not all(small[i] for i in one)]
        if options:
            sets.append((members, options))
    together = [joined([parts[i] for i in sorted(one)]) for _, options in sets for one in options]
    asked = iter(ask(ink, together, answer))
    found: list[Character] = []
    for members, options in sets:
        found += _best_cover(members, [(one, next(asked)) for one in options], parts, small)
    return _split(ink, found, height, answer)


def _neighbours(parts: list[Part], height: float) -> list[set[int]]:
    """Return, for each part, those that may belong to the same digit."""
    top, bottom, left, right = (
        np.array([getattr(part, side) for part in parts], np.float64) for side in ("top", "bottom", "left", "right")
    )
    order = np.argsort(left, kind="stable")
    top, bottom, left, right = (side[order] for side in (top, bottom, left, right))
    last = np.searchsorted(left, right + 0.15 * height, "right")
    count = np.maximum(last - np.arange(len(parts)) - 1, 0)
    a = np.repeat(np.arange(len(parts)), count)
    b = np.arange(count.sum()) - np.repeat(count.cumsum() - count, count) + a + 1
    high, wide = bottom - top, right - left
    gap_x = np.maximum(left[b] - right[a], left[a] - right[b])
    gap_y = np.maximum(top[b] - bottom[a], top[a] - bottom[b])
    whole_y = np.maximum(bottom[a], bottom[b]) - np.minimum(top[a], top[b])
    whole_x = np.maximum(right[a], right[b]) - np.minimum(left[a], left[b])
    tall = np.maximum(np.maximum(high[a], high[b]), 0.8 * height)
    above = (gap_x <= -0.3 * np.minimum(wide[a], wide[b])) & (gap_y <= 0.3 * tall) & (whole_y <= 1.5 * tall)
    short = np.minimum(high[a], high[b]) < 0.65 * height
    beside = short & (gap_x <= 0.15 * height) & (gap_y <= 0.1 * height) & (whole_x <= 1.3 * height) & (whole_y <= 1.4 * tall)
    found: list[set[int]] = [set() for _ in parts]
    for one, other in zip(order[a[above | beside]].tolist(), order[b[above | beside]].tolist(), strict=True):
        found[one].add(other)
        found[other].add(one)
    return found


def _clusters(neighbours: list[set[int]]) -> list[list[int]]:
    """Return the parts that are connected by being neighbours."""
    left, found = set(range(len(neighbours))), []
    while left:
        first = min(left)
        left.discard(first)
        cluster, waiting = [first], [first]
        while waiting:
            near = neighbours[waiting.pop()] & left
            left -= near
            cluster += near
            waiting += near
        found.append(cluster)
    return found


def _subsets(members: list[int], neighbours: list[set[int]]) -> list[frozenset[int]]:
    """Return the connected sets of at most so many members as a digit may consist of, smaller ones first."""
    found = [frozenset([one]) for one in members]
    newest = set(found)
    for _ in range(_MOST_IN_DIGIT - 1):
        newest = {one | {other} for one in newest for other in members if other not in one and neighbours[other] & one}
        found += sorted(newest, key=sorted)
    return found


def _best_cover(
    members: list[int], options: list[tuple[frozenset[int], Character]], parts: list[Part], small: list[bool]
) -> list[Character]:
    """Return the characters of the surest way to use each member once."""
    total = max(1.0, sum(parts[i].ink for i in members))
    best: tuple[float, list[Character]] = (-np.inf, [])

    def go(left: frozenset[int], score: float, chosen: list[Character]) -> None:
        nonlocal best
        if not left:
            if score > best[0]:
                best = (score, chosen)
            return
        first = min(left)
        if small[first]:
            go(left - {first}, score + parts[first].ink / total * log(_SPECK), chosen)
        for one, character in options:
            if first in one and one <= left:
                weight = sum(parts[i].ink for i in one) / total
                go(left - one, score + weight * log(character.worth), [*chosen, character])

    go(frozenset(members), 0.0, [])
    return best[1]


def _split(ink: Ink, found: list[Character], height: float, answer: Answer) -> list[Character]:
    """Cut what may be several digits that touch, where the networks are surer of them than of one."""
    wide: list[tuple[int, float]] = []
    for i, character in enumerate(found):
        part = character.part
        aspect = part.width / max(part.height, 0.7 * height)
        if part.height >= 0.5 * height and (aspect > 1.25 or (aspect > 0.75 and character.sure < 0.9)):
            wide.append((i, aspect))
    result, asked = [[character] for character in found], 0
    for i, _ in sorted(wide, key=lambda one: one[1]):  # the narrowest first: they are read best
        part = found[i].part
        pieces = slices(part, min(part.height, 1.3 * height), few=asked >= _MOST_SPANS)
        spans = _spans(pieces, _WIDEST * height)
        asked += len(spans)
        characters = ask(ink, [joined(pieces[a:b]) for a, b in spans], answer, cut=True)
        result[i] = _best_path(dict(zip(spans, characters, strict=True)), found[i], len(pieces))
    return [character for characters in result for character in characters]


def _spans(pieces: list[Part], widest: float) -> list[tuple[int, int]]:
    """Return the slices that may be a digit together, as first and last one, this exclusive: not all, and not more than a digit is wide."""
    ends = range(1, len(pieces) + 1)
    return [
        (a, b)
        for b in ends
        for a in range(b)
        if b - a < len(pieces) and (b - a == 1 or max(one.right for one in pieces[a:b]) - min(one.left for one in pieces[a:b]) <= widest)
    ]


def _best_path(spans: dict[tuple[int, int], Character], whole: Character, length: int) -> list[Character]:
    """Return the surest way through the slices, each of them once; `whole` is all of them, and stays if there is none."""
    best: list[tuple[float, list[Character]]] = [(0.0, [])]
    for end in range(1, length + 1):
        ways: list[tuple[float, list[Character]]] = [(-np.inf, [])]
        for start in range(end):
            character = spans.get((start, end))
            if character and character.sure >= _CUT and character.part.height >= _CUT_HEIGHT * whole.part.height:
                score, before = best[start]
                ways.append((score + character.part.ink / max(1.0, whole.part.ink) * log(character.worth), [*before, character]))
        best.append(max(ways, key=lambda way: way[0]))
    score, cut = best[length]
    strokes = sum(one.is_bare for one in cut)  # of w and m, cut
    if score <= log(whole.worth) or 2 * strokes > len(cut) or np.mean([one.sure for one in cut]) < _CUT_SURE:
        return [whole]
    return cut
