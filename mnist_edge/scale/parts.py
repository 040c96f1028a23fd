"""Pictures and idx files in parts, each of which a process answers by itself: as `mnist-edge predict` does, bit for bit."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

from mnist_edge.common.errors import DataError
from mnist_edge.dataset.idx import stream_images
from mnist_edge.image import pipeline
from mnist_edge.predictor import Predictor
from mnist_edge.scale.rows import row

#: Images of an idx file that are answered at a time.
BATCH = 256

#: Pictures, and images of an idx file, in a part: about a tenth of a second's work. The latter is a multiple of `BATCH`.
PICTURES, IMAGES = 256, 16 * BATCH


class Pictures(NamedTuple):
    """Files to read, each with the reason if it is already known to be unreadable."""

    names: tuple[tuple[str, str | None], ...]

    @property
    def first(self) -> tuple[str, int | None]:
        """The name of the first picture, and its index in an idx file."""
        return self.names[0][0], None

    def halves(self) -> list[Part]:
        """Return two smaller parts; one if this cannot be divided."""
        middle = len(self.names) // 2
        return [Pictures(self.names[:middle]), Pictures(self.names[middle:])] if middle else [self]

    def answers(self, predictor: Predictor, ink: str) -> Iterator[dict[str, Any]]:
        """Answer each picture, one by one, as rows."""
        sources = (pipeline.Source(path, problem) for path, problem in self.names)
        for read in pipeline.read_all(sources, ink, keep_pictures=False, processes=1):
            prediction = predictor.predict_prepared([read.prepared])[0] if read.prepared else None
            yield row(read.source.path, prediction, read.prepared, None, read.error)


class Images(NamedTuple):
    """Images of an idx file, from `start` to before `stop`; the last part also notices what is wrong behind them."""

    path: str
    start: int
    stop: int
    is_last: bool

    @property
    def first(self) -> tuple[str, int | None]:
        """The name of the file, and the index of the first image."""
        return self.path, self.start

    def halves(self) -> list[Part]:
        """Return two smaller parts; one if this cannot be divided."""
        middle = (self.start + self.stop) // 2
        if middle <= self.start:
            return [self]
        return [self._replace(stop=middle, is_last=False), self._replace(start=middle)]

    def answers(self, predictor: Predictor, ink: str) -> Iterator[dict[str, Any]]:
        """Answer the images unchanged, 256 at a time, as rows; what is wrong with the file is a row, too."""
        index = self.start
        try:
            for pixels in stream_images(self.path, BATCH, self.start, None if self.is_last else self.stop):
                for prediction in predictor.predictions(predictor.logits(255 - pixels if ink == "dark" else pixels)):
                    yield row(f"{self.path}[{index}]", prediction, position=index)
                    index += 1
        except DataError as error:
            yield row(self.path, error=str(error))


Part = Pictures | Images


def split(names: Iterable[tuple[str, str | None]], is_idx: Callable[[tuple[str, str | None]], bool]) -> list[Part]:
    """Divide what `predict` was given into parts, in its order. The same names and files give the same parts."""
    parts: list[Part] = []
    waiting: list[tuple[str, str | None]] = []

    def flush() -> None:
        if waiting:
            parts.append(Pictures(tuple(waiting)))
            waiting.clear()

    for name in names:
        if is_idx(name):
            flush()
            parts += _images(name[0])
            continue
        waiting.append(name)
        if len(waiting) == PICTURES:
            flush()
    flush()
    return parts


def _images(path: str) -> list[Images]:
    """Divide an idx file. One that is compressed can only be read from its beginning; one that is damaged says so when it is read."""
    count = 0
    if not path.endswith(".gz"):
        with suppress(OSError, struct.error), open(path, "rb") as file:  # noqa: PTH123 - a name may contain anything, so it stays a string
            count = min(struct.unpack(">4xI8x", file.read(16))[0], max(0, os.fstat(file.fileno()).st_size - 16) // 784)
    starts = range(0, max(count, 1), IMAGES)
    return [Images(path, start, min(start + IMAGES, count), start == starts[-1]) for start in starts]
