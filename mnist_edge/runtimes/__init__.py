"""What runs an artifact: a file a runtime, each imported when it is first used."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mnist_edge.errors import ModelError, unknown_name
from mnist_edge.extras import INSTALL_TRAIN, require

if TYPE_CHECKING:
    from mnist_edge.manifest import Artifact
    from mnist_edge.parity import Run
    from mnist_edge.store import Model

__all__ = ["RUNTIMES", "Runtime", "get", "load_artifact"]


class Runtime(NamedTuple):
    """A way to run a model.

    Attributes:
        name: what ``--runtime`` takes.
        summary: what it is, in a few words.
        requires: import names of the packages that it needs.
        module: where it lives; the module has ``load(path, threads) -> Run`` and, for a runtime that runs a model from
            its weights, ``load_model(model, threads) -> Run``.
        from_weights: True if it needs no artifact.
        install: the line that installs those packages.
        format: the format of this package that is exported for it; empty where it needs no artifact.
    """

    name: str
    summary: str
    requires: tuple[str, ...]
    module: str
    from_weights: bool = False
    install: str = INSTALL_TRAIN
    format: str = ""

    def require(self, purpose: str = "") -> None:
        """Raise MissingExtraError unless what it needs is installed; `purpose` says what for, if it is not just to run."""
        require(purpose or f"runtime {self.name}", *self.requires, install=self.install)

    def load(self, path: Path, threads: int = 1) -> Run:
        """Load an artifact. Raises ModelError if it cannot be loaded or does not keep the contract, MissingExtraError."""
        self.require()
        load: Callable[[Path, int], Run] = import_module(self.module).load
        return load(path, threads)

    def load_model(self, model: Model, threads: int = 1) -> Run:
        """Load a model: its artifact for this runtime, or its weights. Raises ModelError, MissingExtraError."""
        self.require()
        if self.from_weights:
            load: Callable[[Model, int], Run] = import_module(self.module).load_model
            return load(model, threads)
        return load_artifact(model, model.artifact(self.name), threads)


RUNTIMES = {
    runtime.name: runtime
    for runtime in (
        Runtime(
            "ort",
            "ONNX Runtime, on the CPU; no PyTorch needed",
            ("onnxruntime",),
            "mnist_edge.runtimes.ort",
            install="pip install onnxruntime",
            format="onnx",
        ),
        Runtime(
            "litert",
            "a LiteRT (TensorFlow Lite) file, on the CPU, image by image; no PyTorch needed",
            ("ai_edge_litert",),
            "mnist_edge.runtimes.litert",
            install="pip install 'mnist-edge[litert]'",
            format="litert",
        ),
        Runtime(
            "executorch",
            "an ExecuTorch file, on the CPU, image by image; in Python it brings PyTorch",
            ("torch", "executorch"),
            "mnist_edge.runtimes.executorch",
            install="pip install 'mnist-edge[executorch]'",
            format="executorch",
        ),
        Runtime("torchscript", "a TorchScript file in PyTorch", ("torch",), "mnist_edge.runtimes.torchscript", format="torchscript"),
        Runtime(
            "torch",
            "the network itself in PyTorch, from its weights",
            ("torch", "safetensors"),
            "mnist_edge.runtimes.torch",
            from_weights=True,
        ),
    )
}


def usable_threads(threads: int) -> int:
    """Return the number of threads to start: no more than there are cores.

    ONNX Runtime's threads spin while they wait for work, so that 256 of them on two cores take seconds to start.
    """
    return min(threads, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def get(name: str) -> Runtime:
    """Return a runtime by name. Raises UnknownNameError."""
    if name not in RUNTIMES:
        raise unknown_name("runtime", name, RUNTIMES)
    return RUNTIMES[name]


def load_artifact(model: Model, artifact: Artifact, threads: int = 1) -> Run:
    """Load an artifact of a model after checking its hash. Raises ModelError, MissingExtraError.

    Where what is installed is older than the oldest release that the manifest names, the error says so.
    """
    path = model.path(artifact)
    try:
        return get(artifact.runtime).load(path, threads)
    except ModelError as error:
        package, _, oldest = artifact.oldest_runtime.partition(" ")
        installed = _installed(package)
        if installed and _release(installed) < _release(oldest):
            raise ModelError(
                f"{path}: needs {package} {oldest.split()[0]} or newer, {installed} is installed; run: pip install -U {package}, "
                "or export it with a lower --opset"
            ) from error
        raise


def _installed(package: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except (PackageNotFoundError, ValueError):
        return None


def _release(version: str) -> tuple[int, ...]:
    import re

    match = re.match(r"(\d+)\.(\d+)", version)
    return tuple(map(int, match.groups())) if match else ()
