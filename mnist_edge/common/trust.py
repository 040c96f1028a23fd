"""Whose code may run: a network outside the registry is imported only if the user named or allowed it. Needs no torch.

A manifest names its network, and a manifest may come from anybody. Elsewhere this is called trust_remote_code, and is off.
"""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from mnist_edge.common.errors import NotAllowedError, UsageError

_allowed: set[str] = set()
_on_path: list[str] = []


def own_network(architecture: object) -> str | None:
    """Return what ``--allow-network`` takes for an architecture: ``package.module:Class``; None for a registered name or nonsense."""
    if not isinstance(architecture, str):
        return None
    module, colon, attribute = architecture.partition(":")
    return architecture if colon and all(part.isidentifier() for part in (*module.split("."), attribute)) else None


def allow(path: str) -> None:
    """Let the network ``package.module:Class`` be imported and run, from now on in this process. Raises UsageError for anything else."""
    if own_network(path) is None:
        raise UsageError(f"{path!r} is not package.module:Class, such as mine:Net, so it names no network to allow")
    _allowed.add(path)


def allowed() -> list[str]:
    """Return what was allowed, in alphabetical order."""
    return sorted(_allowed)


def check_allowed(architecture: object) -> None:
    """Raise NotAllowedError for ``package.module:Class`` that was not allowed, UsageError for what cannot name a network at all."""
    if not isinstance(architecture, str):
        raise UsageError(f"a network's name is text, not {type(architecture).__name__}")
    if ":" not in architecture:
        return
    if own_network(architecture) is None:
        raise UsageError(f"network {architecture!r} is neither a registered name nor package.module:Class, such as mine:Net")
    if architecture not in _allowed:
        raise NotAllowedError(
            f"network {architecture} is not part of mnist-edge: building it runs the code of {architecture.partition(':')[0]}; "
            f"if you trust that code, add: --allow-network {architecture} (in Python: mnist_edge.architectures.allow({architecture!r}))"
        )


def keep_on_path(folder: str) -> None:
    """Let what an allowed network imports while it runs be found in a folder, after everything that is installed, until `allowing` ends."""
    if folder not in sys.path:
        sys.path.append(folder)
        _on_path.append(folder)


@contextmanager
def allowing(paths: Iterable[str] = ()) -> Iterator[None]:
    """Allow networks for as long as this lasts, and forget afterwards what was allowed meanwhile. Raises UsageError."""
    before, places = set(_allowed), len(_on_path)
    try:
        for path in paths:
            allow(path)
        yield
    finally:
        _allowed.clear()
        _allowed.update(before)
        for folder in _on_path[places:]:
            with suppress(ValueError):  # the network took it away itself
                sys.path.remove(folder)
        del _on_path[places:]
