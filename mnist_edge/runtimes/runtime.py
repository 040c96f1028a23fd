"""What a runtime is: its declaration, and the calls of its module with what another distribution's module may do wrong."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mnist_edge.common.errors import MissingExtraError, MnistEdgeError, ModelError, one_line
from mnist_edge.common.extras import INSTALL_TRAIN, is_installed, lacks
from mnist_edge.common.options import Option, check_options

if TYPE_CHECKING:
    from mnist_edge.common.logits import Run
    from mnist_edge.runtimes.platforms import Platform
    from mnist_edge.store import Model
    from mnist_edge.store.manifest import Artifact

#: How the names of this package's own modules begin.
OURS = "mnist_edge.runtimes."


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
            raise MissingExtraError(f"{purpose or 'this'} needs runtime {self.name}, which no package installed here provides")
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

    def load_artifact(self, model: Model, artifact: Artifact, threads: int = 1, options: Mapping[str, Any] | None = None) -> Run:
        """Load an artifact of a model after checking its hash. Raises as `load` does.

        Where what is installed is older than the oldest release that the manifest names, the error says so.
        """
        path = model.path(artifact)
        try:
            return self.load(path, threads, options)
        except ModelError as error:
            package, _, rest = artifact.oldest_runtime.partition(" ")
            oldest = rest.partition(" ")[0]
            installed = _installed(package) if self.name == artifact.runtime else None
            if installed and _is_older(installed, oldest):
                raise ModelError(
                    f"{path}: needs {package} {oldest} or newer, {installed} is installed; run: pip install -U {package}, "
                    "or export it with a lower --opset"
                ) from error
            raise

    def load_model(self, model: Model, threads: int = 1, options: Mapping[str, Any] | None = None) -> Run:
        """Load a model: its artifact for this runtime, or its weights. Raises ModelError, MissingExtraError, UsageError."""
        if not self.from_weights:
            return self.load_artifact(model, self.choose(model), threads, options)
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
        if self.module.startswith(OURS):  # they raise Exceptions only; nothing around them slows a measurement
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
