"""A picture → what MNIST would have made of it, in steps that can be read and seen one by one.

MNIST's own recipe (LeCun et al., "Gradient-Based Learning Applied to Document Recognition", 1998, section III-A): the ink is scaled
to fit 20×20 with its aspect kept, and placed in 28×28 so that its centre of mass is in the middle. The steps before that find
the ink: polarity, uneven light, threshold, the piece that is the digit, and the pen's width.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from mnist_edge.errors import PictureError, UsageError
from mnist_edge.image.components import Components, find_components
from mnist_edge.image.decode import Decoded, Picture, decode

#: Side of what the network sees, of the box that the ink fits, and the index where its centre of mass goes. All three are MNIST's.
SIZE, BOX, MIDDLE = 28, 20, 14

#: How the ink can be told; ``auto`` finds out.
INKS = ("auto", "dark", "light")

#: Ink differs from the paper around it by at least this, of 255.
MIN_STRENGTH = 24

#: Strokes are brought to at least this width, in pixels of the 20×20 box; MNIST's are 1.7 to 3.3 (the middle 90 %).
MIN_STROKE = 2.4

#: What a square of this share of the picture's longer side fits into is no stroke, but a shadow, a table or a finger.
PAPER_WINDOW = 0.24

#: A picture with no longer side than this is a digit cut out and shrunk, not a view of a sheet.
TINY = 64

_FINE = 4  # strokes are thickened at this multiple of the 20×20 box


@dataclass(frozen=True)
class Prepared:
    """A picture as the network sees it, and what was found on the way.

    Attributes:
        pixels: uint8, 28×28, ink bright on a dark ground.
        box: left, top, right and bottom of the digit, in pixels of the upright picture.
        size: width and height of the upright picture.
        ink: ``dark`` or ``light``.
        picture: uint8, the upright picture, grey or RGB, made smaller where it was large.
        warnings: why the digit may not be what it seems; empty for a clear picture.
    """

    pixels: NDArray[np.uint8]
    box: tuple[int, int, int, int]
    size: tuple[int, int]
    ink: str
    picture: NDArray[np.uint8]
    warnings: tuple[str, ...] = ()


def read(picture: Picture, ink: str = "auto") -> NDArray[np.uint8]:
    """Return only the pixels of `prepare`: uint8, 28×28. Raises PictureError."""
    return prepare(picture, ink).pixels


def prepare(picture: Picture, ink: str = "auto") -> Prepared:
    """Find the digit in a picture and place it as MNIST would have.

    A picture that MNIST's recipe has placed already comes back as its own bytes, inverted if its ink is dark.

    Raises PictureError, in one line that names the picture, if it cannot be read or holds no ink; UsageError for an unknown `ink`.
    """
    if ink not in INKS:
        raise UsageError(f"unknown ink {ink!r}; known: {', '.join(INKS)}")
    decoded = decode(picture)
    placed = _as_placed_by_mnist(decoded, ink)
    if placed is not None:
        return placed
    plane, dark = find_polarity(decoded.pixels, ink)
    found = _find_digit(plane, dark, decoded.name)
    scale = decoded.size[0] / decoded.pixels.shape[1]
    top, bottom, left, right = found.box
    return Prepared(
        place(fit(thicken(found.drawing))),
        (int(left * scale), int(top * scale), int(np.ceil(right * scale)), int(np.ceil(bottom * scale))),
        decoded.size,
        "dark" if dark else "light",
        decoded.pixels,
        decoded.warnings + find_doubts(found),
    )


@dataclass(frozen=True)
class Found:
    """The digit in a picture.

    Attributes:
        strength: uint8, H×W, as from `ink_strength`.
        pieces: all of the picture's ink.
        chosen: which pieces are the digit.
        mask: bool, H×W, where they are.
        box: top, bottom, left and right; bottom and right are one beyond.
        drawing: uint8, the digit alone, as from `cut_out`.
    """

    strength: NDArray[np.uint8]
    pieces: Components
    chosen: NDArray[np.bool_]
    mask: NDArray[np.bool_]
    box: tuple[int, int, int, int]
    drawing: NDArray[np.uint8]


def _find_digit(plane: NDArray[np.uint8], dark: bool, name: str) -> Found:
    strength = ink_strength(plane, dark)
    if int(strength.max()) < MIN_STRENGTH:
        raise PictureError(f"{name}: no ink found, all of it is as bright or as dark")
    pieces, level = find_pieces(strength)
    chosen = choose_digit(pieces)
    mask = pieces.mask(chosen)
    top, bottom = int(pieces.top[chosen].min()), int(pieces.bottom[chosen].max())
    left, right = int(pieces.left[chosen].min()), int(pieces.right[chosen].max())
    box = (top, bottom, left, right)
    found = Found(strength, pieces, chosen, mask, box, cut_out(strength, mask, level, box))
    if nothing := find_nothing(found):
        raise PictureError(f"{name}: no digit found, only {nothing}")
    return found


def _as_placed_by_mnist(decoded: Decoded, ink: str) -> Prepared | None:
    """Return a 28×28 picture as it is if its ink, with nothing around it, fits the box and has its centre of mass in the middle."""
    grey = decoded.pixels if decoded.pixels.ndim == 2 else decoded.pixels[..., 0]
    if grey.shape != (SIZE, SIZE) or (decoded.pixels.ndim == 3 and (decoded.pixels != grey[..., None]).any()):
        return None
    for kind, pixels in (("light", grey), ("dark", 255 - grey)):
        rows, columns = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))
        if ink not in ("auto", kind) or len(rows) == 0:
            continue
        longer = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
        # of MNIST's 70,000 images the longer side is 19 or 20, and the centre at most 0.52 away
        if BOX - 1 <= longer <= BOX and max(abs(centre - MIDDLE) for centre in _centre(pixels)) < 0.55:
            box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
            return Prepared(pixels, box, decoded.size, kind, decoded.pixels, decoded.warnings)
    return None


def _centre(pixels: NDArray[np.uint8]) -> tuple[float, float]:
    """Return the centre of mass as row and column indices."""
    mass = max(1.0, float(pixels.sum(dtype=np.float64)))
    rows, columns = pixels.sum(axis=1, dtype=np.float64), pixels.sum(axis=0, dtype=np.float64)
    return float(rows @ np.arange(len(rows)) / mass), float(columns @ np.arange(len(columns)) / mass)


def find_polarity(pixels: NDArray[np.uint8], ink: str = "auto") -> tuple[NDArray[np.uint8], bool]:
    """Return the colour plane in which the ink differs most from the paper, and whether it is darker there.

    Strokes are narrow: against a blur of the picture they stand out far and the paper around them little, so the third moment
    of the difference has the ink's sign. The edge of a shadow counts on both sides alike. On a picture that the digit fills to
    the borders it may be near zero, so the borders have a say as well: they are mostly paper.
    """
    if pixels.ndim == 3 and (pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 0] == pixels[..., 2]).all():
        pixels = pixels[..., 0]
    factor = -(-max(pixels.shape) // 96)
    reduced = np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).reduce(factor)) if factor > 1 else pixels
    small = np.atleast_3d(reduced).astype(np.float32)
    radius = max(small.shape) // 8
    margin = min(2 * radius, *small.shape[:2])
    mirrored = Image.fromarray(np.pad(reduced, [(margin, margin)] * 2 + [(0, 0)] * (reduced.ndim - 2), mode="symmetric"))
    around = np.atleast_3d(np.asarray(mirrored.filter(ImageFilter.BoxBlur(radius))))[margin:-margin, margin:-margin]
    cubes = (small - around) ** 3
    spread = np.abs(cubes).sum(axis=(0, 1))
    best = int((spread > 0.95 * spread.max()).argmax())
    plane = np.ascontiguousarray(pixels if pixels.ndim == 2 else pixels[..., best])
    if ink != "auto":
        return plane, ink == "dark"
    values = small[..., best]
    low, high = np.percentile(values, [2, 98])
    border = np.median(np.concatenate([values[0], values[-1], values[:, 0], values[:, -1]]))
    sign = cubes[..., best].sum() / max(spread[best], 1e-9) + 0.3 * (low + high - 2 * border) / (high - low + 1)
    return plane, bool(sign <= 0)


def ink_strength(plane: NDArray[np.uint8], dark: bool) -> NDArray[np.uint8]:
    """Return how much darker than the paper around it each pixel is, 0 to 255; of light ink, how much lighter.

    The paper is the picture's closing by a square that no stroke fills so that a shadow, soft or hard, is paper too. The
    difference is taken as a share of the paper's brightness: ink in the shade is as black as ink in the light.
    """
    plane = plane if dark else 255 - plane
    paper = closing(plane, max(3, int(max(plane.shape) * PAPER_WINDOW)))
    share: NDArray[np.uint8] = ((paper - plane).astype(np.uint16) * 255 // np.maximum(paper, 64)).astype(np.uint8)
    return share


def closing(plane: NDArray[np.uint8], window: int) -> NDArray[np.uint8]:
    """Return the morphological closing by a square: what is dark and too narrow for it disappears. Mirrored at the borders."""
    margin = min(window - 1, *plane.shape)
    window = margin + 1
    grown = np.pad(plane, margin, mode="symmetric")
    for operation in (np.maximum, np.minimum):
        for _ in range(2):  # along the rows' axis, then, transposed, along the other
            grown = np.ascontiguousarray(_running(operation, grown, window).T)
    return grown


def _running(operation: np.ufunc, array: NDArray[np.uint8], window: int) -> NDArray[np.uint8]:
    """Return the largest or smallest of each `window` successive rows; windows that double make it log(window) passes."""
    reach = 1
    while reach < window:
        step = min(reach, window - reach)
        array = operation(array[:-step], array[step:])
        reach += step
    return array


def otsu(values: NDArray[np.uint8]) -> int:
    """Return the threshold that parts `values` into two classes as far apart as can be.

    Otsu, "A Threshold Selection Method from Gray-Level Histograms", 1979. Of equally good ones, the middle.
    """
    counts = np.bincount(values.ravel(), minlength=256).astype(np.float64)
    below, above = counts.cumsum(), counts.sum() - counts.cumsum()
    mass = (counts * np.arange(256)).cumsum()
    between = (mass * counts.sum() - mass[-1] * below) ** 2 / np.maximum(below * above, 1)
    return int(np.flatnonzero(between >= between.max() * (1 - 1e-9)).mean())


def _quantile(values: NDArray[np.uint8], share: float) -> int:
    """Return the value that `share` of the values do not exceed; 0 for none. Faster on bytes than sorting them."""
    counts = np.bincount(values, minlength=1).cumsum()
    return int(np.searchsorted(counts, share * counts[-1]))


def find_pieces(strength: NDArray[np.uint8]) -> tuple[Components, int]:
    """Return the connected pieces of ink, and the threshold that parted them from the paper.

    If the strongest piece runs from border to border (squared paper, a print), the threshold rises, twice at most.
    """
    level = max(otsu(strength), MIN_STRENGTH // 2)
    first = pieces, _ = find_components(strength > level, strength), level
    for _ in range(2):
        if pieces.borders[_strongest(pieces)] < 2:
            return pieces, level
        higher = otsu(strength[strength > level])
        if higher <= level or int(strength.max()) <= higher:
            break
        level = higher
        pieces = find_components(strength > level, strength)
    return (pieces, level) if pieces.borders[_strongest(pieces)] < 2 else first


def _strongest(pieces: Components) -> int:
    """Return the piece that is most likely the digit: much ink, near the centre, off the borders, and not tiny."""
    height, width = pieces.shape
    off_x = (pieces.left + pieces.right) / (2 * width) - 0.5
    off_y = (pieces.top + pieces.bottom) / (2 * height) - 0.5
    central = np.exp(-(off_x**2 + off_y**2) / 0.35**2)
    large = np.minimum(1, np.maximum(pieces.height, pieces.width) / (0.1 * min(height, width)))
    return int((pieces.ink * central * large * 0.25**pieces.borders).argmax())


def choose_digit(pieces: Components) -> NDArray[np.bool_]:
    """Return which pieces are the digit: the strongest, and fragments near it, such as the flag of a 5.

    Fragments above and below may be farther away than those beside, which may be another digit.
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
        more = fits & (above_or_below | beside) & ~another & ~chosen
        if not more.any():
            return chosen
        chosen |= more


