"""The first stage of an export: it decides what to write, and refuses whatever can be refused before any work is done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from exporters.registry import Calibration, Format, Reduction, find
from mnist_edge import runtimes, store
from mnist_edge.common.errors import ExportError, ParityError, UsageError, unknown_name
from mnist_edge.common.options import check_options
from mnist_edge.dataset import Dataset
from mnist_edge.proof import parity, records
from mnist_edge.store import publishing
from mnist_edge.store.manifest import Artifact, quantize_of


@dataclass(frozen=True)
class Plan:
    """What to export.

    Attributes:
        model: the model; the installed reference is copied before anything is published.
        format: the format; its packages are installed.
        precision: one of the format's precisions.
        runtime: the format's own runtime, which is installed; the gate runs the artifact with it.
        data: the test set for the proof.
        budget: how much the answers may differ.
        options: options of the format or the precision, checked.
        calibration: images to calibrate on, if the precision needs them.
        source: the model's artifact that it is made from, for a format that has a source.
        too_little: why `data` is too little for a proof, in words; only with `force`.
        force: whether to publish an artifact that would be refused: too few images, warnings, a weaker proof, or no smaller.
    """

    model: store.Model
    format: Format
    precision: str
    runtime: runtimes.Runtime
    data: Dataset
    budget: parity.Budget
    options: Mapping[str, Any]
    calibration: Calibration | None
    source: Artifact | None
    too_little: str
    force: bool

    @property
    def reduction(self) -> Reduction | None:
        """The lower precision; None for float32."""
        return self.format.reductions.get(self.precision)

    @property
    def file(self) -> str:
        """The artifact's name: the name of the artifact that it replaces, even if the model's folder was renamed since."""
        for artifact in self.model.artifacts:
            if (artifact.format, artifact.precision) == (self.format.name, self.precision):
                return artifact.file
        return self.model.name + ("" if self.precision == "float32" else f".{self.precision}") + self.format.suffix


class Request(TypedDict, total=False):
    """What may be asked for besides the model, the format and the data.

    Attributes:
        models_dir: where the installed reference is copied to.
        precision: float32, or one of the format's lower precisions.
        options: options of the format or the precision, by name.
        calibration: images to calibrate on, if the precision needs them.
        max_accuracy_drop: 0 to 1; replaces the one in the precision's budget.
        force: whether to publish an artifact that would be refused (`Plan.force`).
    """

    models_dir: Path | None
    precision: str
    options: Mapping[str, Any] | None
    calibration: Calibration | None
    max_accuracy_drop: float | None
    force: bool


def plan(
    model: store.Model,
    format_name: str,
    data: Dataset,
    *,
    models_dir: Path | None = None,
    precision: str = "float32",
    options: Mapping[str, Any] | None = None,
    calibration: Calibration | None = None,
    max_accuracy_drop: float | None = None,
    force: bool = False,
) -> Plan:
    """Check a request and return the plan. Nothing is written.

    Ensures: format, precision and options exist and fit each other; what they need is installed; the model's folder can take the artifact.
    Raises UnknownNameError, UsageError, MissingExtraError, ModelError, and, unless `force`, ParityError if `data` is too little.
    """
    chosen, options = find(format_name), options or {}
    if precision not in chosen.precisions:
        raise unknown_name(f"precision of format {chosen.name}", precision, chosen.precisions)
    check_options(f"format {chosen.name} in {precision}", chosen.options_of(precision), options)
    chosen.require()
    runtime = runtimes.get(chosen.runtime)
    runtime.require(f"the gate of format {chosen.name}, which runs what it proves,")
    for name in chosen.further(options, {}) if chosen.further else ():
        runtimes.get(name).require(f"proving it on {name}")
    budget = _budget(precision, max_accuracy_drop)
    publishing.check_writable(model, models_dir)
    too_little = records.shortcomings(data.labels, model.manifest.classes)
    if too_little and not force:
        raise ParityError(
            f"{model.name}: not exported, because {too_little}; name a larger test set with --data, or add --force, which publishes it as unproven"
        )
    source = find_source(model, chosen, precision)
    if chosen.source and source is None:
        raise ExportError(
            f"{model.name}: format {chosen.name} is made from its {chosen.source} artifact in {precision}, and there is none; "
            f"run: mnist-edge export {model.name} --format {chosen.source}{_quantized(precision)}"
        )
    return Plan(model, chosen, precision, runtime, data, budget, options, calibration, source, too_little, force)


def find_source(model: store.Model, format: Format, precision: str) -> Artifact | None:
    """Return the model's artifact that a format would be made from; None if it has none, or the format needs none."""
    found = [one for one in model.artifacts if (one.format, one.precision) == (format.source, precision)]
    return next((one for one in found if (model.folder / one.file).exists()), None)


def _quantized(precision: str) -> str:
    return "" if precision == "float32" else f" --quantize {quantize_of(precision)}"


def _budget(precision: str, max_accuracy_drop: float | None) -> parity.Budget:
    budget = parity.BUDGETS[precision]
    if max_accuracy_drop is None:
        return budget
    if precision == "float32":
        raise UsageError("--max-accuracy-drop is for lower precisions; float32 has to answer as PyTorch does")
    if not 0 <= max_accuracy_drop <= 1:
        raise UsageError(f"--max-accuracy-drop {100 * max_accuracy_drop:g}: points of accuracy, 0 to 100")
    return budget.with_accuracy_drop(max_accuracy_drop)
