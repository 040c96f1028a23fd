"""Marks the files that this program writes, so that it can tell them from the user's own."""

import io
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_edge.common.errors import UsageError

if TYPE_CHECKING:
    from PIL.Image import Image

MARK = "made by mnist-edge report; changes by hand are lost"

#: Of the card and the table of the reference models, which say more than a report can find out: other seeds, pictures, what is not kept.
REFERENCE_MARK = "made by make models; changes by hand are lost"


def marked(text: str, mark: str = MARK) -> bytes:
    """Return a Markdown file's bytes, with the mark."""
    return f"{_head(mark)}\n\n{text}".encode()


def marked_png(picture: "Image") -> bytes:
    """Return a picture as a PNG file's bytes, with the mark."""
    from PIL.PngImagePlugin import PngInfo

    note, buffer = PngInfo(), io.BytesIO()
    note.add_text("Comment", MARK)
    picture.save(buffer, "PNG", optimize=True, pnginfo=note)
    return buffer.getvalue()


def is_reference(path: Path) -> bool:
    """Say whether a file is a card or a table of the reference models, as they lie in a clone."""
    # at its head, for a licence can have the mark in it, too
    return path.is_file() and path.read_bytes().splitlines()[:1] == [_head(REFERENCE_MARK).encode()]


def _head(mark: str) -> str:
    return f"<!-- {mark} -->"


def check_ours(path: Path, mark: str = MARK) -> None:
    """Raise UsageError for a file that this program did not write, because it would be lost."""
    if path.exists() and not (path.is_file() and mark.encode() in path.read_bytes()):
        raise UsageError(f"{path}: not written by mnist-edge report, so it stays; move it away")
