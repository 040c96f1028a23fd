"""The runtimes, which run artifacts. Each has its own file, imported when it is first used. Other distributions add runtimes by entry point."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mnist_edge.common.errors import MissingExtraError, MnistEdgeError, ModelError, UsageError, one_line, unknown_name
from mnist_edge.common.extras import INSTALL_TRAIN, is_installed, lacks
from mnist_edge.common.options import Option, check_declared, check_options

if TYPE_CHECKING:
    from mnist_edge.common.logits import Run
    from mnist_edge.runtimes.platforms import Platform
    from mnist_edge.store import Model
    from mnist_edge.store.manifest import Artifact

__all__ = ["ENTRY_POINTS", "RUNTIMES", "Runtime", "get", "load_artifact", "own", "register", "runtimes", "usable_threads"]

ENTRY_POINTS = "mnist_edge.runtimes"

#: The name that means every installed runtime.
ALL = "all"


class Runtime(NamedTuple):
    """A way to run a model.

    Attributes:
        name: the name that ``--runtime`` takes.
        summary: what it is, in a few words.
        requires: import names of the packages that it needs.
        module: its module, which has ``version() -> str``, such as ``onnxruntime 1.32.0``, and ``load(path, threads, **options)``,
            which returns a `Run`; or, for a runtime that runs a model from its weights, ``load_model(model, threads, **options)``.
            It may have ``processor() -> tuple[str, ...]``, the processor features that the runtime reports using, and
            ``runs_on() -> Platform``, if that is not this machine.
        formats: names of the formats that it runs; empty if it needs no artifact.
        precisions: the precisions that it runs; None for all.
        from_weights: True if it needs no artifact.
        install: the command that installs what it requires.
        limits: what it cannot do, in words, such as ``one image at a time``.
        options: its own options.
        knows_what_is_missing: True if it needs more than packages of Python. Its module, which can be imported without any of it, then has
            ``missing() -> dict[str, str]``: what is not there, by name, and the line that installs each.
        target: what its module runs it on, if one module has several runtimes, such as one for each of many chips. Each function of the module
            then takes it as ``target=``.
    """

    name: str
    summary: str
    requires: tuple[str, ...]
    module: str
    formats: tuple[str, ...] = ()
    precisions: tuple[str, ...] | None = None
    from_weights: bool = False
    install: str = INSTALL_TRAIN
    limits: str = ""
    options: tuple[Option, ...] = ()
    knows_what_is_missing: bool = False
    target: str = ""

    def missing(self) -> dict[str, str]:
        """Return what it needs but does not find here, by name, each with the command that installs it."""
        if self.knows_what_is_missing:
            missing: dict[str, str] = import_module(self.module).missing(**self._told)
            return missing
        return {name: self.install for name in self.requires if not is_installed(name)}

    def require(self, purpose: str = "") -> None:
        """Raise MissingExtraError unless what it needs is installed; `purpose` says what it is needed for, if not just to run."""
        if not self.module:
            raise MissingExtraError(f"{purpose or 'this'} needs runtime {self.name}, which no distribution that is installed here has")
        if missing := self.missing():
            raise lacks(purpose or f"runtime {self.name}", missing)

    def runs(self, artifact: Artifact) -> bool:
        """Say whether it runs an artifact: one made for it, or one in a format and precision that it knows."""
        if artifact.runtime == self.name:
            return True
        return artifact.format in self.formats and (self.precisions is None or artifact.precision in self.precisions)

    def load(self, path: Path, threads: int = 1, options: Mapping[str, Any] | None = None) -> Run:
        """Load an artifact. Raises ModelError if it cannot be loaded or does not keep the contract, MissingExtraError, UsageError."""
        return self._guarded(self._ask(f"{path}: ", "load", options, path, threads, **options or {}))

    def load_model(self, model: Model, threads: int = 1, options: Mapping[str, Any] | None = None) -> Run:
        """Load a model: its artifact for this runtime, or its weights. Raises ModelError, MissingExtraError, UsageError."""
        if not self.from_weights:
            return load_artifact(model, self.choose(model), threads, self, options)
        return self._guarded(self._ask(f"{model.folder}: ", "load_model", options, model, threads, **options or {}))

    def choose(self, model: Model) -> Artifact:
        """Return the artifact to run: float32 first, and one made for this runtime first. Raises ModelError."""
        found = [artifact for artifact in model.artifacts if self.runs(artifact)]
        if not found:
            raise model.lacks(self.name, self.formats)
        return min(found, key=lambda artifact: (artifact.precision != "float32", artifact.runtime != self.name, artifact.file))

    def version(self) -> str:
        """Return the release that is installed, such as ``onnxruntime 1.32.0``. Raises MissingExtraError; ModelError if it does not tell."""
        version = self._ask("", "version", None)
        if not isinstance(version, str) or not version.strip() or not version.isprintable():
            raise ModelError(f"runtime {self.name}: version() returned {version!r}, which is not a release; a proof needs one")
        return version

    def processor(self) -> tuple[str, ...]:
        """Return the processor features that the runtime reports using; nothing if it does not report any.

        Raises MissingExtraError; ModelError for anything but words, which a manifest could not be read with.
        """
        self.require()
        told = self._ask("", "processor", None) if hasattr(import_module(self.module), "processor") else ()
        if not isinstance(told, (tuple, list)) or not all(isinstance(word, str) and word.isprintable() for word in told):
            raise ModelError(f"runtime {self.name}: processor() returned {told!r}, and has to return a tuple of words")
        return tuple(told)

    def platform(self) -> Platform:
        """Return where it runs: this machine, unless its module has ``runs_on() -> Platform``, as one that emulates another has.

        Raises MissingExtraError; ModelError for anything but a platform.
        """
        from mnist_edge.runtimes import platforms

        self.require()
        if not hasattr(import_module(self.module), "runs_on"):
            return platforms.here()
        told = self._ask("", "runs_on", None)
        if not isinstance(told, platforms.Platform):
            raise ModelError(f"runtime {self.name}: runs_on() returned {told!r}, and has to return a Platform")
        return told

    @property
    def _told(self) -> dict[str, str]:
        return {"target": self.target} if self.target else {}

    def _ask(self, where: str, function: str, options: Mapping[str, Any] | None, *arguments: Any, **named: Any) -> Any:
        """Call a function of its module. Anything that another distribution's module raises, even SystemExit, becomes a ModelError."""
        check_options(f"runtime {self.name}", self.options, options or {})
        self.require()
        try:
            return getattr(import_module(self.module), function)(*arguments, **named, **self._told)
        except (MnistEdgeError, KeyboardInterrupt):
            raise
        except BaseException as error:
            raise ModelError(f"{where}runtime {self.name} failed: {one_line(error)}") from error

    def _guarded(self, run: Run) -> Run:
        """Return a function that raises Exceptions only, so that one runtime does not end a command which tries several."""
        if self.name in RUNTIMES:  # this package's own runtimes stay unwrapped, so that nothing slows a measurement
            return run
        if not callable(run):
            raise ModelError(f"runtime {self.name} failed: it returned {type(run).__name__}, which cannot be called")

        def logits(pixels: Any) -> Any:
            try:
                return run(pixels)
            except (Exception, KeyboardInterrupt):
                raise
            except BaseException as error:
                raise ModelError(f"runtime {self.name} failed: {one_line(error)}") from error

        logits.__wrapped__ = run  # type: ignore[attr-defined]  # which may have figures
        return logits


