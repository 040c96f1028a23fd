"""Markdown files that this program writes bear a mark, which tells them from a user's own."""

from pathlib import Path

from mnist_edge.errors import UsageError

MARK = "<!-- made by mnist-edge report; changes by hand are lost -->"


def marked(text: str) -> bytes:
    """Return a Markdown file's bytes, with the mark."""
    return f"{MARK}\n\n{text}".encode()


def check_ours(path: Path) -> None:
    """Raise UsageError for a Markdown file that this program did not write, for it would be lost."""
    if path.exists() and MARK not in path.read_text(errors="replace"):
        raise UsageError(f"{path}: not written by mnist-edge report, so it stays; move it away")