def find_nothing(found: Found) -> str | None:
    """Say what was found if it is no digit, None if it may be one.

    The limits lie between what was measured on real digits and on pictures without any (noise of many kinds, bare paper in all
    sorts of light, squared paper, fingers); the comments give the extremes.
    """
    pieces, chosen = found.pieces, found.chosen
    if _quantile(found.strength[~found.mask], 0.5) > 0.15 * _quantile(
        found.strength[found.mask], 0.6
    ):  # digits: up to 0.10; noise, bare paper: from 0.16
        return "paper or noise"
    top, bottom, left, right = found.box
    across = chosen[pieces.labels].sum() / (bottom - top)  # strokes that a row meets, on average
    starts = np.diff(found.mask[:, left:right], axis=0, prepend=False) & found.mask[:, left:right]
    down = np.count_nonzero(starts) / (right - left)
    if min(across, down) > 3 or max(across, down) > 6:  # digits: up to 2.5 and 3.5
        return "noise or a pattern"
    others = np.sort(pieces.ink[~chosen & (pieces.borders == 0)])[-5:]
    small = max(bottom - top, right - left) < 5
    if small or chosen.sum() > 12 or (len(pieces) >= 20 and len(others) and pieces.ink[chosen].sum() < 8 * others.mean()):
        return "specks"  # digits: from 13 times the mean of the largest others
    height, width = pieces.shape
    central = left <= width / 2 <= right and top <= height / 2 <= bottom
    if pieces.borders[chosen].any() and not central and max(pieces.shape) > TINY:
        return "something that reaches in from the border"
    if stroke_width(found.drawing) > 7 * _FINE:  # digits: up to 5.7
        return "a filled patch"
    return None


