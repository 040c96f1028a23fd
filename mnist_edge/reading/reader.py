"""A picture of a page → its digits, row by row."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mnist_edge.common.errors import UsageError
from mnist_edge.common.text import low_confidence
from mnist_edge.image.components import Components, find_components
from mnist_edge.image.decode import MAX_PIXELS, Decoded, Picture, decode
from mnist_edge.image.prepare import INKS
from mnist_edge.reading.choosing import SMALL, Answer, Character, find_characters, named
from mnist_edge.reading.page import CLEAR_POLARITY, PAGE_PIXELS, Ink, find_ink, find_plane, levels, typical_height
from mnist_edge.reading.parts import Part, parts_of
from mnist_edge.reading.rows import find_rows, words
from mnist_edge.reading.rules import Rules, find_rules, sides_of_boxes
from mnist_edge.reading.sense import IS_DIGIT, SURE, only_digits

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Of a page with more pieces of ink than this, the upper ones are read.
MOST_PIECES = 1500

#: Where writing is less high than this, in pixels of the working copy, the page is read again from one with so many times the pixels.
_SMALL_WRITING, _MORE = 18, 3

#: A line is a rule if it is so long, as a share of the page's longer side: before the height of the digits is known, and after.
_LONG_RULE, _SHORT_RULE = 0.25, 0.06

#: What is a digit with less than this likelihood gets a warning.
IS_SURELY = 0.8

#: A page is turned if the networks are less sure of it than the first value, on average over at least `_FEWEST` pieces, surer by the second
#: value when they see the pieces turned, and at least as sure as the third when they see the page turned.
_UNSURE, _SURER, _SURE, _FEWEST = 0.85, 0.15, 0.75, 3


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
        return self.written(lambda digit: str(digit.digit), "/")

    def written(self, sign: Callable[[Digit], str], between: str) -> str:
        """Return the digits, each as `sign` writes it, words parted by a space and rows by `between`."""
        return between.join(" ".join("".join(map(sign, word)) for word in row) for row in self.rows)

    def to_json(self) -> dict[str, Any]:
        """Return the reading as JSON values: ``text``, ``rows`` (lists of digits), ``ink``, ``turned`` and ``warnings``."""
        rows = [[digit.to_json() for word in row for digit in word] for row in self.rows]
        return {"text": self.text, "rows": rows, "ink": self.ink, "turned": self.turned, "warnings": list(self.warnings)}


class _Page(NamedTuple):
    """A page as it is being read."""

    ink: Ink
    height: float
    characters: list[Character]
    left_out: int

    @property
    def large(self) -> list[Character]:
        """The characters that tell something: neither fragments nor single strokes."""
        return [one for one in self.characters if max(one.part.height, one.part.width) >= 0.5 * self.height and not one.is_bare]

    @property
    def sureness(self) -> float:
        """How sure the networks are of its digits, on average."""
        return float(np.mean([one.sure for one in self.large])) if self.large else 0.0

    @property
    def worth(self) -> float:
        """How much there is to be read, and how surely: of dark and light ink the better one is taken."""
        sure = [one.sure for one in self.characters]
        return sum(one for one in sure if one >= 0.5) * float(np.mean(sure)) if sure else 0.0


def read(picture: Picture, answer: Answer, ink: str = "auto", *, threshold: float | None = None, max_pixels: int = MAX_PIXELS) -> Reading:
    """Read the digits on a page; there may be none.

    `answer` takes pixels, uint8 N×1×28×28, ink bright, and returns the digits' probabilities, N×10. `ink` is ``dark``, ``light`` or
    ``auto``. A digit whose probability is below `threshold` gets a warning. Raises PictureError if the picture cannot be read, UsageError for
    an unknown `ink`.
    """
    if ink not in INKS:
        raise UsageError(f"unknown ink {ink!r}; known: {', '.join(INKS)}")
    start = _place_in(picture)
    decoded = decode(picture, max_pixels, PAGE_PIXELS)
    page, turned = _best(decoded, ink, answer)
    shrunk = decoded.pixels.shape[0] < 0.8 * decoded.size[1]
    if page is not None and page.height < _SMALL_WRITING and shrunk and (start is not None or not hasattr(picture, "read")):
        if start is not None:
            picture.seek(start)  # type: ignore[union-attr]
        finer = decode(picture, max_pixels, _MORE * PAGE_PIXELS)
        closer, turned_then = _best(finer, ink, answer)
        if closer is not None and closer.worth >= page.worth:
            decoded, page, turned = finer, closer, turned_then
    if page is None:
        return Reading((), decoded.size, None, 0, decoded.pixels, decoded.warnings)
    written = [words(row, page.height) for row in find_rows(page.characters, page.height)]
    kept = only_digits(written, page.height)
    unsure = all(one.sure < SURE for row in kept for word in row for one in word)  # nothing on the page says that digits stand on it
    rows = tuple(row for words_ in kept if (row := _digits(words_, page, decoded, turned, threshold, unsure)))
    notes = decoded.warnings
    if turned:
        notes += (f"the writing is {'upside down' if turned == 180 else 'on its side'}: read after a turn by {turned}° counter-clockwise",)
    if not rows and 2 * sum(one.kinds[0] < IS_DIGIT for one in page.large) > len(page.large):
        notes += ("what is on the page looks like letters or signs, not like digits",)
    if page.left_out:
        notes += (f"more than {MOST_PIECES:,} pieces of ink: the lower {page.left_out:,} are left out",)
    return Reading(rows, decoded.size, "dark" if page.ink.dark else "light", turned, decoded.pixels, notes)


def _place_in(picture: Picture) -> int | None:
    """Return where an open file that can be read again stands; None for anything else."""
    try:
        return picture.tell() if picture.seekable() else None  # type: ignore[union-attr]
    except (AttributeError, OSError, ValueError):  # no file, one that cannot go back, a closed one
        return None


def _best(decoded: Decoded, ink: str, answer: Answer) -> tuple[_Page | None, int]:
    """Return the page in dark or in light ink, and turned or not, whichever reads best."""
    plane, polarity = find_plane(decoded.pixels)
    likelier = polarity < 0
    inks = [ink == "dark"] if ink != "auto" else [likelier] if abs(polarity) >= CLEAR_POLARITY else [likelier, not likelier]
    pages = [_read(found, answer) for found in (find_ink(plane, dark) for dark in inks) if found is not None]
    if not pages:
        return None, 0
    best = max(pages, key=lambda page: page.worth)
    steps = _turns(best, answer)
    if steps:
        strength, mask = np.rot90(best.ink.strength, steps), np.rot90(best.ink.mask, steps)
        turned = _read(Ink(best.ink.dark, np.ascontiguousarray(strength), np.ascontiguousarray(mask)), answer)
        if turned.sureness >= max(_SURE, best.sureness + _SURER) and _runs_in_rows(turned):
            return turned, 90 * steps
    return best, 0


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
    rules = find_rules(ink.mask, _LONG_RULE * longer)
    pieces = find_components(mask := _without(ink.mask, rules), ink.strength)
    height = typical_height(pieces)
    if height == 0 and len(pieces):  # all digits may stand on a shorter line, and be one piece with it
        rules = _joined(rules, find_rules(mask, max(_SHORT_RULE * longer, 24)))
        pieces = find_components(mask := _without(ink.mask, rules), ink.strength)
        height = typical_height(pieces) or typical_height(pieces, 12)  # or all touch
    if height == 0:
        return pieces, 0.0
    if (np.maximum(pieces.width, pieces.height) > 1.8 * height).any():
        rules = _joined(rules, find_rules(mask, max(1.8 * height, _SHORT_RULE * longer, 24)))
        pieces = find_components(mask := _without(ink.mask, rules), ink.strength)
    pieces = find_components(mask & (ink.strength > levels(pieces, mask)), ink.strength)
    sides = sides_of_boxes(pieces, rules, height)
    if sides.any():
        pieces = find_components(pieces.mask(~sides), ink.strength)
    return pieces, typical_height(pieces) or height


def _without(mask: NDArray[np.bool_], rules: Rules) -> NDArray[np.bool_]:
    return mask & ~(rules.across | rules.down)


def _joined(first: Rules, second: Rules) -> Rules:
    return Rules(first.across | second.across, first.down | second.down)


def _without_frames(parts: list[Part], height: float) -> list[Part]:
    """Leave out what is drawn around others: hollow, with something as large as a digit inside."""
    top, bottom, left, right = (np.array([getattr(part, side) for part in parts]) for side in ("top", "bottom", "left", "right"))
    large = bottom - top > 0.3 * height
    found = []
    for part in parts:
        inside = large & (top > part.top) & (bottom < part.bottom) & (left > part.left) & (right < part.right)
        inside &= bottom - top > 0.25 * part.height
        high, wide = part.height // 5, part.width // 5
        if not inside.any() or part.mask[high : part.height - high, wide : part.width - wide].any():
            found.append(part)
    return found


def _turns(page: _Page, answer: Answer) -> int:
    """Return by how many right angles, counter-clockwise, the page may have to be turned: the networks are surer of pieces turned so."""
    large = page.large
    if len(large) < _FEWEST or page.sureness > _UNSURE:
        return 0
    sure = [page.sureness]
    pixels, parts = np.stack([one.pixels for one in large[:200]]), [one.part for one in large[:200]]
    for steps, (down, right) in ((1, (1, 0)), (2, (1, 1)), (3, (0, 1))):
        # the middle of MNIST's images is at index 14 of 28, so that a turn moves it by one
        turned = np.roll(np.rot90(pixels, steps, (1, 2)), (down, right), (1, 2))
        sure.append(float(np.mean([one.sure for one in named(parts, np.ascontiguousarray(turned), answer)])))
    best = int(np.argmax(sure))
    return best if sure[best] >= page.sureness + _SURER else 0


def _runs_in_rows(page: _Page) -> bool:
    """Return whether most of the page's characters stand in rows of three or more, as the squares of squared paper on their side do not."""
    lengths = [len(row) for row in find_rows(page.large, page.height)]
    return sum(length for length in lengths if length >= 3) > 0.7 * sum(lengths)


def _digits(
    row: list[list[Character]], page: _Page, decoded: Decoded, turned: int, threshold: float | None, unsure: bool
) -> tuple[tuple[Digit, ...], ...]:
    """Return the digits of a row, word by word, with their boxes in the upright picture."""
    scale = decoded.size[0] / decoded.pixels.shape[1], decoded.size[1] / decoded.pixels.shape[0]

    def digit(one: Character) -> Digit:
        return Digit(one.digit, one.sure, _box(one.part, page.ink.mask.shape, turned, scale, decoded.size), _doubts(one, threshold, unsure))

    return tuple(tuple(digit(one) for one in word) for word in row)


def _box(part: Part, shape: tuple[int, ...], turned: int, scale: tuple[float, float], size: tuple[int, int]) -> tuple[int, int, int, int]:
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


def _doubts(one: Character, threshold: float | None, unsure: bool) -> tuple[str, ...]:
    found = []
    if threshold is not None and one.probability < threshold:
        found.append(low_confidence(threshold))
    if unsure or one.kinds[0] < IS_SURELY:
        found.append("perhaps no digit")
    if one.cut:
        found.append("cut from digits that touch")
    if one.part.borders:
        found.append("reaches the picture's border")
    return tuple(found)
