"""What the benchmarks read: a picture, a folder of PNGs, or an idx file of any length."""

import struct
import sys
from pathlib import Path

from PIL import Image

from mnist_edge.dataset import drawn


def main() -> None:
    """Write ``picture PATH``, ``pngs FOLDER COUNT`` or ``idx PATH COUNT``."""
    kind, path = sys.argv[1], Path(sys.argv[2])
    if kind == "picture":
        digit = drawn.draw("test", 10).images[0, 0]
        Image.fromarray(255 - digit).resize((280, 280), Image.Resampling.BICUBIC).save(path)
    elif kind == "pngs":
        path.mkdir()
        for index, digit in enumerate(drawn.draw("test", int(sys.argv[3])).images[:, 0]):
            Image.fromarray(digit).save(path / f"{index:06}.png")
    else:
        count, block = int(sys.argv[3]), drawn.draw("test", 10_000).images
        with path.open("wb") as file:
            file.write(struct.pack(">4I", 0x803, count, 28, 28))
            for start in range(0, count, len(block)):
                file.write(block[: count - start].tobytes())


if __name__ == "__main__":
    main()
