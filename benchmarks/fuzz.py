"""Damage pictures at random and read them: what is refused, what is read all the same, how slow and how large it gets.

    python benchmarks/fuzz.py [--several] [--pictures FOLDER] [--damage byte] [--count 5000] [--seed 0] [--model MODEL]

Makes `count` damaged files of each format and compares how they are read with how the whole file is read, once by the 28×28 pixels
that the network gets and once by the digit that the model answers. Prints JSON, for each format:

    refused     an error of one line
    same        read as the whole file is
    warned      read otherwise, with a warning that the whole file does not get
    silent      read otherwise without one

`--damage` is what happens to a file: ``byte`` (one byte changed), ``flip`` (one bit), ``drop`` (one byte lost), ``double`` (one byte
twice), ``swap`` (two neighbouring bytes that differ), ``cut`` (the end lost). Without `--pictures` a small drawing is damaged, half of the
time within its first 64 bytes, which hold the sizes. With it, the pictures in FOLDER are written anew in each format, and read as
they are too, and are damaged anywhere.

With `--several` the files are read as pages (`Predictor.read`); the "pixels" are then all boxes and digits, and the digit is the page's text.

Fails if anything but a PictureError of one line is raised, or if a PNG is read otherwise in silence.

PNG has checksums, so no damage to it goes unseen. The others have none, and what remains silent cannot be told from another
picture: in BMP every value of a pixel is a valid one; in GIF a changed code that stands for as many pixels is a valid code, and so is
another colour of the palette; in JPEG and WebP nearly every row of bits can be decoded, into other brightnesses, to the end
or beyond it, where libjpeg and libwebp go on without a word to Pillow.
"""

import argparse
import io
import json
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from mnist_edge import Predictor, image
from mnist_edge.common.errors import PictureError, UnprovenWarning

LENET = Path(__file__).resolve().parents[1] / "models" / "lenet"

#: How a picture is saved in each format, and the mode that it is converted to.
FORMATS: dict[str, tuple[str, dict[str, Any]]] = {
    "PNG": ("RGB", {"format": "PNG"}),
    "PNG, grey": ("L", {"format": "PNG"}),
    "PNG, transparent": ("RGBA", {"format": "PNG"}),
    "PNG, palette": ("P", {"format": "PNG"}),
    "PNG, 16 bits": ("I;16", {"format": "PNG"}),
    "PNG, 1 bit": ("1", {"format": "PNG"}),
    "JPEG": ("RGB", {"format": "JPEG"}),
    "JPEG, progressive": ("RGB", {"format": "JPEG", "progressive": True}),
    "WebP": ("RGB", {"format": "WEBP"}),
    "WebP, lossless": ("RGB", {"format": "WEBP", "lossless": True}),
    "GIF": ("P", {"format": "GIF"}),
    "BMP": ("RGB", {"format": "BMP"}),
    "BMP, 8 bits": ("L", {"format": "BMP"}),
    "BMP, 1 bit": ("1", {"format": "BMP"}),
}

Random = np.random.Generator


def encode(picture: Image.Image, name: str, **more: Any) -> bytes:
    """Return the picture as a file in one of `FORMATS`."""
    mode, how = FORMATS[name]
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)
    elif mode == "P":
        picture = picture.convert("RGB").quantize(64)
    else:
        picture = picture.convert(mode)
    buffer = io.BytesIO()
    picture.save(buffer, **how, **more)
    return buffer.getvalue()


def _change(whole: bytes, at: int, random: Random) -> bytes:
    return whole[:at] + bytes([whole[at] ^ int(random.integers(1, 256))]) + whole[at + 1 :]


def _flip(whole: bytes, at: int, random: Random) -> bytes:
    return whole[:at] + bytes([whole[at] ^ 1 << int(random.integers(8))]) + whole[at + 1 :]


def _swap(whole: bytes, at: int, random: Random) -> bytes:
    while at + 1 < len(whole) and whole[at] == whole[at + 1]:
        at += 1
    return whole[:at] + whole[at : at + 2][::-1] + whole[at + 2 :] if at + 1 < len(whole) else _swap(whole, 0, random)


#: What can happen to a file at one place.
DAMAGES: dict[str, Callable[[bytes, int, Random], bytes]] = {
    "byte": _change,
    "flip": _flip,
    "drop": lambda whole, at, _: whole[:at] + whole[at + 1 :],
    "double": lambda whole, at, _: whole[: at + 1] + whole[at:],
    "swap": _swap,
    "cut": lambda whole, at, _: whole[:at],
}


