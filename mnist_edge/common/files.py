"""Reads and writes files so that a reader never sees half of one."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def sha256_bytes(data: bytes) -> str:
    """Return the SHA-256 of `data` as 64 hexadecimal digits."""
    import hashlib

    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits. Raises OSError if it cannot be read."""
    import hashlib

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


#: The unfinished files at the moment.
_open: set[Path] = set()


def discard_asides() -> None:
    """Remove all unfinished files: for a program that ends at once."""
    for path in list(_open):
        if path.is_dir():
            import shutil

            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Give a path beside `path` to write to; on success it takes the place of `path` in one step.

    If the block raises, `path` is as it was and what was written is removed. The file is flushed to the disk
    before it is renamed, so that a power cut leaves the old file or the new one. Raises OSError.
    """
    aside = path.with_name(f".{path.name}.{_unique()}.part")
    _open.add(aside)
    try:
        yield aside
        flush(aside)
        os.replace(aside, path)
        flush(path.parent)
    except OSError as error:
        if error.filename in (None, str(aside), aside):  # a full-disk error does not name the file; nobody knows the temporary name
            error.filename = str(path)
        raise
    finally:
        with suppress(FileNotFoundError):
            aside.unlink()
        _open.discard(aside)


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` to `path` in one step. Raises OSError; then `path` is as it was."""
    with written_aside(path) as aside:
        aside.write_bytes(data)


#: After this many seconds, the next program removes what a killed one left behind; no export or download takes a day.
_STALE_SECONDS = 24 * 3600


@contextmanager
def folder_aside(parent: Path, name: str) -> Iterator[Path]:
    """Give an empty folder ``.NAME.xxxxxxxx.part`` in `parent`, removed when the block ends unless it was renamed."""
    import shutil

    parent.mkdir(parents=True, exist_ok=True)
    for stale in parent.glob(f".{name}.*.part"):
        with suppress(OSError):
            if time.time() - stale.stat().st_mtime > _STALE_SECONDS:
                shutil.rmtree(stale)
    aside = parent / f".{name}.{_unique()}.part"
    _open.add(aside)
    try:
        aside.mkdir()
        yield aside
    except OSError as error:
        if error.filename in (str(aside), aside):  # nobody knows this name
            error.filename = str(parent)
        error.filename = error.filename or str(parent / name)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        _open.discard(aside)


def _unique() -> str:
    return os.urandom(4).hex()


def unused(path: Path) -> Path:
    """Return `path`, or a similar path if something is there."""
    while os.path.lexists(path):
        path = path.with_name(path.name + "-")
    return path


def flush(path: Path) -> None:
    """Ask the operating system to put a file, or a folder's entries, on the disk."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except PermissionError:  # Windows cannot open folders
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def cache_dir() -> Path | None:
    """Return this program's folder in the user's cache: ``$XDG_CACHE_HOME/mnist-edge`` or the platform's like.

    None for a user without a home folder, as a container may have: no ``HOME``, and no entry in the list of users.
    """
    try:
        return _cache() / "mnist-edge"
    except RuntimeError:  # Path.home
        return None


def _cache() -> Path:
    import sys

    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
