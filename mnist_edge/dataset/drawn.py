"""Digits that the program draws itself: no file, no network, as many as asked for.

Each digit has a few ways of writing it (`shapes.py`): pen strokes as control points on the unit square. A drawing takes one,
moves the points, bends and slants the whole, draws it with a round pen, and places it by MNIST's recipe (LeCun et al.,
"Gradient-Based Learning Applied to Document Recognition", 1998, section III-A): the ink fits a 20×20 box with its aspect
kept, and its centre of mass lies in the middle of 28×28.
"""

from __future__ import annotations  # so that no annotation loads numpy.random

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mnist_edge.dataset.base import Dataset
from mnist_edge.dataset.shapes import MORE_SHAPES, SHAPES, Stroke

#: The default number of drawings: as many as MNIST has images.
COUNTS = {"train": 60_000, "test": 10_000}

#: How varied the writing is.
Hands = Literal["few", "many"]

#: The two splits never share a stream of random numbers.
SEEDS = {"train": 1, "test": 2}

#: The broadest pen of many hands, px on the 28×28 grid: a 1 bears more than what has holes.
BROADEST = {1: 7.5, 7: 6.0}

_SAMPLES = 6  # straight pieces between two control points
_ZOOM = 4  # the pen draws at four times the size; averaging 4×4 gives the grey edge


def draw(split: str, count: int | None = None, seed: int | None = None, hands: Hands = "few") -> Dataset:
    """Draw a data set: uint8, `count`×1×28×28, the ten digits equally often.

    The same split, count, seed and hands give the same bytes. `count` is MNIST's for None; `seed` is the split's own. ``few`` hands are what
    ``--data drawn`` is, for good, because models were proven on it. ``many`` have more ways of writing, broader pens and other proportions.
    """
    count = COUNTS[split] if count is None else count
    random = np.random.default_rng([SEEDS[split] if seed is None else seed, count])
    labels = random.permutation(np.arange(count) % 10).astype(np.uint8)
    images = np.zeros((count, 28, 28), np.uint8)
    for digit in SHAPES:
        shapes = SHAPES[digit] + (MORE_SHAPES.get(digit, []) if hands == "many" else [])
        chosen = random.integers(len(shapes), size=count)
        for i, shape in enumerate(shapes):
            where = np.flatnonzero((labels == digit) & (chosen == i))
            if len(where):
                images[where] = _draw_shape(shape, len(where), random, hands, BROADEST.get(digit, 5.2))
    return Dataset("drawn", split, _centre(images)[:, None], labels)


def _draw_shape(
    shape: list[Stroke], count: int, random: np.random.Generator, hands: Hands = "few", broadest: float = 5.2
) -> NDArray[np.uint8]:
    """Return `count` drawings of one shape, uint8 count×28×28, not yet centred by mass."""
    strokes = [_sample(np.array(stroke), count, random) for stroke in shape]
    ends = np.cumsum([stroke.shape[1] for stroke in strokes])[:-1]
    if hands == "many":
        pen, width = _evenly(1.4, broadest, count, random), _evenly(0.45, 1.7, count, random)
    else:
        pen = random.gamma(9.0, 0.29, size=count).clip(1.2, 5.0)  # px on the 28×28 grid; MNIST's strokes are 1.5 to 4.5
        width = None
    points = _place(_bend(np.concatenate(strokes, axis=1), random, width), pen)
    cut = random.random(count) < 0.3 if hands == "many" else np.zeros(count, np.bool_)
    return np.stack([_ink(np.split(one, ends), width, bool(flat)) for one, width, flat in zip(points, pen, cut, strict=True)])


def _sample(control: NDArray[np.float64], count: int, random: np.random.Generator) -> NDArray[np.float64]:
    """Return count×S×2 points along a Catmull-Rom spline through the control points, each moved a little."""
    moved = control + random.normal(0, 0.035, size=(count, *control.shape))
    corner = np.flatnonzero((control[1:] == control[:-1]).all(axis=1)) + 1
    moved[:, corner] = moved[:, corner - 1]
    p = np.concatenate([2 * moved[:, :1] - moved[:, 1:2], moved, 2 * moved[:, -1:] - moved[:, -2:-1]], axis=1)
    t = (np.arange(_SAMPLES) / _SAMPLES)[:, None]
    p0, p1, p2, p3 = (p[:, i : p.shape[1] - 3 + i, None] for i in range(4))
    curve = 0.5 * (2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * p1 - p0 - 3 * p2 + p3) * t**3)
    return np.concatenate([curve.reshape(count, -1, 2), moved[:, -1:]], axis=1)


def _evenly(low: float, high: float, count: int, random: np.random.Generator) -> NDArray[np.float64]:
    """Return `count` factors between two, evenly in the logarithm."""
    return np.exp(random.uniform(np.log(low), np.log(high), count))


def _bend(points: NDArray[np.float64], random: np.random.Generator, width: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """Widen each drawing by its `width`, and bend, slant and turn it as a whole."""
    n = len(points)
    x, y = points[..., 0] - 0.5, points[..., 1] - 0.5
    x = x * (random.uniform(0.5, 1.05, (n, 1)) if width is None else width[:, None])
    for _ in range(2):
        x, y = (
            y,
            x + random.normal(0, 0.06, (n, 1)) * np.sin(np.pi * (y * random.uniform(0.6, 1.6, (n, 1)) + random.uniform(-1, 1, (n, 1)))),
        )
    x = x - y * random.normal(0.18, 0.24, (n, 1))  # people lean to the right
    turn = random.normal(0, 0.1, (n, 1))
    return np.stack([x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)], axis=2)


def _place(points: NDArray[np.float64], pen: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scale each drawing so that its ink, pen included, fits 20×20, and put the box in the middle of 28×28.

    Half a pixel is left for the pen's rounding.
    """
    low, high = points.min(axis=1, keepdims=True), points.max(axis=1, keepdims=True)
    scale = (19.5 - pen)[:, None, None] / (high - low).max(axis=2, keepdims=True)
    placed: NDArray[np.float64] = (points - (low + high) / 2) * scale + 14
    return placed


def _ink(strokes: list[NDArray[np.float64]], width: float, flat: bool) -> NDArray[np.uint8]:
    """Draw strokes with a pen that is round, or leaves `flat` ends as a marker does."""
    from PIL import ImageDraw  # with its fonts it takes as long as all the rest of this file

    canvas = Image.new("L", (28 * _ZOOM, 28 * _ZOOM))
    pen = ImageDraw.Draw(canvas)
    radius = width * _ZOOM / 2
    for stroke in strokes:
        line = [(float(x), float(y)) for x, y in stroke * _ZOOM]
        pen.line(line, fill=255, width=round(2 * radius))
        for x, y in line[1:-1] if flat else line:
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    return np.asarray(canvas.reduce(_ZOOM), np.uint8)


def _centre(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Move each image by whole pixels so that its centre of mass is at index 14, MNIST's middle; no ink leaves it."""
    mass = images.sum(axis=(1, 2), dtype=np.float64)
    index = np.arange(28)
    moves = []
    for axis in (2, 1):
        profile = images.sum(axis=axis)
        before, behind = (profile > 0).argmax(axis=1), (profile[:, ::-1] > 0).argmax(axis=1)
        moves.append(np.rint(14 - (profile @ index) / mass).clip(-before, behind).astype(int))
    down, right = moves
    centred = np.empty_like(images)
    for shift in {*zip(down.tolist(), right.tolist(), strict=True)}:
        where = (down == shift[0]) & (right == shift[1])
        centred[where] = np.roll(images[where], shift, axis=(1, 2))
    return centred
