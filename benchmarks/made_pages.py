"""Make pages on which no digit stands, read them, and count how many are read without a digit.

    python benchmarks/made_pages.py [--pages 60] [--seed 0] [--only KIND] [--model MODEL] [--runtime ort] [--fonts FOLDER] [--save FOLDER]

Six kinds are pages without writing: bare, lined and squared paper, shadows, textures, photos out of focus. The others hold words or
signs, in the fonts that come with matplotlib and Pillow or in those of a folder; no_digit.py trains on matplotlib's, so measure with others.
A page depends on its kind, its number and the seed alone.
Prints a line of JSON for each kind, for all without writing and for all with: how many pages, and on how many of them no digit is read.
`--save` writes the pages with a wrong answer, and what was read on each.
"""

import argparse
import json
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib import get_data_path
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from mnist_edge import Predictor
from mnist_edge.common.errors import UnprovenWarning
from mnist_edge.reading import drawing

Random = np.random.Generator
Plane = NDArray[np.float64]

#: Of matplotlib's fonts those with the alphabet, one of each style.
_FONTS = (
    *("DejaVuSans", "DejaVuSans-BoldOblique", "DejaVuSansMono", "DejaVuSerif", "DejaVuSerif-Italic"),
    *("STIXGeneral", "STIXGeneralBolIta", "cmr10", "cmss10", "cmti10", "cmtt10"),
)

_TEXT = (
    "the quick brown fox jumps over a lazy dog Dear Anna thank you for your letter Milk Bread Butter Eggs Apples meeting on Monday morning "
    "with Peter please call back Greetings from London Hello World this is a test Shopping list remember to water plants Name Address Street "
    "City Country Yours sincerely we were very happy about it see you soon Notes chapter Summary physics because energy flows between bodies "
    "Answer Question Why How When Total Sum Solo Ball Loss Zoo Sold Bills Gis Silo Boss Logo Oslo"
)

_SIGNS = list("+-=<>()[]{}!?%&*#@$/:;,.~^_|+=-()")

_SIZES = ((1600, 1200), (1200, 1600), (1000, 700), (900, 900), (640, 480))


def _paper(random: Random) -> Plane:
    """Return bare paper in uneven light, H×W, from 0 to 255."""
    width, height = _SIZES[random.integers(len(_SIZES))]
    y, x = np.mgrid[:height, :width] / max(width, height)
    slope = random.normal(0, 35, 2)
    return (
        random.uniform(150, 245) + slope[0] * (x - 0.5) + slope[1] * (y - 0.5) - random.uniform(0, 40) * ((x - 0.5) ** 2 + (y - 0.5) ** 2)
    )


def _ruled(random: Random, squares: bool) -> Plane:
    plane = _paper(random)
    height, width = plane.shape
    mask = Image.new("L", (width, height))
    pen, step = ImageDraw.Draw(mask), int(random.uniform(0.03, 0.08) * max(plane.shape))
    across, tilt = int(random.integers(1, 4)), random.normal(0, 0.015)
    for y in range(step, height + step, step):
        pen.line((0, y, width, y + tilt * width), 255, across)
    for x in range(step, width + step, step) if squares else ():
        pen.line((x, 0, x - tilt * height, height), 255, across)
    return plane * (1 - random.uniform(0.15, 0.5) * np.asarray(mask) / 255)


def _shadows(random: Random) -> Plane:
    """Paper with hard and soft shadows, and a finger or the sheet's edge on a table."""
    plane = _paper(random)
    height, width = plane.shape
    y, x = np.mgrid[:height, :width] / max(width, height)
    for _ in range(int(random.integers(1, 4))):
        a, b = random.normal(0, 1, 2)
        soft = 10 ** random.uniform(-3, -0.7)
        side = 1 / (1 + np.exp(np.clip(-(a * (x - random.random()) + b * (y - random.random())) / soft, -50, 50)))
        plane = plane * (1 - (1 - random.uniform(0.45, 0.9)) * side)
    if random.random() < 0.5:  # a finger
        middle, reach = random.uniform(0, 1, 2) * (x.max(), 0) + (0, y.max()), random.uniform(0.06, 0.16)
        plane = np.where(((x - middle[0]) / reach) ** 2 + ((y - middle[1]) / reach / 2) ** 2 < 1, 0.6 * plane, plane)
    if random.random() < 0.5:  # a table
        edge = random.uniform(0.02, 0.12, 4)
        beyond = (x < edge[0]) | (x > x.max() - edge[1]) | (y < edge[2] + 0.03 * x) | (y > y.max() - edge[3])
        plane = np.where(beyond, random.uniform(10, 110), plane)
    return plane


def _texture(random: Random) -> Plane:
    """Noise at several scales, stretched: wood, cloth, stone, crumpled paper."""
    plane = _paper(random)
    height, width = plane.shape
    stretch = 10 ** random.uniform(-1, 1)
    for scale in (2.0, 6.0, 20.0, 60.0):
        small = (max(2, int(width / scale * min(1, stretch))), max(2, int(height / scale * min(1, 1 / stretch))))
        noise = Image.fromarray(random.normal(0, 1, small[::-1]).astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC)
        plane = plane + random.uniform(0, 14) * np.asarray(noise)
    return plane


