"""The checkout stays as it is while the tests run: models that are shipped, sources, documents.

What the tests' own processes would write into it is refused when they try. What another process writes is found at the end.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]

_KEY = pytest.StashKey[dict[Path, tuple[int, int]]]()


#: What may be written there: caches, and what is made on purpose.
_ALLOWED = {"__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".git", ".venv", "build"}

#: What pytest calls its cache until that has its place; in a fresh clone it has none yet.
_CACHE_ASIDE = "pytest-cache-files-"

#: What Python tells a hook before it does it: which of the arguments are paths that change, and which is the open folder that they are in.
_CHANGES = {
    "os.rename": ((0, 1), 2),
    "os.link": ((1,), 3),
    "os.symlink": ((1,), 2),
    "os.remove": ((0,), 1),
    "os.rmdir": ((0,), 1),
    "os.mkdir": ((0,), 2),
    "os.chmod": ((0,), 2),
    "os.utime": ((0,), 3),
    "os.truncate": ((0,), None),
    "shutil.move": ((0, 1), None),
    "shutil.rmtree": ((0,), None),
}

#: The folder that is protected.
_protected = ROOT

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def protect() -> None:
    """Refuse, from now on and to the end of this process, what would change the checkout."""
    sys.addaudithook(_refuse)


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open":
        paths = arguments[:1] if isinstance(arguments[2], int) and arguments[2] & _WRITES else ()
    elif event in _CHANGES:
        places, folder = _CHANGES[event]
        if folder is not None and len(arguments) > folder and arguments[folder] != -1:
            return  # a tree is removed from within; that was told before
        paths = tuple(arguments[place] for place in places)
    else:
        return
    for path in paths:
        if isinstance(path, str | bytes | os.PathLike):
            place = os.path.abspath(os.fsdecode(path))  # noqa: PTH100 - it is asked at every write
            if place.startswith(f"{_protected}{os.sep}") and not _is_allowed(Path(place).relative_to(_protected).parts):
                raise AssertionError(f"the tests would change the checkout: {event} {place}")


def _is_allowed(parts: tuple[str, ...]) -> bool:
    return bool(_ALLOWED.intersection(parts)) or parts[0].startswith(_CACHE_ASIDE)


def remember(config: pytest.Config) -> None:
    """Keep size and time of every file, in the process that starts the others."""
    if not hasattr(config, "workerinput"):
        config.stash[_KEY] = _files()


def changes(config: pytest.Config) -> list[str]:
    """Return what was changed, made or removed since `remember`."""
    before = config.stash.get(_KEY, None)
    if before is None:
        return []
    now = _files()
    return [
        f"{path.relative_to(ROOT)} was {'removed' if path not in now else 'changed' if path in before else 'made'}"
        for path in sorted(before.keys() | now.keys())
        if before.get(path) != now.get(path)
    ]


def _files() -> dict[Path, tuple[int, int]]:
    """Return size and time of what git tracks or would add, of all that lies in models/, and of what lies beside them."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.split("\0")
    paths = {ROOT / name for name in listed if name} | set((ROOT / "models").rglob("*")) | {ROOT / "demo", ROOT / "dist"}
    stats = {path: path.lstat() for path in paths if path.is_symlink() or path.is_file() or (path.parent == ROOT and path.exists())}
    return {path: (stat.st_size, stat.st_mtime_ns) for path, stat in stats.items()}
