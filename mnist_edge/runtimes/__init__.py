"""The runtimes, which run artifacts. Each has its own file, imported when it is first used. Other distributions add runtimes by entry point."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any

from mnist_edge.common.errors import UsageError, unknown_name
from mnist_edge.common.options import check_declared
from mnist_edge.runtimes.builtin import RUNTIMES
from mnist_edge.runtimes.runtime import Runtime

if TYPE_CHECKING:
    from mnist_edge.common.logits import Run
    from mnist_edge.store import Model
    from mnist_edge.store.manifest import Artifact

__all__ = ["ENTRY_POINTS", "RUNTIMES", "Runtime", "get", "load_artifact", "own", "register", "runtimes", "usable_threads"]

ENTRY_POINTS = "mnist_edge.runtimes"

#: The name that means every installed runtime.
ALL = "all"

_registered: dict[str, Runtime] = {}


def register(runtime: Runtime) -> Runtime:
    """Add a runtime of another distribution. Raises UsageError if the name is taken or a declaration is not valid."""
    check_declared(f"runtime {runtime.name!r}", runtime.name, runtime.options)
    if runtime.name == ALL:
        raise UsageError(f"runtime {runtime.name!r}: the name is reserved; it stands for all runtimes")
    for field in ("requires", "formats", "precisions"):
        names = getattr(runtime, field)
        if not (names is None and field == "precisions") and not (isinstance(names, tuple) and all(isinstance(one, str) for one in names)):
            raise UsageError(f"runtime {runtime.name!r}: {field} is {names!r}; it must be a tuple of names")
    if taken := RUNTIMES.get(runtime.name) or _registered.get(runtime.name):
        raise UsageError(f"runtime {runtime.name!r} is registered twice: by {taken.module} and by {runtime.module}")
    _registered[runtime.name] = runtime
    return runtime


def runtimes() -> dict[str, Runtime]:
    """Return all runtimes by name: this package's own, then those of other distributions."""
    _load_plugins()
    return RUNTIMES | dict(sorted(_registered.items()))


def get(name: str) -> Runtime:
    """Return a runtime by name; other distributions are only asked if the name is not one of ours. Raises UnknownNameError, UsageError."""
    if name == ALL:
        raise UsageError(f"{ALL} stands for every installed runtime, and works only with mnist-edge verify; name one runtime")
    found = RUNTIMES.get(name) or runtimes().get(name)
    if found is None:
        raise unknown_name("runtime", name, runtimes())
    return found


def own(artifact: Artifact) -> Runtime:
    """Return the runtime that an artifact was made for. If no distribution here has it, return a placeholder that says so and cannot run."""
    with suppress(UsageError):
        return get(artifact.runtime)
    return Runtime(artifact.runtime, "not installed here", (), "")


@cache
def _load_plugins() -> None:
    from mnist_edge.common.plugins import register_plugins

    register_plugins(ENTRY_POINTS, Runtime, register)


def usable_threads(threads: int) -> int:
    """Return the number of threads to start: no more than there are cores.

    ONNX Runtime's threads spin while they wait for work, so that 256 of them on two cores take seconds to start.
    """
    return min(threads, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def load_artifact(
    model: Model, artifact: Artifact, threads: int = 1, runtime: Runtime | None = None, options: Mapping[str, Any] | None = None
) -> Run:
    """Load an artifact of a model after checking its hash, with its own runtime if no other is given. Raises ModelError, MissingExtraError."""
    return (runtime or own(artifact)).load_artifact(model, artifact, threads, options)
