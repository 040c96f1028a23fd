"""Make hard pictures out of easy ones: shadows, gradients, vignettes, squared paper, coloured ink, fingers, chalk.

    python benchmarks/hard_pictures.py FOLDER TO [--seed 0] [--model MODEL]

FOLDER holds pictures of digits in 0…9 (dark on light, or light on dark). Each is taken apart into paper and ink and put
together again in every way of `EFFECTS` and `LIMITS`, as a photo would have it; the results go to TO/0…9/NAME-EFFECT.jpg. Then a model
reads them, and the accuracy of each effect is printed. The same seed gives the same pictures.
"""

import argparse
import zlib
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from mnist_edge import Predictor
from mnist_edge.common.errors import PictureError
from mnist_edge.image import SUFFIXES

Array = NDArray[np.float64]
Random = np.random.Generator

WHITE = (0.93, 0.92, 0.9)
BLACK, BLUE, RED, GREEN, PENCIL = (0.12, 0.12, 0.13), (0.15, 0.22, 0.6), (0.75, 0.15, 0.15), (0.1, 0.45, 0.2), (0.52, 0.52, 0.53)


def ink_of(path: Path) -> Array:
    """Return how much ink each pixel of a picture holds, 0 to 1, H×W, with its longer side at least 240."""
    with Image.open(path) as opened:
        upright = ImageOps.exif_transpose(opened).convert("RGBA")
    picture = Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright).convert("L")
    if max(picture.size) > 480:
        picture = ImageOps.contain(picture, (480, 480))
    grey = np.asarray(picture, np.float64)
    if np.median(np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])) < 128:
        grey = 255 - grey
    if max(grey.shape) < 240:
        picture = Image.fromarray(grey.astype(np.uint8))
        k = 240 / max(picture.size)
        grey = np.asarray(picture.resize((round(picture.width * k), round(picture.height * k)), Image.Resampling.BICUBIC), np.float64)
    dark, light = np.percentile(grey, [0.5, 90])
    return np.clip((light - 25 - grey) / max(1.0, light - 25 - dark), 0, 1)


def canvas(ink: Array, height: int, width: int, share: float, random: Random) -> Array:
    """Put the drawing, cut to its ink, on an empty sheet: its longer side is `share` of the sheet's shorter one."""
    rows, columns = np.flatnonzero((ink > 0.4).any(axis=1)), np.flatnonzero((ink > 0.4).any(axis=0))
    cut = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    k = share * min(height, width) / max(cut.shape)
    drawing = Image.fromarray((cut * 255).astype(np.uint8))
    drawing = drawing.resize((max(1, round(drawing.width * k)), max(1, round(drawing.height * k))), Image.Resampling.LANCZOS)
    sheet = Image.new("L", (width, height))
    room_x, room_y = width - drawing.width, height - drawing.height
    sheet.paste(drawing, (int(room_x * random.uniform(0.3, 0.7)), int(room_y * random.uniform(0.3, 0.7))))
    return np.asarray(sheet, np.float64) / 255


def compose(ink: Array, paper: tuple[float, ...] | Array, pen: tuple[float, ...]) -> Array:
    """Return ink of one colour on paper, H×W×3, 0 to 1."""
    ground = np.broadcast_to(np.asarray(paper, np.float64), (*ink.shape, 3))
    mixed: Array = ground * (1 - ink[..., None]) + np.asarray(pen) * ink[..., None]
    return mixed


def _axes(shape: tuple[int, ...], random: Random) -> tuple[Array, Array, Array]:
    """Return y, x and the coordinate along a random direction, each -1 to 1 or so."""
    y, x = np.meshgrid(np.linspace(-1, 1, shape[0]), np.linspace(-1, 1, shape[1]), indexing="ij")
    angle = random.uniform(0, 2 * np.pi)
    return y, x, x * np.cos(angle) + y * np.sin(angle)


