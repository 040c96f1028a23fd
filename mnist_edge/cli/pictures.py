"""Finds the pictures that the user named: files, folders, patterns, standard input."""

import io
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mnist_edge.common.errors import PictureError, UsageError, printable

if TYPE_CHECKING:
    from mnist_edge.image import Picture

STANDARD_INPUT = "-"


def expand(pictures: tuple[str, ...], recursive: bool) -> Iterator[tuple[str, str | None]]:
    """Yield each file, with the reason if it is already known to be unreadable. The pictures of a folder come in order of name."""
    import glob

    for given in pictures:
        if given == STANDARD_INPUT:
            yield given, None
        elif os.path.isdir(given):  # noqa: PTH112 - a name may contain anything, so it stays a string
            yield from _pictures_in(given, recursive)
        elif glob.has_magic(given) and not os.path.lexists(given):
            found = sorted(glob.glob(given, recursive=True))  # noqa: PTH207
            for match in found:
                yield from _pictures_in(match, recursive) if os.path.isdir(match) else [(match, None)]  # noqa: PTH112
            if not found:
                yield given, f"{printable(given)}: no file matches this pattern"
        else:
            yield given, None


def _pictures_in(folder: str, recursive: bool) -> Iterator[tuple[str, str | None]]:
    from mnist_edge.image import SUFFIXES

    problems: list[OSError] = []
    count = 0
    for root, folders, files in os.walk(folder, onerror=problems.append):
        folders[:] = sorted(folders) if recursive else []
        for name in sorted(files):
            if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                count += 1
                yield os.path.join(root, name), None  # noqa: PTH118
    for problem in problems:
        yield str(problem.filename or folder), f"{printable(problem.filename or folder)}: {problem.strerror}"
    if not count and not problems:
        deeper = "" if recursive else "; --recursive reads the folders in it too"
        yield folder, f"{printable(folder)}: no pictures in this folder ({', '.join(SUFFIXES)}){deeper}"


def standard_input() -> "Picture":
    from mnist_edge.image import MAX_BYTES

    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError(
            "- reads a picture from standard input, but that is a terminal or closed; give a file, or: mnist-edge predict - < img.png"
        )
    data = sys.stdin.buffer.read(MAX_BYTES + 1)
    if not data:
        raise PictureError("standard input: empty; give a picture, as in: mnist-edge predict - < img.png")
    if len(data) > MAX_BYTES:
        raise PictureError(f"standard input: more than {MAX_BYTES // 2**20} MiB")
    file = io.BytesIO(data)
    file.name = "standard input"
    return file