def _chip(name: str, summary: str, limits: str = "") -> Runtime:
    limits = f"one image at a time{f'; {limits}' if limits else ''}"
    return Runtime(
        name, summary, (), "mnist_edge.runtimes.chips", ("c",), ("float32", "int8-static"), False, "", limits, (), True, target=name
    )


RUNTIMES = {
    runtime.name: runtime
    for runtime in (
        Runtime(
            "ort",
            "ONNX Runtime, on the CPU; no PyTorch needed",
            ("onnxruntime",),
            "mnist_edge.runtimes.ort",
            ("onnx",),
            install="pip install onnxruntime",
        ),
        Runtime(
            "openvino",
            "OpenVINO, on the CPU, in float32 where it would choose bfloat16",
            ("openvino",),
            "mnist_edge.runtimes.openvino",
            ("onnx",),
            install="pip install 'mnist-edge[openvino]'",
        ),
        Runtime(
            "tract",
            "tract, in Rust, on the CPU",
            ("tract",),
            "mnist_edge.runtimes.tract",
            ("onnx",),
            ("float32", "int8-dynamic", "int8-static"),
            install="pip install 'mnist-edge[tract]'",
        ),
        Runtime(
            "ort-web",
            "onnxruntime-web under node: WebAssembly, as in a browser",
            (),
            "mnist_edge.runtimes.ort_web",
            ("onnx",),
            install="",
            knows_what_is_missing=True,
        ),
        Runtime(
            "litert",
            "a LiteRT (TensorFlow Lite) file, on the CPU; no PyTorch needed",
            ("ai_edge_litert",),
            "mnist_edge.runtimes.litert",
            ("litert",),
            install="pip install 'mnist-edge[litert]'",
            limits="one image at a time",
        ),
        Runtime(
            "executorch",
            "an ExecuTorch file, on the CPU; in Python it brings PyTorch",
            ("torch", "executorch"),
            "mnist_edge.runtimes.executorch",
            ("executorch",),
            install="pip install 'mnist-edge[executorch]'",
            limits="one image at a time",
        ),
        Runtime(
            "native",
            "a network in C, compiled here; no ONNX Runtime needed",
            (),
            "mnist_edge.runtimes.native",
            ("c",),
            install="",
            knows_what_is_missing=True,
        ),
        _chip("cortex-m0", "a network in C on an emulated micro:bit, without a floating-point unit", "256 KiB of flash, 16 KiB of RAM"),
        _chip("cortex-m3", "a network in C on an emulated Cortex-M3, without a floating-point unit"),
        _chip("cortex-m4", "a network in C on an emulated Cortex-M4, with its DSP instructions"),
        _chip("cortex-m7", "a network in C on an emulated Cortex-M7, with its DSP instructions"),
        _chip("riscv32", "a network in C on an emulated RV32IMAC, without a floating-point unit"),
        _chip("c-aarch64", "a network in C on an emulated 64-bit Arm with Linux"),
        _chip("c-riscv64", "a network in C on an emulated 64-bit RISC-V with Linux"),
        Runtime(
            "torchscript",
            "a TorchScript file in PyTorch",
            ("torch",),
            "mnist_edge.runtimes.torchscript",
            ("torchscript",),
            ("float32",),
        ),
        Runtime(
            "torch",
            "the network itself in PyTorch, from its weights",
            ("torch", "safetensors"),
            "mnist_edge.runtimes.torch",
            from_weights=True,
        ),
    )
}