def gradient(shape: tuple[int, ...], random: Random) -> Array:
    """Light that falls off to a third across the picture."""
    return np.interp(_axes(shape, random)[2], [-1.2, 1.2], [random.uniform(0.25, 0.45), 1])


def vignette(shape: tuple[int, ...], random: Random) -> Array:
    """Corners as a cheap lens leaves them."""
    y, x, _ = _axes(shape, random)
    return 1 - random.uniform(0.35, 0.65) * np.clip((x**2 + y**2) / 2, 0, 1) ** 1.2


def shadow(shape: tuple[int, ...], random: Random, softness: float) -> Array:
    """The shadow of something straight, its edge through the digit."""
    along = _axes(shape, random)[2] - random.uniform(-0.3, 0.3)
    return 1 - random.uniform(0.35, 0.6) / (1 + np.exp(-along / softness))


def hand(shape: tuple[int, ...], random: Random) -> Array:
    """The blurred shadow of a hand that holds the phone."""
    y, x, _ = _axes(shape, random)
    away, angle = random.uniform(0.5, 0.9), random.uniform(0, 2 * np.pi)
    distance = np.hypot(x - away * np.cos(angle), (y - away * np.sin(angle)) * random.uniform(0.6, 1))
    return 1 - random.uniform(0.35, 0.6) / (1 + np.exp((distance - random.uniform(0.5, 0.8)) / 0.06))


def lines(shape: tuple[int, ...], random: Random, *, squared: bool) -> Array:
    """Printed lines, 0 to 1, a little turned, and not by the ruler of the pixels."""
    zoom = 2
    pitch = random.uniform(0.14, 0.3) * min(shape)
    side = 2 * max(shape)
    image = Image.new("L", (side * zoom, side * zoom))
    pen = ImageDraw.Draw(image)
    thickness = max(zoom, round(zoom * min(shape) * random.uniform(0.004, 0.008)))
    for at in np.arange(0, side, pitch) * zoom:
        pen.line((0, at, side * zoom, at), fill=255, width=thickness)
        if squared:
            pen.line((at, 0, at, side * zoom), fill=255, width=thickness)
    turned = image.rotate(random.uniform(-4, 4), Image.Resampling.BILINEAR).reduce(zoom)
    left, top = (side - shape[1]) // 2, (side - shape[0]) // 2
    return np.asarray(turned.crop((left, top, left + shape[1], top + shape[0])), np.float64) / 255


def ruled(shape: tuple[int, ...], random: Random, *, squared: bool, strength: float = 0.3) -> Array:
    """White paper with printed lines, grey or bluish."""
    colour = (0.45, 0.55, 0.75) if random.random() < 0.5 else (0.5, 0.5, 0.5)
    return compose(lines(shape, random, squared=squared) * random.uniform(strength * 0.7, strength * 1.3), WHITE, colour)


def finger(picture: Array, random: Random) -> Array:
    """A finger that holds the sheet, in from one side, short of the digit."""
    height, width = picture.shape[:2]
    length, thick = random.uniform(0.12, 0.2), random.uniform(0.12, 0.2)
    skin, shade = Image.new("L", (width, height)), Image.new("L", (width, height))
    at = random.uniform(0.1, 0.9) * height
    for image, grow in ((skin, 0), (shade, 0.02)):
        box = (-width * 0.3, at - (thick / 2 + grow) * height, width * (length + grow), at + (thick / 2 + grow) * height)
        ImageDraw.Draw(image).rounded_rectangle(box, radius=thick / 2 * height, fill=255)
    blurred = np.asarray(shade.filter(ImageFilter.GaussianBlur(0.015 * width)), np.float64)[..., None] / 255
    mask = np.asarray(skin.filter(ImageFilter.GaussianBlur(1)), np.float64)[..., None] / 255
    if random.random() < 0.5:
        blurred, mask = blurred[:, ::-1], mask[:, ::-1]
    result: Array = picture * (1 - 0.4 * blurred) * (1 - mask) + np.array([0.72, 0.5, 0.42]) * mask
    return result


