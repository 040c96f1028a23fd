"""The checkout stays as it is while the tests run: models that are shipped, sources, documents."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

_KEY = pytest.StashKey[dict[Path, tuple[int, int]]]()


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
    paths = {ROOT / name for name in listed if name} | set((ROOT / "models").rglob("*")) | {ROOT / "demo", ROOT / "build", ROOT / "dist"}
    stats = {path: path.lstat() for path in paths if path.is_symlink() or path.is_file() or (path.parent == ROOT and path.exists())}
    return {path: (stat.st_size, stat.st_mtime_ns) for path, stat in stats.items()}