class Reading(NamedTuple):
    """How a file was read."""

    pixels: bytes
    digit: int | str
    warnings: frozenset[str]


def read(predictor: Predictor, file: bytes, several: bool = False) -> Reading | None:
    """Read a file; None if it is refused, as it should be, in one line."""
    try:
        if several:
            page = predictor.read(file)
            told = frozenset((*page.warnings, *(warning for digit in page.digits for warning in digit.warnings)))
            return Reading(repr(page.rows).encode(), page.text, told)
        prepared = image.prepare(file)
    except PictureError as error:
        if "\n" in str(error) or len(str(error)) > 400:
            raise SystemExit(f"not one line: {error}") from error
        return None
    if prepared.pixels.shape != (28, 28):
        raise SystemExit("not 28×28")
    (answer,) = predictor.predict_prepared([prepared])
    return Reading(prepared.pixels.tobytes(), answer.digit, frozenset(answer.warnings))


def outcomes(whole: Reading, damaged: Reading | None) -> tuple[str, str]:
    """Compare a damaged file with the whole one, by the pixels and by the digit: refused, same, warned or silent."""
    if damaged is None:
        return "refused", "refused"
    told = "warned" if damaged.warnings - whole.warnings else "silent"
    return ("same" if damaged.pixels == whole.pixels else told), ("same" if damaged.digit == whole.digit else told)


def drawing() -> Image.Image:
    """Return a 7 in blue ink on white."""
    sheet = Image.new("RGB", (72, 96), "white")
    ImageDraw.Draw(sheet).line([(15, 15), (55, 15), (30, 80)], fill=(20, 30, 120), width=5)
    return sheet


def bases(folder: Path | None) -> Iterator[tuple[str, list[bytes]]]:
    """Give each format with the whole files that will be damaged."""
    if folder is None:
        for name in FORMATS:
            yield name, [encode(drawing(), name)]
        return
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in image.SUFFIXES)
    pictures = []
    for path in paths:
        with Image.open(path) as opened:
            upright = ImageOps.exif_transpose(opened).convert("RGBA")
        pictures.append(Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright))
    for suffixes in ((".png",), (".jpg", ".jpeg")):
        found = [path.read_bytes() for path in paths if path.suffix.lower() in suffixes]
        if found:
            yield f"{suffixes[0][1:]} as they are", found
    for name in FORMATS:
        yield name, [encode(picture, name) for picture in pictures]


def peak_kilobytes() -> int | None:
    """Return the process's own peak memory; `ru_maxrss` would be that of the process that it was forked from."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))


def main() -> None:
    """Damage pictures, read them, print the counts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--several", action="store_true")
    parser.add_argument("--pictures", type=Path, default=None)
    parser.add_argument("--damage", choices=DAMAGES, default="byte")
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", default=LENET)
    options = parser.parse_args()
    random = np.random.default_rng(options.seed)
    warnings.simplefilter("ignore", UnprovenWarning)  # this is about reading
    predictor = Predictor.load(options.model)
    counts: dict[str, dict[str, dict[str, int]]] = {}
    slowest, silent_png = 0.0, 0
    for name, files in bases(options.pictures):
        readings = [read(predictor, file, options.several) for file in files]
        usable = [(file, whole) for file, whole in zip(files, readings, strict=True) if whole is not None]
        by_pixels, by_digit = Counter[str](), Counter[str]()
        for _ in range(options.count):
            file, whole = usable[int(random.integers(len(usable)))]
            in_head = options.pictures is None and random.random() < 0.5
            damaged = DAMAGES[options.damage](file, int(random.integers(min(64, len(file)) if in_head else len(file))), random)
            started = time.perf_counter()
            reading = read(predictor, damaged, options.several)
            slowest = max(slowest, time.perf_counter() - started)
            pixels, digit = outcomes(whole, reading)
            by_pixels[pixels] += 1
            by_digit[digit] += 1
        kinds = ("refused", "same", "warned", "silent")
        counts[name] = {"pixels": {kind: by_pixels[kind] for kind in kinds}, "digit": {kind: by_digit[kind] for kind in kinds}}
        silent_png += by_pixels["silent"] if name.lower().startswith("png") else 0
    print(json.dumps({"counts": counts, "slowest_seconds": round(slowest, 3), "peak_kilobytes": peak_kilobytes()}))
    if silent_png:
        raise SystemExit(f"{silent_png} damaged PNGs were read otherwise in silence")


if __name__ == "__main__":
    main()
