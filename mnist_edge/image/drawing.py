"""Draws what the network saw: of one picture, or of the pictures that were read wrongly."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from mnist_edge.image.prepare import Prepared

# Pillow's own font has no × and no ellipsis; a light card reads well on light and dark pages; the blue and the orange can be told apart by everyone
_PAPER, _TEXT, _FAINT, _BAR, _ACCENT = "#ffffff", "#1b1f24", "#6b737c", "#c3ccd6", "#0b62c4"
_WRONG = "#b34700"

_PANEL, _GAP = 280, 24


@dataclass(frozen=True)
class Mistake:
    """An image that was read wrongly.

    Attributes:
        picture: uint8, as the user gave it, grey or RGB; None where there is nothing but `pixels`.
        pixels: uint8, 28×28, what the network saw.
        label, digit: what it is, and as what it was read.
        confidence: of the wrong answer, 0 to 1.
        name: what to call it.
    """

    picture: NDArray[np.uint8] | None
    pixels: NDArray[np.uint8]
    label: int
    digit: int
    confidence: float
    name: str


def explain(prepared: Prepared, probabilities: tuple[float, ...], warnings: tuple[str, ...] = ()) -> Image.Image:
    """Draw the picture with the box that was found, the 28×28 that the network sees, and the ten probabilities."""
    header, footer = 30, 22 * len(warnings)
    card = Image.new("RGB", (3 * _PANEL + 4 * _GAP, _PANEL + header + 2 * _GAP + footer), _PAPER)
    pen = ImageDraw.Draw(card)
    top = _GAP + header
    columns = [_GAP + i * (_PANEL + _GAP) for i in range(3)]
    digit = int(np.argmax(probabilities))
    ground = f"{prepared.ink} ink"
    for x, title in zip(columns, (f"the picture, {ground}", "what the network sees, 28 x 28", "what it answers"), strict=True):
        pen.text((x, _GAP), title, _FAINT, _font(15))
    _draw_picture(card, prepared, columns[0], top)
    seen = Image.fromarray(prepared.pixels).resize((_PANEL, _PANEL), Image.Resampling.NEAREST)
    card.paste(seen, (columns[1], top))
    _draw_bars(pen, probabilities, digit, columns[2], top)
    for i, warning in enumerate(warnings):
        pen.text((_GAP, top + _PANEL + 12 + 22 * i), f"! {warning}", _WRONG, _font(15))
    return card


def _draw_picture(card: Image.Image, prepared: Prepared, x: int, y: int) -> None:
    picture = Image.fromarray(prepared.picture).convert("RGB")
    scale = _PANEL / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    shown = picture.resize(size, Image.Resampling.NEAREST if scale > 2 else Image.Resampling.LANCZOS)
    left, top = x + (_PANEL - size[0]) // 2, y + (_PANEL - size[1]) // 2
    card.paste(shown, (left, top))
    pen = ImageDraw.Draw(card)
    pen.rectangle((left - 1, top - 1, left + size[0], top + size[1]), outline=_BAR)
    k = size[0] / prepared.size[0]
    x0, y0, x1, y1 = (value * k for value in prepared.box)
    pen.rectangle((left + x0 - 2, top + y0 - 2, left + x1 + 1, top + y1 + 1), outline=_PAPER, width=4)
    pen.rectangle((left + x0 - 1, top + y0 - 1, left + x1, top + y1), outline=_ACCENT, width=2)


def _draw_bars(pen: ImageDraw.ImageDraw, probabilities: tuple[float, ...], digit: int, x: int, y: int) -> None:
    row = _PANEL / 10
    start, length = x + 24, _PANEL - 24 - 62
    for i, probability in enumerate(probabilities):
        middle = y + row * (i + 0.5)
        colour = _ACCENT if i == digit else _TEXT
        pen.text((x + 4, middle), str(i), colour, _font(17), anchor="lm")
        pen.rectangle((start, middle - 8, start + length, middle + 8), fill="#f0f3f6")
        if probability * length >= 1:
            pen.rectangle((start, middle - 8, start + probability * length, middle + 8), fill=_ACCENT if i == digit else _BAR)
        pen.text((x + _PANEL, middle), f"{100 * probability:.1f} %", colour, _font(14), anchor="rm")


def grid(shown: Sequence[Mistake], count: int, title: str) -> Image.Image:
    """Draw mistakes in the given order: the picture, what the network saw, the truth and the answer. `count` is their number in all."""
    rest = f"; the {len(shown)} most confident of {count} mistakes" if count > len(shown) else ""
    cell_width, cell_height, columns = 250, 172, min(5, max(1, len(shown)))
    rows = max(1, math.ceil(len(shown) / columns))
    width = max(columns * cell_width, math.ceil(_font(17).getlength(title + rest)) + _GAP)
    card = Image.new("RGB", (width + _GAP, rows * cell_height + 2 * _GAP + 30), _PAPER)
    pen = ImageDraw.Draw(card)
    pen.text((_GAP, _GAP - 4), title + rest, _TEXT, _font(17))
    if not shown:
        pen.text((_GAP, _GAP + 40), "none was misread", _FAINT, _font(16))
    for i, mistake in enumerate(shown):
        _draw_mistake(card, pen, mistake, _GAP + i % columns * cell_width, _GAP + 34 + i // columns * cell_height)
    return card


def _draw_mistake(card: Image.Image, pen: ImageDraw.ImageDraw, mistake: Mistake, x: int, y: int) -> None:
    side = 110
    seen = Image.fromarray(mistake.pixels).resize((side, side), Image.Resampling.NEAREST)
    if mistake.picture is None:
        card.paste(seen, (x, y))
    else:
        picture = Image.fromarray(mistake.picture).convert("RGB")
        scale = side / max(picture.size)
        picture = picture.resize((max(1, round(picture.width * scale)), max(1, round(picture.height * scale))), Image.Resampling.LANCZOS)
        left, top = x + (side - picture.width) // 2, y + (side - picture.height) // 2
        card.paste(picture, (left, top))
        pen.rectangle((left - 1, top - 1, left + picture.width, top + picture.height), outline=_BAR)
        card.paste(seen, (x + side + 6, y))
    pen.text((x, y + side + 4), f"is {mistake.label}, read as {mistake.digit}", _WRONG, _font(15))
    pen.text((x, y + side + 24), f"{100 * mistake.confidence:.0f} % · {_shortened(mistake.name)}", _FAINT, _font(13))


def _shortened(name: str, most: int = 28) -> str:
    return name if len(name) <= most else f"...{name[3 - most :]}"


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
