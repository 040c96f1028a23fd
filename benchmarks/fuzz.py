"""Change single bytes of pictures at random and read them: what is read, what is refused, how slow and how large it gets.

    python benchmarks/fuzz.py [--count 5000] [--seed 0]

`count` broken files of each format; half of the changes fall on the first 64 bytes, which hold the sizes. Prints JSON. Fails if
anything but a PictureError of one line is raised.
"""

import argparse
import io
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from mnist_edge import image
from mnist_edge.errors import PictureError

FORMATS: dict[str, dict[str, Any]] = {
    "PNG": {"format": "PNG"},
    "PNG, 16 bits": {"format": "PNG"},
    "JPEG": {"format": "JPEG"},
    "JPEG, progressive": {"format": "JPEG", "progressive": True},
    "WebP": {"format": "WEBP"},
    "WebP, lossless": {"format": "WEBP", "lossless": True},
    "GIF": {"format": "GIF"},
    "BMP": {"format": "BMP"},
}


def drawing(name: str) -> Image.Image:
    """Return a 7 in blue ink on white."""
    sheet = Image.new("RGB", (72, 96), "white")
    ImageDraw.Draw(sheet).line([(15, 15), (55, 15), (30, 80)], fill=(20, 30, 120), width=5)
    if name == "PNG, 16 bits":
        return Image.fromarray(np.asarray(sheet.convert("L")).astype(np.uint16) * 257)
    return sheet


def peak_kilobytes() -> int | None:
    """Return the process's own peak memory; `ru_maxrss` would be that of the process that it was forked from."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))


def main() -> None:
    """Break pictures, read them, print the counts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    random = np.random.default_rng(options.seed)
    counts, slowest = {}, 0.0
    for name, how in FORMATS.items():
        buffer = io.BytesIO()
        drawing(name).save(buffer, **how)
        whole = buffer.getvalue()
        read = refused = 0
        for _ in range(options.count):
            broken = bytearray(whole)
            broken[int(random.integers(len(whole) if random.random() < 0.5 else min(64, len(whole))))] = int(random.integers(256))
            started = time.perf_counter()
            try:
                if image.prepare(bytes(broken)).pixels.shape != (28, 28):
                    raise SystemExit(f"{name}: not 28×28")
                read += 1
            except PictureError as error:
                if "\n" in str(error) or len(str(error)) > 400:
                    raise SystemExit(f"{name}: not one line: {error}") from error
                refused += 1
            slowest = max(slowest, time.perf_counter() - started)
        counts[name] = {"read": read, "refused": refused}
    print(json.dumps({"counts": counts, "slowest_seconds": round(slowest, 3), "peak_kilobytes": peak_kilobytes()}))


if __name__ == "__main__":
    main()
