"""Measures how much must be installed."""

import re
from importlib import metadata


def installed_bytes(*packages: str) -> int | None:
    """Return the bytes on disk of packages, by their names on PyPI, and of all that they require; None if none of them is known.

    Packages required only by an extra are left out, and so are those that only another system needs.
    """
    total, seen, waiting = 0, set[str](), list(packages)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in seen:
            continue
        seen.add(name)
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        for file in distribution.files or ():
            path = distribution.locate_file(file)
            total += path.stat().st_size if path.is_file() else 0  # type: ignore[attr-defined]
        if name == "mnist-edge":  # the caller names this package's own dependencies: each runtime needs different ones
            continue
        waiting += [match.group() for line in distribution.requires or () if "extra" not in line and (match := _NAME.match(line))]
    return total or None


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
