"""A picture of a page → its digits, row by row."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mnist_edge.common.errors import UsageError
from mnist_edge.image.components import Components, find_components
from mnist_edge.image.decode import MAX_PIXELS, Decoded, Picture, decode
from mnist_edge.image.prepare import INKS
from mnist_edge.reading.choosing import SMALL, Answer, Character, find_characters, named
from mnist_edge.reading.page import CLEAR_POLARITY, PAGE_PIXELS, Ink, find_ink, find_plane, typical_height
from mnist_edge.reading.parts import Part, parts_of
from mnist_edge.reading.rows import find_rows, words
from mnist_edge.reading.rules import without_rules

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Of a page with more pieces of ink than this, the upper ones are read.
MOST_PIECES = 1500

#: What is a digit with at least this likelihood is one; below the second value it gets a warning.
IS_DIGIT, IS_SURELY = 0.5, 0.8

#: A page is turned if the networks are at least so much surer of it then, on average over at least so many pieces.
_SURER, _FEWEST = 0.25, 3


class Digit(NamedTuple):
    """A digit on a page.

    Attributes:
        digit: 0 to 9.
        confidence: how likely it is this digit, 0 to 1: the model's probability times how likely it is a digit at all.
        box: left, top, right and bottom, in pixels of the upright picture; right and bottom are one beyond.
        warnings: why it may be wrong; empty if there is no doubt.
    """

    digit: int
    confidence: float
    box: tuple[int, int, int, int]
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the digit as JSON values."""
        return {"digit": self.digit, "confidence": self.confidence, "box": list(self.box), "warnings": list(self.warnings)}


class Reading(NamedTuple):
    """The digits on a page.

    Attributes:
        rows: from top to bottom; in a row the words, from left to right, and in a word its digits. None is empty.
        size: width and height of the upright picture.
        ink: ``dark`` or ``light``; None where there is none.
        turned: by how many degrees, counter-clockwise, the page was turned to be read: 0, 90, 180 or 270.
        picture: uint8, the upright picture, grey or RGB, made smaller where it was large.
        warnings: what a person should know about the page.
    """

    rows: tuple[tuple[tuple[Digit, ...], ...], ...]
    size: tuple[int, int]
    ink: str | None
    turned: int
    picture: NDArray[np.uint8]
    warnings: tuple[str, ...] = ()

    @property
    def digits(self) -> tuple[Digit, ...]:
        """All digits in reading order."""
        return tuple(digit for row in self.rows for word in row for digit in word)

    @property
    def text(self) -> str:
        """The digits, words parted by a space and rows by ``/``."""
        return "/".join(" ".join("".join(str(digit.digit) for digit in word) for word in row) for row in self.rows)

    def doubted(self, change: Callable[[Digit], Digit]) -> Reading:
        """Return the reading with each digit changed by a function."""
        return self._replace(rows=tuple(tuple(tuple(change(digit) for digit in word) for word in row) for row in self.rows))

    def to_json(self) -> dict[str, Any]:
        """Return the reading as JSON values: ``text``, ``rows`` (lists of digits), ``turned`` and ``warnings``."""
        rows = [[digit.to_json() for word in row for digit in word] for row in self.rows]
        return {"text": self.text, "rows": rows, "turned": self.turned, "warnings": list(self.warnings)}


class _Page(NamedTuple):
    """A page as it is being read."""

    ink: Ink
    height: float
    characters: list[Character]
    left_out: int

    @property
    def worth(self) -> float:
        """How much there is to be read, and how surely: of dark and light ink the better one is taken."""
        sure = [one.sure for one in self.characters]
        return sum(one for one in sure if one >= 0.5) * float(np.mean(sure)) if sure else 0.0


def read(picture: Picture, answer: Answer, ink: str = "auto", max_pixels: int = MAX_PIXELS) -> Reading:
    """Read the digits on a page; there may be none.

    `answer` takes pixels, uint8 N×1×28×28, ink bright, and returns the digits' probabilities, N×10. `ink` is ``dark``, ``light`` or
    ``auto``. Raises PictureError if the picture cannot be read, UsageError for an unknown `ink`.
    """
    if ink not in INKS:
        raise UsageError(f"unknown ink {ink!r}; known: {', '.join(INKS)}")
    decoded = decode(picture, max_pixels, PAGE_PIXELS)
    page, turned = _best(decoded, ink, answer)
    if page is None:
        return Reading((), decoded.size, None, 0, decoded.pixels, decoded.warnings)
    rows = [_digits(row, page, decoded, turned) for row in find_rows(page.characters, page.height)]
    notes = decoded.warnings
    if turned:
        notes += (f"the writing is {'upside down' if turned == 180 else 'on its side'}: read after a turn by {turned}° counter-clockwise",)
    if page.left_out:
        notes += (f"more than {MOST_PIECES:,} pieces of ink: the lower {page.left_out:,} are left out",)
    if _is_text(page):
        rows, notes = [], (*notes, "the page holds letters more than digits: nothing is read")
    return Reading(
        tuple(row for row in rows if row), decoded.size, "dark" if page.ink.dark else "light", turned, decoded.pixels, notes
    )


def _best(decoded: Decoded, ink: str, answer: Answer) -> tuple[_Page | None, int]:
    """Return the page in dark or in light ink, and turned or not, whichever reads best."""
    plane, polarity = find_plane(decoded.pixels)
    likelier = polarity < 0
    inks = [ink == "dark"] if ink != "auto" else [likelier] if abs(polarity) >= CLEAR_POLARITY else [likelier, not likelier]
    pages = [_read(found, answer) for found in (find_ink(plane, dark) for dark in inks) if found is not None]
    if not pages:
        return None, 0
    best = max(pages, key=lambda page: page.worth)
    turns = _turns(best, answer)
    if not turns:
        return best, 0
    steps = turns // 90
    return _read(Ink(best.ink.dark, np.rot90(best.ink.strength, steps).copy(), np.rot90(best.ink.mask, steps).copy()), answer), turns


