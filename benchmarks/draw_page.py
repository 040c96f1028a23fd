"""Draw a page as somebody may have photographed it, and what was read on it: docs/several.png.

python benchmarks/draw_page.py [OUT]

The digits are those that the program draws itself; squared paper, a shadow, a plus and a word are added.
"""

import sys
from pathlib import Path

import numpy as np
from no_digit_shapes import LETTERS, SIGNS
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from mnist_edge import Predictor
from mnist_edge.dataset import drawn
from mnist_edge.dataset.shapes import SHAPES
from mnist_edge.reading import drawing

ROOT = Path(__file__).resolve().parents[1]


def page() -> NDArray[np.uint8]:
    """Return the page, uint8, H×W×3."""
    random = np.random.default_rng(21)
    height, width = 620, 1100
    sheet = Image.new("L", (width, height), 226)
    pen = ImageDraw.Draw(sheet)
    for at in range(10, width, 44):
        pen.line((at, 0, at - 8, height), fill=188, width=2)
        pen.line((0, at, width, at + 12), fill=188, width=2)
    strength = np.zeros((height, width))

    def put(shape: list[list[tuple[float, float]]], x: int, y: int, side: int) -> None:
        image = drawn._draw_shape(shape, 1, random)[0]
        large = np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC)) / 255
        box = strength[y : y + side, x : x + side]
        np.maximum(box, large, out=box)

    for row, (text, slope) in enumerate((("0306  94217", 0.05), ("58 + 67", -0.02), ("th an 2749", 0.03))):
        x = 90
        for word in text.split(" "):
            for one in [word] if word in LETTERS else word:
                ways = LETTERS[one] if one in LETTERS else SIGNS[one] if one in SIGNS else SHAPES[int(one)]
                put(
                    ways[0 if one in SIGNS else int(random.integers(len(ways)))],
                    x,
                    int(80 + 170 * row + slope * x),
                    int(random.integers(84, 112)),
                )
                x += 82
            x += 40
    down, across = np.mgrid[:height, :width]
    light = np.where(across + 0.6 * down > 900, 0.72, 1.0) * (1 - 0.12 * across / width)
    plane = np.asarray(sheet) * light * (1 - 0.78 * strength) + random.normal(0, 2, (height, width))
    blue = np.clip(plane[..., None] + strength[..., None] * np.array([0, 14, 70]) * light[..., None], 0, 255)
    return blue.astype(np.uint8)


def main() -> None:
    """Write the picture."""
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "several.png"
    reading = Predictor.load(ROOT / "models" / "lenet").read(page())
    print(reading.text)
    drawing.explain(reading).quantize(128).save(out, optimize=True)


if __name__ == "__main__":
    main()
