"""Finds the digit in the ink, or finds that there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mnist_edge.common.errors import PictureError
from mnist_edge.image.components import Components, find_components
from mnist_edge.image.ink import MIN_STRENGTH, TINY, ink_strength, otsu
from mnist_edge.image.limits import why_no_digit
from mnist_edge.image.strokes import FINE, cut_out, stroke_width, strokes_met

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: The end of the warning that there is more than one digit; the server names its own way in its place.
READS_ALL = "--several reads all"

#: How an error begins that says what there is in place of a digit.
NO_DIGIT = "no digit found, only"


class Found(NamedTuple):
    """The digit in a picture.

    Attributes:
        dark: whether its ink is darker than the paper.
        plane: uint8, H×W, brightness, turned round where the ink is light.
        strength: uint8, H×W, as from `ink_strength`.
        pieces: all of the picture's ink.
        chosen: which pieces are the digit.
        mask: bool, H×W, where they are.
        box: top, bottom, left and right; bottom and right are one beyond.
        drawing: uint8, the digit alone, as from `cut_out`.
        pen: the mean width of its strokes, in pixels of the 20×20 box.
    """

    dark: bool
    plane: NDArray[np.uint8]
    strength: NDArray[np.uint8]
    pieces: Components
    chosen: NDArray[np.bool_]
    mask: NDArray[np.bool_]
    box: tuple[int, int, int, int]
    drawing: NDArray[np.uint8]
    pen: float


def find_digit(plane: NDArray[np.uint8], inks: list[bool], name: str) -> Found:
    """Find the digit in dark ink (True), light ink (False) or, of both, whichever gives the thinner strokes: paper
    between ink is broad."""
    found, nothing = [], ""
    for dark in inks:
        strength = ink_strength(plane, dark)
        if int(strength.max()) < MIN_STRENGTH:
            nothing = nothing or "no ink found: nothing stands out from the background"
            continue
        pieces, level = find_pieces(strength)
        chosen = choose_digit(pieces)
        mask = pieces.mask(chosen)
        top, bottom = int(pieces.top[chosen].min()), int(pieces.bottom[chosen].max())
        left, right = int(pieces.left[chosen].min()), int(pieces.right[chosen].max())
        box = (top, bottom, left, right)
        drawing = cut_out(strength, mask, level, box)
        one = Found(dark, plane if dark else 255 - plane, strength, pieces, chosen, mask, box, drawing, stroke_width(drawing) / FINE)
        reason = why_no_digit(one)
        if reason is None:
            found.append(one)
        nothing = nothing or f"{NO_DIGIT} {reason}"
    if not found:
        raise PictureError(f"{name}: {nothing}")
    return min(found, key=lambda one: one.pen * (1 if one.dark == inks[0] else 1.5))


def find_pieces(strength: NDArray[np.uint8]) -> tuple[Components, int]:
    """Return the connected pieces of ink, and the threshold that parted them from the paper.

    If the strongest piece is a net that runs from border to border (squared paper, a print), the threshold rises, twice at most.
    """
    level = max(otsu(strength), MIN_STRENGTH // 2)
    first = pieces, _ = find_components(strength > level, strength), level
    for _ in range(2):
        if not _is_net(pieces, _strongest(pieces)):
            return pieces, level
        higher = otsu(strength[strength > level])
        if higher <= level or int(strength.max()) <= higher:
            break
        level = higher
        pieces = find_components(strength > level, strength)
    return first if _is_net(pieces, _strongest(pieces)) else (pieces, level)


def _is_net(pieces: Components, piece: int) -> bool:
    """Return whether a piece that reaches two borders is lines or noise, and not a digit cut out along its outline."""
    if pieces.borders[piece] < 2:
        return False
    own = np.arange(len(pieces)) == piece
    mask = pieces.mask(own)[pieces.top[piece] : pieces.bottom[piece], pieces.left[piece] : pieces.right[piece]]
    return max(pieces.shape) <= TINY or float(mask.mean()) < 0.2 or max(strokes_met(mask)) > 3


def _strongest(pieces: Components) -> int:
    """Return the piece that is most likely the digit: much ink, near the centre, off the borders, not tiny, no rule, no frame."""
    height, width = pieces.shape
    off_x = (pieces.left + pieces.right) / (2 * width) - 0.5
    off_y = (pieces.top + pieces.bottom) / (2 * height) - 0.5
    central = np.exp(-(off_x**2 + off_y**2) / 0.35**2)
    large = np.minimum(1, np.maximum(pieces.height, pieces.width) / (0.1 * min(height, width)))
    rule = np.where(pieces.width > 4 * pieces.height, 0.2, 1.0)
    score = pieces.ink * central * large * rule * 0.25**pieces.borders
    best = int(score.argmax())
    while (inside := _framed(pieces, best)).any():
        score[~inside] = 0
        best = int(score.argmax())
    return best


def _framed(pieces: Components, piece: int) -> NDArray[np.bool_]:
    """Return which pieces lie inside `piece`, if that is a frame around them: hollow, and they large enough to be what it frames."""
    top, bottom, left, right = pieces.top[piece], pieces.bottom[piece], pieces.left[piece], pieces.right[piece]
    inside: NDArray[np.bool_] = (pieces.top > top) & (pieces.bottom < bottom) & (pieces.left > left) & (pieces.right < right)
    inside &= pieces.height >= 0.25 * (bottom - top)
    if inside.any():
        margin_y, margin_x = (bottom - top) / 5, (right - left) / 5
        own = pieces.labels == piece
        rows, starts, ends = pieces.rows[own], pieces.starts[own], pieces.ends[own]
        central_rows = (rows > top + margin_y) & (rows < bottom - margin_y)
        if (central_rows & (ends > left + margin_x) & (starts < right - margin_x)).any():
            return np.zeros_like(inside)
    return inside


def choose_digit(pieces: Components) -> NDArray[np.bool_]:
    """Return which pieces are the digit: the strongest, and fragments near it, such as the flag of a 5.

    Fragments above and below may be farther away than those beside, which may be another digit; a rule below is no fragment, nor is a
    frame around it.
    """
    chosen = np.zeros(len(pieces), np.bool_)
    strongest = _strongest(pieces)
    chosen[strongest] = True
    tiny = max(pieces.shape) <= TINY  # strokes break, and may reach the border
    fits = (pieces.ink >= 0.02 * pieces.ink[strongest]) & (pieces.borders <= tiny)
    while True:
        top, bottom = pieces.top[chosen].min(), pieces.bottom[chosen].max()
        left, right = pieces.left[chosen].min(), pieces.right[chosen].max()
        side = max(bottom - top, right - left, max(pieces.shape) // 2 * tiny)
        gap_y = np.maximum(pieces.top - bottom, top - pieces.bottom)
        gap_x = np.maximum(pieces.left - right, left - pieces.right)
        above_or_below = (gap_x <= 0) & (gap_y <= 0.4 * side)
        beside = (gap_x > 0) & (gap_x <= 0.2 * side) & (gap_y <= 0.1 * side)
        another = (gap_x > -0.15 * np.minimum(pieces.width, right - left)) & (pieces.height >= 0.5 * (bottom - top))
        underline = (pieces.width > 4 * pieces.height) & (pieces.top - bottom > 0.06 * side) & (pieces.width > 0.5 * (right - left))
        frame = (pieces.top < top) & (pieces.bottom > bottom) & (pieces.left < left) & (pieces.right > right)
        more = fits & (above_or_below | beside) & ~(another | underline | frame | chosen)
        if not more.any():
            return chosen
        chosen |= more


def _holes(mask: NDArray[np.bool_]) -> int:
    """Return how many areas of at least 1 % of the box a digit encloses."""
    paper = ~np.pad(mask, 1)
    areas = find_components(paper, paper.view(np.uint8))
    return int((areas.ink[areas.borders == 0] >= 0.01 * mask.size).sum())


def find_doubts(found: Found) -> tuple[str, ...]:
    """Return the reasons to doubt that there is one whole digit."""
    pieces, chosen = found.pieces, found.chosen
    top, bottom, left, right = found.box
    height, width = bottom - top, right - left
    around = (pieces.top < top) & (pieces.bottom > bottom) & (pieces.left < left) & (pieces.right > right)
    like = (pieces.ink >= 0.3 * pieces.ink[chosen].sum()) & (pieces.height >= 0.5 * height)
    alike = like & (pieces.borders == 0) & ~(around | chosen)
    if alike.any() or width > 2 * height:
        return (f"more than one digit? the most central is read; {READS_ALL}",)
    if found.pen > 6:
        return ("probably not a digit: the ink is a patch more than a line",)
    if (holes := _holes(found.mask[top:bottom, left:right])) > 2:
        return (f"probably not a digit: its lines enclose {holes} areas",)
    filled = height >= 0.9 * pieces.shape[0] and width >= 0.9 * pieces.shape[1]  # cut out along its outline
    if max(pieces.shape) > TINY and pieces.borders[chosen].any() and not filled:
        return ("the digit reaches the picture's border; part of it may be missing",)
    return ()