_registered: dict[str, Runtime] = {}


def register(runtime: Runtime) -> Runtime:
    """Add a runtime of another distribution. Raises UsageError if the name is taken or a declaration is not valid."""
    check_declared(f"runtime {runtime.name!r}", runtime.name, runtime.options)
    if runtime.name == ALL:
        raise UsageError(f"runtime {runtime.name!r}: the name stands for all runtimes")
    for field in ("requires", "formats", "precisions"):
        names = getattr(runtime, field)
        if not (names is None and field == "precisions") and not (isinstance(names, tuple) and all(isinstance(one, str) for one in names)):
            raise UsageError(f"runtime {runtime.name!r}: {field} is {names!r}; it has to be a tuple of names")
    if taken := RUNTIMES.get(runtime.name) or _registered.get(runtime.name):
        raise UsageError(f"runtime {runtime.name!r} is registered twice: by {taken.module} and by {runtime.module}")
    _registered[runtime.name] = runtime
    return runtime


def runtimes() -> dict[str, Runtime]:
    """Return all runtimes by name: this package's own, then those of other distributions."""
    _load_plugins()
    return RUNTIMES | dict(sorted(_registered.items()))


def get(name: str) -> Runtime:
    """Return a runtime by name; other distributions are only asked if the name is not one of ours. Raises UnknownNameError."""
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
    """Load an artifact of a model after checking its hash, with its own runtime if no other is given. Raises ModelError, MissingExtraError.

    Where what is installed is older than the oldest release that the manifest names, the error says so.
    """
    path = model.path(artifact)
    try:
        return (runtime or own(artifact)).load(path, threads, options)
    except ModelError as error:
        package, _, rest = artifact.oldest_runtime.partition(" ")
        oldest = rest.partition(" ")[0]
        installed = _installed(package) if runtime in (None, own(artifact)) else None
        if installed and _is_older(installed, oldest):
            raise ModelError(
                f"{path}: needs {package} {oldest} or newer, {installed} is installed; run: pip install -U {package}, "
                "or export it with a lower --opset"
            ) from error
        raise


def _installed(package: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except (PackageNotFoundError, ValueError):
        return None


def _is_older(installed: str, oldest: str) -> bool:
    """Say whether the installed version is older than `oldest`; False where that cannot be told."""
    with suppress(ImportError, ValueError):  # packaging comes with onnxruntime, which may have been removed; InvalidVersion
        from packaging.version import Version

        return Version(installed) < Version(oldest)
    return False