def table(picture: Array, random: Random) -> Array:
    """The sheet ends, and the dark table begins, at one side."""
    result = picture.copy()
    result[:, : int(picture.shape[1] * random.uniform(0.05, 0.14))] = (0.28, 0.2, 0.15)
    return result


def dirt(ink: Array, random: Random) -> Array:
    """Specks on the sheet."""
    height, width = ink.shape
    image = Image.fromarray((ink * 255).astype(np.uint8))
    pen = ImageDraw.Draw(image)
    for _ in range(14):
        x, y, r = random.uniform(0, width), random.uniform(0, height), random.uniform(0.5, 2.2)
        pen.ellipse((x - r, y - r, x + r, y + r), fill=int(random.uniform(100, 255)))
    return np.asarray(image, np.float64) / 255


def camera(picture: Array, random: Random, noise: float = 0.015) -> Image.Image:
    """What the sensor makes of it: a little blur, noise, 8 bits."""
    seen = Image.fromarray((np.clip(picture, 0, 1) * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(random.uniform(0.3, 1.0)))
    grainy = np.asarray(seen, np.float64) + random.normal(0, 255 * noise, picture.shape)
    return Image.fromarray(np.clip(grainy, 0, 255).astype(np.uint8))


def _plain(ink: Array, random: Random) -> Array:
    return canvas(ink, 360, 300, random.uniform(0.45, 0.75), random)


def _lit(light: Callable[..., Array], **how: float) -> Callable[[Array, Random], Array]:
    def effect(ink: Array, random: Random) -> Array:
        sheet = _plain(ink, random)
        return compose(sheet, WHITE, BLACK) * light(sheet.shape, random, **how)[..., None]

    return effect


def _coloured(pens: list[tuple[float, ...]], papers: list[tuple[float, ...]]) -> Callable[[Array, Random], Array]:
    def effect(ink: Array, random: Random) -> Array:
        sheet = _plain(ink, random)
        picture = compose(sheet, papers[random.integers(len(papers))], pens[random.integers(len(pens))])
        return picture * np.interp(_axes(sheet.shape, random)[2], [-1, 1], [0.75, 1])[..., None]

    return effect


def _on_lines(*, squared: bool) -> Callable[[Array, Random], Array]:
    def effect(ink: Array, random: Random) -> Array:
        sheet = _plain(ink, random)
        pen = (BLACK, BLUE)[random.integers(2)]
        return compose(sheet, ruled(sheet.shape, random, squared=squared), pen) * vignette(sheet.shape, random)[..., None]

    return effect


def _chalk(ink: Array, random: Random) -> Array:
    sheet = _plain(ink, random)
    return compose(sheet, (0.13, 0.22, 0.18), (0.88, 0.88, 0.8)) * gradient(sheet.shape, random)[..., None]


def _small(ink: Array, random: Random) -> Array:
    sheet = dirt(canvas(ink, 900, 700, random.uniform(0.14, 0.22), random), random)
    return compose(sheet, WHITE, BLACK) * gradient(sheet.shape, random)[..., None]


def _held(ink: Array, random: Random) -> Array:
    sheet = canvas(ink, 360, 300, random.uniform(0.4, 0.5), random)
    return finger(compose(sheet, WHITE, (BLACK, BLUE)[random.integers(2)]), random)


def _on_table(ink: Array, random: Random) -> Array:
    sheet = canvas(ink, 360, 300, random.uniform(0.4, 0.6), random)
    return table(compose(sheet, WHITE, BLACK), random) * vignette(sheet.shape, random)[..., None]


def _all_at_once(ink: Array, random: Random) -> Array:
    sheet = canvas(ink, 800, 600, random.uniform(0.35, 0.6), random)
    picture = compose(sheet, ruled(sheet.shape, random, squared=True, strength=0.25), BLUE)
    return picture * (gradient(sheet.shape, random) * shadow(sheet.shape, random, 0.05))[..., None]


EFFECTS: dict[str, Callable[[Array, Random], Array]] = {
    "gradient": _lit(gradient),
    "vignette": _lit(vignette),
    "softshadow": _lit(shadow, softness=0.12),
    "hardshadow": _lit(shadow, softness=0.008),
    "hand": _lit(hand),
    "squared": _on_lines(squared=True),
    "ruled": _on_lines(squared=False),
    "colour": _coloured([BLUE, RED, GREEN], [WHITE]),
    "pencil": _coloured([PENCIL], [WHITE]),
    "colouredpaper": _coloured([BLACK, BLUE], [(0.95, 0.88, 0.35), (0.95, 0.7, 0.75), (0.65, 0.8, 0.95), (0.7, 0.6, 0.45)]),
    "chalk": _chalk,
    "small": _small,
    "finger": _held,
    "table": _on_table,
    "everything": _all_at_once,
}


def _crossed(ink: Array, random: Random) -> Array:
    sheet = _plain(ink, random)
    colour = (0.35, 0.45, 0.7) if random.random() < 0.5 else (0.3, 0.3, 0.3)
    return compose(sheet, compose(lines(sheet.shape, random, squared=False) * random.uniform(0.8, 1), WHITE, colour), BLACK)


def _aslant(ink: Array, random: Random) -> Array:
    sheet = Image.fromarray((compose(canvas(ink, 400, 400, 0.4, random), WHITE, BLACK) * 255).astype(np.uint8)).convert("RGBA")
    turned = sheet.rotate(random.uniform(-25, 25), Image.Resampling.BICUBIC, expand=True)
    desk = Image.new("RGBA", (640, 640), (70, 50, 40, 255))
    desk.alpha_composite(turned, ((640 - turned.width) // 2, (640 - turned.height) // 2))
    margin = int(random.uniform(60, 110))
    seen = np.asarray(desk.convert("RGB"), np.float64)[margin:-margin, margin:-margin] / 255
    return seen * gradient(seen.shape[:2], random)[..., None]


#: What is known to be read less well; not counted among the others.
LIMITS: dict[str, Callable[[Array, Random], Array]] = {"crossed": _crossed, "aslant": _aslant}


def make(folder: Path, to: Path, seed: int) -> int:
    """Write every picture of `folder` in every effect to `to`; return how many were written."""
    count = 0
    for path in sorted(p for p in folder.glob("[0-9]/*") if p.suffix.lower() in SUFFIXES):
        ink = ink_of(path)
        for name, effect in (EFFECTS | LIMITS).items():
            random = np.random.default_rng([seed, zlib.crc32(f"{path.parent.name}/{path.name} {name}".encode())])
            target = to / path.parent.name / f"{path.stem}-{name}.jpg"
            target.parent.mkdir(parents=True, exist_ok=True)
            camera(effect(ink, random), random).save(target, quality=85)
            count += 1
    return count


def main() -> None:
    """Make the pictures, read them, print a row an effect."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("to", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", default=None)
    options = parser.parse_args()
    print(f"{make(options.folder, options.to, options.seed)} pictures in {options.to}")
    predictor = Predictor.load(options.model)
    right: dict[str, list[bool]] = defaultdict(list)
    for path in sorted(options.to.glob("[0-9]/*.jpg")):
        try:
            answer = predictor.predict(path).digit
        except PictureError:
            answer = -1
        right[path.stem.rpartition("-")[2]].append(answer == int(path.parent.name))
    for name, answers in right.items():
        print(f"{name:14s} {100 * np.mean(answers):6.2f} %  of {len(answers)}")
    total = [answer for name in EFFECTS for answer in right[name]]
    print(f"{'all':14s} {100 * np.mean(total):6.2f} %  of {len(total)}, without {' and '.join(LIMITS)}")


if __name__ == "__main__":
    main()
