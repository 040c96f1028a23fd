"""Locks between real programs: on Linux, where no folder can be locked (a network drive), and in the code for Windows.

A network drive is stood in for by a flock that refuses folders, as flock(2) says of NFS; Windows by a msvcrt that locks a byte of
an open file with Linux's own record locks, which the system gives back, too.
"""

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mnist_edge.common.locks import LOCK_FILE, is_locked, lock_file, locked

LINUX = ""

NETWORK = """
import errno, fcntl, os, stat
flock = fcntl.flock
def refuse_folders(descriptor, operation):
    if stat.S_ISDIR(os.fstat(descriptor).st_mode):
        raise OSError(errno.EBADF, "Bad file descriptor")
    flock(descriptor, operation)
fcntl.flock = refuse_folders
"""

WINDOWS = """
import fcntl, sys, types
def locking(descriptor, mode, count):
    try:
        fcntl.lockf(descriptor, mode, count)
    except OSError:
        raise PermissionError(13, "Permission denied") from None
sys.modules["msvcrt"] = types.SimpleNamespace(locking=locking, LK_NBLCK=fcntl.LOCK_EX | fcntl.LOCK_NB)
sys.platform = "win32"
"""

HOLD = """
import sys
from pathlib import Path
from mnist_edge.common import locks
kind, path, wait = sys.argv[1], Path(sys.argv[2]), sys.argv[3] == "wait"
with locks.locked(path, wait=wait) if kind == "folder" else locks.lock_file(path) as free:
    print(free, flush=True)
    sys.stdin.read()
"""

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a program that takes a lock, says whether it got it, and holds it until its standard input ends."""
    running: list[subprocess.Popen[str]] = []

    def start(system: str, kind: str, path: Path, wait: str = "") -> subprocess.Popen[str]:
        words = [sys.executable, "-c", system + HOLD, kind, str(path), wait]
        running.append(subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        return running[-1]

    yield start
    for program in running:
        program.kill()
        program.communicate()


def answer(program: subprocess.Popen[str]) -> str:
    assert program.stdout is not None
    return program.stdout.readline().strip()


@pytest.mark.parametrize("system", [LINUX, NETWORK, WINDOWS], ids=["linux", "network", "windows"])
@pytest.mark.parametrize("kind", ["folder", "file"])
def test_one_program_has_a_lock_until_it_dies(start: Start, system: str, kind: str, tmp_path: Path) -> None:
    path = tmp_path if kind == "folder" else tmp_path / ".runs" / ".lenet.lock"
    first = start(system, kind, path)
    assert answer(first) == "True"
    assert answer(start(system, kind, path)) == "False"
    first.kill()
    first.wait()
    assert answer(start(system, kind, path)) == "True"


@pytest.mark.parametrize("system", [LINUX, NETWORK, WINDOWS], ids=["linux", "network", "windows"])
def test_who_waits_gets_the_lock_when_the_other_ends(start: Start, system: str, tmp_path: Path) -> None:
    first = start(system, "folder", tmp_path)
    assert answer(first) == "True"
    second = start(system, "folder", tmp_path, "wait")
    with pytest.raises(subprocess.TimeoutExpired):
        second.wait(0.5)
    first.communicate("")
    assert answer(second) == "True"


def test_a_lock_file_lies_only_where_the_folder_itself_cannot_be_locked(start: Start, tmp_path: Path) -> None:
    assert answer(start(LINUX, "folder", tmp_path)) == "True"
    assert not (tmp_path / LOCK_FILE).exists()
    assert answer(start(NETWORK, "folder", tmp_path)) == "True"
    assert (tmp_path / LOCK_FILE).exists()


def test_older_versions_lock_the_folder_too(start: Start, tmp_path: Path) -> None:
    """Version 0.1 holds a flock on the models folder and on the folder of a run."""
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        assert is_locked(tmp_path)
        program = start(LINUX, "folder", tmp_path)
        assert answer(program) == "False"
        program.communicate("")
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        with locked(tmp_path) as free, pytest.raises(BlockingIOError):
            assert free
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(descriptor)


def test_looking_makes_nothing_and_takes_nothing(tmp_path: Path) -> None:
    path = tmp_path / ".lenet.lock"
    assert not is_locked(path)
    assert not is_locked(tmp_path)
    assert list(tmp_path.iterdir()) == []
    with lock_file(path):
        assert is_locked(path)
    assert not is_locked(path)


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), locked(tmp_path / "nowhere"):
        pass
