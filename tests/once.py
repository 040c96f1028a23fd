"""What is made once a run, whatever the number of processes that run tests."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest
from filelock import FileLock


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Return a folder that is made by the first test process that needs it, while the others wait."""
    base = factory.getbasetemp()
    given = os.environ.get("MNIST_EDGE_TEST_SHARED")  # made before; see tests/mutants
    shared = Path(given) if given else (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    shared.mkdir(exist_ok=True)
    folder, made = shared / name, shared / f"{name}.made"
    with FileLock(shared / f"{name}.lock"):
        if not made.exists():
            shutil.rmtree(folder, ignore_errors=True)  # what was begun and failed
            folder.mkdir()
            make(folder)
            made.touch()
    return folder


@contextmanager
def unchanged(folder: Path) -> Iterator[None]:
    """Fail if tests write into what they share."""
    before = _files(folder)
    yield
    changed = sorted(str(path) for path, _ in _files(folder) ^ before)
    assert not changed, f"a test changed what it shares with others: {', '.join(changed)}"


def _files(folder: Path) -> set[tuple[Path, int]]:
    return {(path, path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


def lacking(reason: str) -> NoReturn:
    """Skip a test for want of something; where nothing may be wanting, as in CI, fail it."""
    if os.environ.get("MNIST_EDGE_TEST_SKIPS_NOTHING"):
        pytest.fail(reason)
    pytest.skip(reason)


def install_apart(folder: Path, *packages: str | Path) -> subprocess.CompletedProcess[str]:
    """Make an environment that has these packages and nothing else, not even pip, which takes seconds."""
    subprocess.run([sys.executable, "-m", "venv", "--clear", "--without-pip", folder], check=True)
    pip = [sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install", "--quiet"]
    return subprocess.run([*pip, *packages], capture_output=True, text=True, check=False, timeout=300)
