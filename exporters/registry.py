"""The formats: a file a format, which registers itself; others come by entry point."""

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

    from mnist_edge.architectures.deployed import Deployed
    from mnist_edge.dataset import Dataset

ENTRY_POINTS = "mnist_edge.exporters"

#: This package's own; each registers itself when it is imported.
_BUILT_IN = ("exporters.onnx", "exporters.torchscript", "exporters.litert", "exporters.executorch")


@dataclass(frozen=True)
class Calibration:
    """Training images that ranges are read off.

    Attributes:
        images: uint8 N×1×28×28.
        record: what the manifest keeps: the data set and its hash, seed and indices.
    """

    images: "NDArray[np.uint8]" = field(repr=False)
    record: Mapping[str, Any]

    @classmethod
    def draw(cls, training: "Dataset", count: int, seed: int = 0) -> "Calibration":
        """Take `count` images of a training set, none of those held out for validation. Raises UsageError if there are not so many."""
        import numpy as np

        from mnist_edge.dataset import describe, split_validation

        kept, _ = split_validation(training)
        if count > len(kept):
            raise UsageError(f"--calibration-images {count}: {training.name} has {words(len(kept), 'training image')}")
        indices = np.sort(np.random.default_rng(seed).choice(kept, count, replace=False))
        return cls(training.images[indices], {"data": describe(training), "seed": seed, "indices": indices.tolist()})


@dataclass(frozen=True)
class Target:
    """What an exporter writes, and what it may say in the file.

    Attributes:
        path: file or folder to write; nothing of the user's is there.
        name: the model's name.
        architecture: the network's name.
        classes: what each logit stands for.
        licence: SPDX identifier of the weights.
        precision: one of the format's precisions.
        options: the format's own options, as given.
        calibration: images to calibrate on, where the precision wants some.
    """

    path: Path
    name: str
    architecture: str
    classes: tuple[str, ...]
    licence: str
    precision: str = "float32"
    options: Mapping[str, Any] = field(default_factory=dict)
    calibration: Calibration | None = None


@dataclass(frozen=True)
class LayerCost:
    """What a layer's lower precision costs: relative error of its tensors, root mean square over images.

    Attributes:
        layer: its name in the graph, such as ``fc1/Gemm``; the part before the slash is the module.
        before, behind: error of its input and of its output against float32, as a share of the float32 tensor's size.
        added: what the layer itself adds, if errors are independent: √(behind² - before²).
    """

    layer: str
    before: float
    behind: float
    added: float


@dataclass(frozen=True)
class Reduction:
    """A lower precision of a format.

    Attributes:
        convert: writes ``target.path`` from the float32 file and returns details, as `Format.export` does.
        options: its own, beside the format's.
        calibrated: True if it needs ``target.calibration``.
        layer_costs: compares the tensors of both files on images, uint8 N×1×28×28, the costliest layer first; None where
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
        name: what ``--format`` takes.
        summary: what it is, in a few words.
        suffix: ends the artifact's name, after the model's name: ``.onnx``.
        runtime: what runs it as a rule; the gate runs it with this. Other runtimes say themselves that they run this format.
        export: writes ``target.path``, a file or a folder, in float32 from a `Deployed` network in eval mode, on the CPU, and returns details for the
            manifest. ``oldest_runtime`` among them, such as ``onnxruntime 1.18``, is the oldest release that runs the file.
            Raises ExportError, UsageError.
        requires: import names of the packages that `export` needs.
        install: the line that installs them.
        missing_tools: names what else `export` needs and does not find, such as a converter in a folder of its own; None if it needs nothing else.
        install_tools: returns the line that installs that.
        options: its own.
        reductions: its lower precisions by name; each needs a budget in `mnist_edge.proof.parity.BUDGETS`.
    """

    name: str
    summary: str
    suffix: str
    runtime: str
    export: "Callable[[Deployed, Target], dict[str, Any]]"
    requires: tuple[str, ...] = ("torch",)
    install: str = INSTALL_TRAIN
    missing_tools: Callable[[], tuple[str, ...]] | None = None
    install_tools: Callable[[], str] | None = None
    options: tuple[Option, ...] = ()
    reductions: Mapping[str, Reduction] = field(default_factory=dict)

    @property
    def precisions(self) -> tuple[str, ...]:
        """All that it can write, float32 first."""
        return ("float32", *self.reductions)

    def options_of(self, precision: str) -> tuple[Option, ...]:
        """Return the options that it takes in a precision: the format's own, and that precision's."""
        reduction = self.reductions.get(precision)
        return (*self.options, *(reduction.options if reduction else ()))

    def missing(self) -> dict[str, str]:
        """Return what `export` needs and does not find here, by name, and the line that installs each."""
        found = dict.fromkeys((module for module in self.requires if not is_installed(module)), self.install)
        if self.missing_tools and (tools := self.missing_tools()):
            found |= dict.fromkeys(tools, self.install_tools() if self.install_tools else self.install)
        return found

    def require(self) -> None:
        """Raise MissingExtraError unless all that `export` needs is there."""
        if missing := self.missing():
            raise lacks(f"format {self.name}", missing)


_registered: dict[str, Format] = {}


def register(format: Format) -> Format:
    """Add a format. Raises UsageError if its name or suffix is taken or can be none, or no runtime can prove it."""
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
