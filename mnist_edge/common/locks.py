"""Locks between programs. The system releases a lock when the program that holds it dies."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

if sys.platform == "win32":
    import msvcrt

    def _take(descriptor: int, wait: bool) -> bool:
        """Lock an open file until it is closed; False if another program has it. Raises OSError if it cannot be locked."""
        while True:
            try:
                msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            except PermissionError:
                if not wait:
                    return False
                time.sleep(0.02)
            else:
                return True

    _LOCKS_FOLDERS = False
else:
    import fcntl

    def _take(descriptor: int, wait: bool) -> bool:
        """Lock an open file, or folder, until it is closed; False if another program has it. Raises OSError if it cannot be locked."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        return True

    _LOCKS_FOLDERS = True

#: The file that is locked if the folder itself cannot be. It stays, so that nobody locks a file that was just removed.
LOCK_FILE = ".lock"


@contextmanager
def locked(folder: Path, *, wait: bool = False) -> Iterator[bool]:
    """Take a folder's lock; gives False if another program has it and `wait` is False. Raises OSError.

    The folder itself is locked, or, on Windows and network drives, where no folder can be, the file ``.lock`` in it.
    """
    with locked_itself(folder, wait=wait) as free:
        if free is not None:
            yield free
            return
    with _locked_file(folder / LOCK_FILE, wait) as free:
        yield free


@contextmanager
def locked_itself(folder: Path, *, wait: bool = False) -> Iterator[bool | None]:
    """Take the lock of the folder itself, as `locked` does, but give None where no folder can be locked. Raises OSError."""
    if not _LOCKS_FOLDERS:
        yield None
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            free: bool | None = _take(descriptor, wait)
        except OSError:  # NFS and SMB lock only what is open for writing, and a folder never is (flock(2))
            free = None
        yield free
    finally:
        os.close(descriptor)


@contextmanager
def _locked_file(path: Path, wait: bool) -> Iterator[bool]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        yield _take(descriptor, wait)
    finally:
        os.close(descriptor)


#: How many times another program may remove a lock's folder just before the lock is taken.
_ATTEMPTS = 100


@contextmanager
def lock_file(path: Path) -> Iterator[bool]:
    """Take the lock that the file `path` stands for, at once; gives False if another program has it. Raises OSError.

    The file, and its folder, are made where they are missing, and removed by whoever had the lock (Windows keeps the file, which is open).
    A lock on a folder does not work if the folder is renamed or removed meanwhile: the next program would lock another folder of the same name.
    """
    attempts = 0
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:  # its last owner removed the empty folder just now
            if (attempts := attempts + 1) == _ATTEMPTS:  # or the working folder is gone, for good
                raise
            continue
        try:
            free = _take(descriptor, wait=False)
            if free and _is_open_at(descriptor, path):
                break
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        if not free:
            yield False
            return
        # else its last owner removed it between our opening and our locking: nobody else can see the file that we locked
    try:
        yield True
    finally:
        with suppress(OSError):
            path.unlink()
        os.close(
            descriptor
        )  # only now: a program that opened the file before it was removed must not lock it and take it for the current one
        with suppress(OSError):  # others may lie beside it
            path.parent.rmdir()


def is_locked(path: Path) -> bool:
    """Say whether another program holds the lock of a file, or of a folder itself; False for what is not there. Raises OSError."""
    try:
        if path.is_dir():
            with locked_itself(path) as free:
                return free is False
        # for writing, if we may: a network drive locks no other file
        descriptor = os.open(path, os.O_RDWR if os.access(path, os.W_OK) else os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        return not _take(descriptor, wait=False)
    finally:
        os.close(descriptor)


def _is_open_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