def _blurs(random: Random) -> Plane:
    """What a photo shows that is out of focus: patches of light with soft edges."""
    plane = _paper(random)
    height, width = plane.shape
    picture = Image.fromarray(plane.clip(0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(picture)
    for _ in range(int(random.integers(3, 25))):
        middle, reach = random.random(2) * (width, height), random.uniform(0.03, 0.3, 2) * max(width, height)
        box = (*(middle - reach), *(middle + reach))
        (pen.ellipse if random.random() < 0.5 else pen.rectangle)(box, fill=int(random.integers(20, 250)))
    return np.asarray(picture.filter(ImageFilter.GaussianBlur(random.uniform(0.02, 0.08) * max(width, height)))).astype(np.float64)


def _written(random: Random, words: list[str], fonts: list[Path | None]) -> Plane:
    """Lines of words, in one font, on any paper."""
    kind = random.random()
    plane = _paper(random) if kind < 0.5 else _ruled(random, kind > 0.75) if kind < 0.9 else _shadows(random)
    height, width = plane.shape
    size = int(random.uniform(0.03, 0.09) * max(width, height))
    path = fonts[random.integers(len(fonts))]
    font = ImageFont.load_default(size) if path is None else ImageFont.truetype(str(path), size)
    mask = Image.new("L", (width, height))
    pen, y = ImageDraw.Draw(mask), size
    for _ in range(int(random.integers(1, 9))):
        if y > height - 2 * size:
            break
        text = " ".join(random.choice(words, int(random.integers(1, 6))))
        pen.text((int(random.uniform(20, 0.2 * width)), y), text, 255, font, stroke_width=int(random.integers(0, 2)))
        y += int(size * random.uniform(1.2, 1.8))
    turned = mask.rotate(random.normal(0, 1.5), Image.Resampling.BICUBIC)
    return plane * (1 - random.uniform(0.55, 0.9) * np.asarray(turned) / 255)


_Make = Callable[[Random, list["Path | None"]], Plane]

#: Each kind of page, and how it is made.
WITHOUT_WRITING: dict[str, _Make] = {
    "bare": lambda random, _: _paper(random),
    "lined": lambda random, _: _ruled(random, squares=False),
    "squared": lambda random, _: _ruled(random, squares=True),
    "shadows": lambda random, _: _shadows(random),
    "texture": lambda random, _: _texture(random),
    "blurs": lambda random, _: _blurs(random),
}
WITH_WRITING: dict[str, _Make] = {
    "letters": lambda random, fonts: _written(random, _TEXT.split(), fonts),
    "signs": lambda random, fonts: _written(random, _SIGNS, fonts),
}
KINDS = WITHOUT_WRITING | WITH_WRITING


def page(kind: str, number: int, seed: int = 0, fonts: list[Path | None] | None = None) -> Image.Image:
    """Return a page, RGB: specks on some, out of focus a little, noise, coloured paper. The same arguments give the same page."""
    random = np.random.default_rng([seed, list(KINDS).index(kind), number])
    plane = KINDS[kind](random, usual_fonts() if fonts is None else fonts)
    picture = Image.fromarray(plane.clip(0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(picture)
    for _ in range(int(random.integers(1, 30)) if random.random() < 0.3 else 0):  # specks
        (x, y), reach = random.random(2) * picture.size, int(random.integers(1, 4))
        pen.ellipse((x, y, x + reach, y + reach), fill=int(random.integers(40, 160)))
    picture = picture.filter(ImageFilter.GaussianBlur(random.uniform(0, 1.2)))
    tint = np.array([1, random.uniform(0.94, 1), random.uniform(0.85, 1)])
    noisy = np.asarray(picture)[..., None] * tint + random.normal(0, random.uniform(0, 5), (picture.height, picture.width, 1))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def usual_fonts() -> list[Path | None]:
    """Return the fonts that come with matplotlib, and None for Pillow's own."""
    folder = Path(get_data_path()) / "fonts" / "ttf"
    return [None, *(folder / f"{name}.ttf" for name in _FONTS)]


def main() -> None:
    """Make the pages, read them, print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pages", type=int, default=60, help="of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=KINDS, default=None)
    parser.add_argument("--model", default=None)
    parser.add_argument("--runtime", default="ort")
    parser.add_argument("--fonts", type=Path, default=None, help="a folder with .ttf or .otf files")
    parser.add_argument("--save", type=Path, default=None)
    options = parser.parse_args()
    fonts: list[Path | None] = usual_fonts()
    if options.fonts is not None:
        fonts = [path for path in sorted(options.fonts.rglob("*")) if path.suffix.lower() in (".ttf", ".otf")]
        if not fonts:
            raise SystemExit(f"error: {options.fonts}: no .ttf or .otf file")
    if options.save is not None:
        options.save.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore", UnprovenWarning)  # this is about reading
    predictor = Predictor.load(options.model, options.runtime)
    total = {True: [0, 0], False: [0, 0]}
    for kind in [options.only] if options.only else KINDS:
        bare = 0
        for number in range(options.pages):
            made = page(kind, number, options.seed, fonts)
            reading = predictor.read(made)
            bare += not reading.digits
            if reading.digits and options.save is not None:
                made.save(options.save / f"{kind}-{number}.png")
                drawing.explain(reading).save(options.save / f"{kind}-{number}-read.png")
        print(json.dumps({"kind": kind, "pages": options.pages, "without_digit": bare}), flush=True)
        total[kind in WITHOUT_WRITING][0] += options.pages
        total[kind in WITHOUT_WRITING][1] += bare
    for without, (pages, bare) in total.items():
        if pages:
            name = "without writing" if without else "with letters or signs"
            print(json.dumps({"all": name, "pages": pages, "without_digit": bare, "share": round(bare / pages, 4)}))


if __name__ == "__main__":
    main()