def find_doubts(found: Found) -> tuple[str, ...]:
    """Return what speaks against there being one whole digit."""
    pieces, chosen = found.pieces, found.chosen
    top, bottom, left, right = found.box
    height, width = bottom - top, right - left
    alike = ~chosen & (pieces.borders == 0) & (pieces.ink >= 0.3 * pieces.ink[chosen].sum()) & (pieces.height >= 0.5 * height)
    if alike.any() or width > 2 * height:  # MNIST's widest digit is twice as wide as high
        return ("more than one digit? the most central is read",)
    if stroke_width(found.drawing) > 6 * _FINE:
        return ("probably not a digit: the ink is a patch more than a line",)
    filled = height >= 0.9 * pieces.shape[0] and width >= 0.9 * pieces.shape[1]  # cut out along its outline
    if max(pieces.shape) > TINY and pieces.borders[chosen].any() and not filled:
        return ("the digit reaches the picture's border; part of it may be missing",)
    return ()


def cut_out(strength: NDArray[np.uint8], mask: NDArray[np.bool_], level: int, box: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    """Return the digit alone, uint8, its longer side 80: ink 255, paper 0, and the soft edge between."""
    top, bottom, left, right = box
    rows, columns = slice(max(0, top - 1), bottom + 1), slice(max(0, left - 1), right + 1)
    full = _quantile(strength[mask], 0.6)
    low = 0.35 * level
    near = np.pad(mask[rows, columns], 1)
    near = near[:-2] | near[1:-1] | near[2:]  # the soft edge lies a pixel outside
    near = near[:, :-2] | near[:, 1:-1] | near[:, 2:]
    clear = np.clip((strength[rows, columns] - low) * (255 / max(1.0, full - low)), 0, 255) * near
    fine = _scaled(clear.astype(np.uint8), BOX * _FINE)
    ridge = max(1, _quantile(fine[fine > MIN_STRENGTH], 0.9))  # of a hairline, scaled down, little is left
    return np.minimum(fine.astype(np.uint16) * 255 // ridge, 255).astype(np.uint8)


def _scaled(drawing: NDArray[np.uint8], longer: int) -> NDArray[np.uint8]:
    height, width = drawing.shape
    factor = longer / max(height, width)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    how = Image.Resampling.BOX if factor < 1 else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(drawing).resize(size, how))


def stroke_width(drawing: NDArray[np.uint8]) -> float:
    """Return the mean width of the strokes, in pixels: twice the area over the outline's length.

    The length comes from how often rows and columns cross the outline, times π/4 (Cauchy's and Crofton's formula).
    """
    ink = np.pad(drawing, 1) > 127
    crossings = np.count_nonzero(ink[1:] != ink[:-1]) + np.count_nonzero(ink[:, 1:] != ink[:, :-1])
    return 2 * float(drawing.sum(dtype=np.float64)) / 255 / max(1.0, crossings * np.pi / 4)


def thicken(drawing: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the drawing with its strokes at least `MIN_STROKE` wide, dilated by a disc: a thin pen would fade when scaled down."""
    radius = (MIN_STROKE * _FINE - stroke_width(drawing)) / 2
    if radius < 0.5:
        return drawing
    reach = int(radius)
    spread = np.pad(drawing, 2 * reach)
    height = spread.shape[0] - 2 * reach
    result = np.zeros((height, spread.shape[1] - 2 * reach), np.uint8)
    for down in range(-reach, reach + 1):  # a disc is a row of runs
        half = int(np.sqrt(radius**2 - down**2))
        run = _running(np.maximum, spread[reach + down : reach + down + height].T, 2 * half + 1).T
        result = np.maximum(result, run[:, reach - half : reach - half + result.shape[1]])
    return result


def fit(drawing: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the drawing cut to its ink, its longer side 20, its brightest pixel 255."""
    ink = drawing > 100
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    box = _scaled(drawing[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], BOX)
    stretched: NDArray[np.uint8] = (box.astype(np.uint16) * 255 // max(1, int(box.max()))).astype(np.uint8)
    return stretched


def place(box: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return 28×28 with the box in it so that its centre of mass is at index 14, as near as whole pixels allow."""
    height, width = box.shape
    row, column = _centre(box)
    top = min(max(0, round(MIDDLE - row)), SIZE - height)
    left = min(max(0, round(MIDDLE - column)), SIZE - width)
    pixels = np.zeros((SIZE, SIZE), np.uint8)
    pixels[top : top + height, left : left + width] = box
    return pixels
