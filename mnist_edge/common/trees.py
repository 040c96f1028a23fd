"""A file or a folder as one thing: its hash over names and contents, and taking a place in one step."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NamedTuple, NoReturn

from mnist_edge.common.errors import ModelError, printable
from mnist_edge.common.files import flush, sha256_bytes, sha256_file


class Tree(NamedTuple):
    """What is in a file or a folder.

    Attributes:
        sha256: for a file, the hash of its bytes. For a folder, the hash of the lines that ``sha256sum`` prints for its members, sorted by name:
            ``find . -type f -printf '%P\\n' | LC_ALL=C sort | xargs sha256sum | sha256sum``.
        bytes: of all members together.
        members: each member's hash by its name, such as ``src/lenet.c``; empty for a file.
    """

    sha256: str
    bytes: int
    members: dict[str, str]


def read_tree(path: Path) -> Tree:
    """Read and hash a file, or a folder with all that is in it.

    Raises ModelError for what is neither file nor folder, such as a link or an empty folder, and for names with a backslash or
    unprintable characters; OSError.
    """
    if path.is_file() and not path.is_symlink():
        return Tree(sha256_file(path), path.stat().st_size, {})
    if path.is_symlink() or not path.is_dir():
        path.lstat()  # raises for what is not there
        raise ModelError(f"{path}: neither a file nor a folder, but {'a link' if path.is_symlink() else 'something else'}")
    members = {name: path / name for name in sorted(_names(path), key=str.encode)}
    hashes = {name: sha256_file(member) for name, member in members.items()}
    return Tree(_of(hashes), sum(member.stat().st_size for member in members.values()), hashes)


def _of(hashes: dict[str, str]) -> str:
    return sha256_bytes("".join(f"{digest}  {name}\n" for name, digest in hashes.items()).encode())


def _names(folder: Path) -> list[str]:
    """Return the names of all files in a folder and below, with ``/`` between. Raises ModelError for anything that is no plain file."""
    names = []
    for root, folders, files in os.walk(folder, onerror=_raise):  # else unreadable folders would be skipped
        here = Path(root)
        if not folders and not files:
            raise ModelError(f"{here}: an empty folder; an artifact may hold files only")
        for name in (*folders, *files):
            path = here / name
            is_plain = not path.is_symlink() and (path.is_dir() if name in folders else path.is_file())
            if not is_plain:
                raise ModelError(f"{path}: neither a file nor a folder; an artifact may hold no links")
            if name != printable(name) or "\\" in name:
                raise ModelError(f"{here}: a file name with a backslash or unprintable characters: {printable(name)}")
        names += [(here / name).relative_to(folder).as_posix() for name in files]
    return names


def _raise(error: OSError) -> NoReturn:
    raise error


def difference(there: Tree, expected: dict[str, str]) -> str:
    """Return what is wrong with a folder, in words: the first member that is missing, was added or is another; nothing if none is."""
    if not there.members:
        return "it is a file but was a folder"
    for name in sorted({*there.members, *expected}):
        if name not in there.members:
            return f"{printable(name)} is missing"
        if name not in expected:
            return f"{printable(name)} does not belong to it"
        if there.members[name] != expected[name]:
            return f"{printable(name)} has changed"
    return ""


def flush_tree(path: Path) -> None:
    """Flush a file, or a folder with all that is in it, to the disk. Raises OSError."""
    if path.is_dir():
        for root, _, files in os.walk(path):
            for name in files:
                flush(Path(root, name))
            flush(Path(root))
    else:
        flush(path)


def take_place(aside: Path, target: Path) -> None:
    """Put a file or a folder where another may be, in one step; of folders only where the system can (`exchange`).

    What was there is removed if both are files, and else lies where the new one was, or beside that. Raises OSError; then `target` is as it was.
    """
    if not os.path.lexists(target) or (aside.is_file() and not target.is_dir()):
        os.replace(aside, target)
    elif not exchange(aside, target):
        old = aside.with_name(f"{aside.name}.old")
        try:
            os.rename(target, old)
            os.rename(aside, target)
        except BaseException:  # Ctrl-C, too: whoever gave `aside` removes what lies beside it
            if os.path.lexists(old) and not os.path.lexists(target):
                os.rename(old, target)
            raise


def exchange(a: Path, b: Path) -> bool:
    """Let two files or folders change places in one step; False where the system cannot (renameat2(2), Linux 3.15)."""
    import ctypes

    if not sys.platform.startswith("linux"):
        return False
    at_fdcwd, rename_exchange = -100, 2
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    return bool(renameat2(at_fdcwd, os.fsencode(a), at_fdcwd, os.fsencode(b), rename_exchange) == 0)