def _read(ink: Ink, answer: Answer) -> _Page:
    pieces, height = _pieces(ink)
    if height == 0:
        return _Page(ink, 0.0, [], 0)
    longer = np.maximum(pieces.height, pieces.width)
    fits = (longer >= 0.12 * height) & (pieces.height <= 4 * height) & (pieces.width <= 15 * height) & (pieces.borders <= 1)
    chosen = np.flatnonzero(fits)
    large = longer[chosen] >= SMALL * height
    left_out = 0
    if large.sum() > MOST_PIECES:
        lowest = np.sort(pieces.top[chosen[large]])[MOST_PIECES]
        left_out = int((pieces.top[chosen[large]] >= lowest).sum())
        chosen = chosen[pieces.top[chosen] < lowest]
    chosen = chosen[np.argsort(-longer[chosen], kind="stable")][: 2 * MOST_PIECES]
    parts = _without_frames(parts_of(pieces, chosen), height)
    return _Page(ink, height, find_characters(ink, parts, height, answer), left_out)


def _pieces(ink: Ink) -> tuple[Components, float]:
    """Return the pieces of ink without rules, and the digits' height; 0 if there are none."""
    longer = max(ink.mask.shape)
    mask = without_rules(ink.mask, 0.25 * longer)
    pieces = find_components(mask, ink.strength)
    height = typical_height(pieces)
    if height and (np.maximum(pieces.width, pieces.height) > 1.8 * height).any():
        mask = without_rules(mask, max(1.8 * height, 0.06 * longer, 24))
        pieces = find_components(mask, ink.strength)
        height = typical_height(pieces) or height
    return pieces, height


def _without_frames(parts: list[Part], height: float) -> list[Part]:
    """Leave out what is drawn around others: hollow, with something as large as a digit inside."""
    top, bottom, left, right = (np.array([getattr(part, side) for part in parts]) for side in ("top", "bottom", "left", "right"))
    large = bottom - top > 0.3 * height
    found = []
    for part in parts:
        inside = large & (top > part.top) & (bottom < part.bottom) & (left > part.left) & (right < part.right)
        if max(part.height, part.width) < 1.3 * height or float(part.mask.mean()) >= 0.35 or not inside.any():
            found.append(part)
    return found


def _turns(page: _Page, answer: Answer) -> int:
    """Return by how many degrees the page has to be turned, counter-clockwise: the networks are surer of turned digits then."""
    large = [one for one in page.characters if max(one.part.height, one.part.width) >= 0.5 * page.height]
    if len(large) < _FEWEST:
        return 0
    upright = float(np.mean([one.sure for one in large]))
    if upright > 1 - _SURER:
        return 0
    large = large[:200]
    pixels, parts = np.stack([one.pixels for one in large]), [one.part for one in large]
    sure = {}
    for turn in (90, 180, 270):
        # the middle of MNIST's images is a pixel's edge, not its middle, so that a turn moves it by one
        turned = np.rot90(pixels, turn // 90, (1, 2))
        turned = np.roll(turned, {90: (1, 0), 180: (1, 1), 270: (0, 1)}[turn], (1, 2))
        sure[turn] = float(np.mean([one.sure for one in named(parts, np.ascontiguousarray(turned), answer)]))
    best = max(sure, key=lambda turn: sure[turn])
    return best if sure[best] >= upright + _SURER else 0


def _is_text(page: _Page) -> bool:
    """Return whether there are letters rather than digits."""
    digits = sum(one.kinds[0] >= IS_DIGIT for one in page.characters)
    others = sum(
        max(1.0, one.part.width / page.height) for one in page.characters if one.kinds[2] >= 0.5 and one.part.height >= 0.5 * page.height
    )
    return others > 1.5 * digits


def _digits(row: list[Character], page: _Page, decoded: Decoded, turned: int) -> tuple[tuple[Digit, ...], ...]:
    """Return the digits of a row, word by word."""
    scale = decoded.size[0] / decoded.pixels.shape[1], decoded.size[1] / decoded.pixels.shape[0]
    found = []
    for word in words(row, page.height):
        digits = [one for one in word if one.kinds[0] >= IS_DIGIT and max(one.part.height, one.part.width) >= SMALL * page.height]
        found.append(
            tuple(
                Digit(one.digit, one.sure, _box(one.part, page.ink.mask.shape, turned, scale, decoded.size), _doubts(one)) for one in digits
            )
        )
    return tuple(word for word in found if word)


def _box(
    part: Part, shape: tuple[int, ...], turned: int, scale: tuple[float, float], size: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Return the part's box in the upright picture, whose working copy was turned counter-clockwise to `shape`."""
    height, width = shape
    top, bottom, left, right = part.top, part.bottom, part.left, part.right
    if turned == 90:
        top, bottom, left, right = left, right, height - bottom, height - top
    elif turned == 180:
        top, bottom, left, right = height - bottom, height - top, width - right, width - left
    elif turned == 270:
        top, bottom, left, right = width - right, width - left, top, bottom
    across, down = scale
    return int(left * across), int(top * down), min(size[0], ceil(right * across)), min(size[1], ceil(bottom * down))


def _doubts(one: Character) -> tuple[str, ...]:
    found = []
    if one.kinds[0] < IS_SURELY:
        found.append("perhaps no digit")
    if one.cut:
        found.append("cut from digits that touch")
    if one.part.borders:
        found.append("reaches the picture's border")
    return tuple(found)


