"""The formats: each has its own file and registers itself. Other distributions add formats by entry point."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_edge import runtimes
from mnist_edge.common.errors import UsageError, unknown_name
from mnist_edge.common.extras import INSTALL_TRAIN, is_installed, lacks
from mnist_edge.common.options import Option, check_declared
from mnist_edge.common.plugins import register_plugins
from mnist_edge.common.text import count as words
from mnist_edge.proof.parity import BUDGETS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mnist_edge.dataset import Dataset, Rule
    from mnist_edge.proof.golden import Golden

ENTRY_POINTS = "mnist_edge.exporters"

#: The modules of this package's formats; each registers its format when it is imported.
_BUILT_IN = tuple(f"exporters.{name}" for name in ("onnx", "torchscript", "litert", "executorch", "c", "web", "triton"))


@dataclass(frozen=True)
class Calibration:
    """Training images for calibration: the ranges of the activations are measured on them.

    Attributes:
        images: uint8 N×1×28×28.
        record: what the manifest keeps: data set, hash, seed and indices.
    """

    images: "NDArray[np.uint8]" = field(repr=False)
    record: Mapping[str, Any]

    @classmethod
    def draw(cls, training: "Dataset", count: int, seed: int = 0, rule: "Rule | None" = None) -> "Calibration":
        """Take `count` images of a training set, none of them held out by the rule, which is that of a new training for None.

        Raises UsageError if there are fewer.
        """
        import numpy as np

        from mnist_edge.dataset import describe, rule_for, split_validation

        kept, _ = split_validation(training, rule or rule_for(training))
        if count > len(kept):
            raise UsageError(f"--calibration-images {count}: {training.name} has {words(len(kept), 'training image')}")
        indices = np.sort(np.random.default_rng(seed).choice(kept, count, replace=False))
        return cls(training.images[indices], {"data": describe(training), "seed": seed, "indices": indices.tolist()})


@dataclass(frozen=True)
class Target:
    """What an exporter should write, and what it may record in the file.

    Attributes:
        path: file or folder to write; it holds nothing of the user's.
        name: the model's name.
        architecture: the network's name.
        classes: what each logit stands for.
        licence: SPDX identifier of the weights.
        precision: one of the format's precisions.
        options: the format's own options, as given.
        calibration: images to calibrate on, if the precision needs them.
        golden: a few inputs with PyTorch's answers, for formats that carry a self-test; the gate gives them.
    """

    path: Path
    name: str
    architecture: str
    classes: tuple[str, ...]
    licence: str
    precision: str = "float32"
    options: Mapping[str, Any] = field(default_factory=dict)
    calibration: Calibration | None = None
    golden: "Golden | None" = None


@dataclass(frozen=True)
class LayerCost:
    """What lower precision costs in a layer: the relative error of its tensors, root mean square over the images.

    Attributes:
        layer: the layer's name in the graph, such as ``fc1/Gemm``; the part before the slash is the module.
        before, behind: the error of its input and its output against float32, as a share of the float32 tensor's size.
        added: the error that the layer itself adds, if errors are independent: √(behind² - before²).
    """

    layer: str
    before: float
    behind: float
    added: float


@dataclass(frozen=True)
class Reduction:
    """A lower precision of a format.

    Attributes:
        convert: writes ``target.path`` from the float32 file and returns details, as `Format.export` does. Where the format has a `source`, it
            gets the model's artifact in that format and in this precision instead.
        options: its own options, in addition to the format's.
        calibrated: True if it needs ``target.calibration``.
        layer_costs: compares the tensors of both files on images, uint8 N×1×28×28, and returns the costliest layer first; None if
            the format cannot tell.
    """

    convert: Callable[[Path, Target], dict[str, Any]]
    options: tuple[Option, ...] = ()
    calibrated: bool = False
    layer_costs: "Callable[[Path, Path, NDArray[np.uint8]], list[LayerCost]] | None" = None


@dataclass(frozen=True)
class Format:
    """A format that models can be exported to.

    Attributes:
        name: the name that ``--format`` takes.
        summary: what the format is, in a few words.
        suffix: the end of the artifact's name, after the model's name: ``.onnx``.
        runtime: its usual runtime, which the gate uses. Other runtimes declare themselves that they run this format.
        export: writes ``target.path``, a file or a folder, in float32 from a `Deployed` network in eval mode, on the CPU, and returns details
            for the manifest. One of them, ``oldest_runtime``, such as ``onnxruntime 1.18``, is the oldest release that runs the file.
            Raises ExportError, UsageError.
        source: name of the format that it is made from; empty if it is made from the network. `export` then gets the path of the model's
            artifact in that format instead of a network, so that what is proven follows from what is proven.
        further: returns the names of other runtimes on which an artifact has to answer, too, before it is published. It gets the options that
            were typed, and the artifact's details (empty before it is written); None for a format that needs its own runtime only.
        requires: import names of the packages that `export` needs.
        install: the command that installs them.
        missing_tools: returns the names of other tools that `export` needs and does not find, such as a converter in a separate folder; None if
            it needs no others.
        install_tools: returns the command that installs those tools.
        options: the format's own options.
        reductions: its lower precisions by name; each needs a budget in `mnist_edge.proof.parity.BUDGETS`.
    """

    name: str
    summary: str
    suffix: str
    runtime: str
    export: "Callable[[Any, Target], dict[str, Any]]"
    source: str = ""
    further: Callable[[Mapping[str, Any], Mapping[str, Any]], tuple[str, ...]] | None = None
    requires: tuple[str, ...] = ("torch",)
    install: str = INSTALL_TRAIN
    missing_tools: Callable[[], tuple[str, ...]] | None = None
    install_tools: Callable[[], str] | None = None
    options: tuple[Option, ...] = ()
    reductions: Mapping[str, Reduction] = field(default_factory=dict)

    @property
    def precisions(self) -> tuple[str, ...]:
        """All precisions that it can write, float32 first."""
        return ("float32", *self.reductions)

    def options_of(self, precision: str) -> tuple[Option, ...]:
        """Return the options that it takes in a precision: the format's own and the precision's."""
        reduction = self.reductions.get(precision)
        return (*self.options, *(reduction.options if reduction else ()))

    def missing(self) -> dict[str, str]:
        """Return what `export` needs but does not find here, by name, each with the command that installs it."""
        found = dict.fromkeys((module for module in self.requires if not is_installed(module)), self.install)
        if self.missing_tools and (tools := self.missing_tools()):
            found |= dict.fromkeys(tools, self.install_tools() if self.install_tools else self.install)
        return found

    def require(self) -> None:
        """Raise MissingExtraError unless everything that `export` needs is there."""
        if missing := self.missing():
            raise lacks(f"format {self.name}", missing)


_registered: dict[str, Format] = {}


def register(format: Format) -> Format:
    """Add a format. Raises UsageError if its name or suffix is taken or not allowed, or if no runtime can prove it."""
    every = [*format.options, *(option for reduction in format.reductions.values() for option in reduction.options)]
    check_declared(f"format {format.name!r}", format.name, format.options)
    check_declared(f"format {format.name!r}", format.name, list({option.name: option for option in every}.values()))
    if not re.fullmatch(r"\.[A-Za-z0-9._-]*[A-Za-z0-9]", format.suffix):
        raise UsageError(f"format {format.name!r}: suffix {format.suffix!r} has to be a dot with letters, digits, dots and hyphens")
    for taken in _registered.values():
        if format.name == taken.name or format.suffix == taken.suffix:
            what = f"name {format.name!r}" if format.name == taken.name else f"suffix {format.suffix!r}"
            raise UsageError(f"format {what} is registered twice: by {taken.export.__module__} and by {format.export.__module__}")
    try:
        runtimes.get(format.runtime)
    except UsageError as error:
        raise UsageError(f"format {format.name!r}: {error}") from error
    if format.source and format.source not in _registered:
        raise UsageError(f"format {format.name!r}: it is made from format {format.source!r}, which is not registered")
    without = [precision for precision in format.precisions if precision not in BUDGETS]
    if without:
        raise UsageError(f"format {format.name!r}: no budget in mnist_edge.proof.parity.BUDGETS for {', '.join(without)}")
    _registered[format.name] = format
    return format


def formats() -> list[Format]:
    """Return all registered formats by name."""
    _load_all()
    return sorted(_registered.values(), key=lambda format: format.name)


def find(name: str) -> Format:
    """Return a format. Raises UnknownNameError."""
    _load_all()
    if name not in _registered:
        raise unknown_name("format", name, _registered)
    return _registered[name]


@cache
def _load_all() -> None:
    for module in _BUILT_IN:
        import_module(module)
    register_plugins(ENTRY_POINTS, Format, register)
