"""Draws a page with every digit's box and its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from mnist_edge.reading.reader import Reading

# the blue and the orange can be told apart by everyone
_PAPER, _SURE, _DOUBTFUL = "#ffffff", "#0b62c4", "#b34700"

#: The longer side of a drawing is at least and at most this, in pixels.
_LEAST, _MOST = 700, 1600


def explain(reading: Reading) -> Image.Image:
    """Draw the upright page, a box around each digit, and the answer above it: blue, or orange where there is a doubt."""
    picture = Image.fromarray(reading.picture).convert("RGB")
    scale = min(_MOST, max(_LEAST, *picture.size)) / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    page = picture.resize(size, Image.Resampling.LANCZOS)
    digits = reading.digits
    k = size[0] / reading.size[0]
    heights = sorted(k * (one.box[3] - one.box[1]) for one in digits)
    text = max(12, min(30, round(0.4 * heights[len(heights) // 2]))) if heights else 14
    lines, small = [f"! {warning}" for warning in reading.warnings], ImageFont.load_default(15)
    width = max([size[0], *(round(small.getlength(line)) + 12 for line in lines)])
    card = Image.new("RGB", (width, size[1] + text + 8 + 22 * len(lines)), _PAPER)
    card.paste(page, (0, text + 8))
    pen, font = ImageDraw.Draw(card), ImageFont.load_default(text)
    for one in digits:
        left, top, right, bottom = (k * value for value in one.box)
        top, bottom = top + text + 8, bottom + text + 8
        colour = _DOUBTFUL if one.warnings else _SURE
        pen.rectangle((left - 3, top - 3, right + 2, bottom + 2), outline=_PAPER, width=3)
        pen.rectangle((left - 2, top - 2, right + 1, bottom + 1), outline=colour, width=2)
        pen.text(((left + right) / 2, top - 4), str(one.digit), colour, font, anchor="mb", stroke_width=2, stroke_fill=_PAPER)
    for i, line in enumerate(lines):
        pen.text((6, size[1] + text + 10 + 22 * i), line, _DOUBTFUL, small)
    return card
