"""The gate: an export is written aside, run by its real runtime on the whole test set, and published only if it answers as PyTorch does."""

import json
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exporters import reference
from exporters.evidence import keep_evidence
from exporters.registry import Calibration, Format, LayerCost, Reduction, Target, find
from exporters.verdict import Verdict, judge
from mnist_edge import golden, parity, probes, proof, publishing, runtimes, store
from mnist_edge.dataset import Dataset
from mnist_edge.errors import ExportError, MnistEdgeError, ModelError, ParityError, UsageError, one_line, unknown_name
from mnist_edge.files import folder_aside
from mnist_edge.manifest import Artifact, Manifest

if TYPE_CHECKING:
    from mnist_edge.training.deploy import Deployed

#: Layers of a refused precision are compared on so many images.
_DIAGNOSED = 200


@dataclass(frozen=True)
class Proof:
    """What the gate saw.

    Attributes:
        report: the figures.
        data: the data set that they were measured on.
        artifact: the published artifact, None where the gate refused it.
        evidence: the folder with what was refused; None where it passed, or nothing could be saved.
        verdict: what a lower precision is good for; None for float32.
        costs: of a refused lower precision, which layers cost most, if the format can tell.
    """

    report: parity.ParityReport
    data: Dataset
    artifact: Artifact | None = None
    evidence: Path | None = None
    verdict: Verdict | None = None
    costs: tuple[LayerCost, ...] = ()


def export(
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
) -> tuple[store.Model, Proof]:
    """Export a model, prove the artifact on `data`, and publish it. Returns the model as it is afterwards, and the proof.

    A lower precision is made from the float32 file, which is written aside too, compared with it in size, and refused if it is
    no smaller. `max_accuracy_drop`, 0 to 1, replaces the one in the precision's budget. A proof without an artifact means that
    parity failed: the model's folder is as it was.

    `force` publishes what would otherwise be refused for one of these reasons: too few images for a proof or warnings of the exporter,
    which mark the artifact as unproven; a stronger proof of the file that it replaces; no gain in size.

    Raises UnknownNameError, UsageError, MissingExtraError, ModelError, ExportError, ParityError, OSError; then, too, nothing was published.
    """
    chosen, options = find(format_name), options or {}
    if precision not in chosen.precisions:
        raise unknown_name(f"precision of format {chosen.name}", precision, chosen.precisions)
    reduction = chosen.reductions.get(precision)
    known = (*chosen.options, *(reduction.options if reduction else ()))
    for option in options:
        if option not in known:
            raise unknown_name(f"option of format {chosen.name} in {precision}", option, known)
    chosen.require()
    runtime = runtimes.get(chosen.runtime)
    runtime.require(f"the gate of format {chosen.name}, which runs what it proves,")
    budget = _budget(precision, max_accuracy_drop)
    publishing.check_writable(model, models_dir)
    too_little = proof.shortcomings(data.labels, model.manifest.classes)
    if too_little and not force:
        raise ParityError(
            f"{model.name}: not exported, because {too_little}; name a larger test set with --data, or add --force, which publishes it as unproven"
        )

    answers = reference.answers(model, data)
    file = _file_name(model, chosen, precision)
    with folder_aside(store.models_dir(models_dir) if model.is_installed_reference else model.home, file) as aside, _threads_kept():
        target = _target(aside, file, model.manifest, precision, options, calibration)
        written = _write_and_load(model, chosen, runtime, target, data)
        if not force:
            _check_worth(model, precision, written)
        run, details, verdict = written.run, written.details, written.verdict
        report, logits = parity.check(run, answers.logits, data.images, data.labels, budget)
        at_home = golden.compare(run, answers.golden, golden.tolerance(precision, 0.0) if precision == "float32" else None)
        report = report.with_failures([f"golden inputs: {failure}" for failure in at_home.failures])
        report = report.with_failures(probes.failures(run, answers.probes, exact=precision == "float32"))
        if written.float32_run is not None:
            failures = probes.failures(written.float32_run, answers.probes, exact=True)
            report = report.with_failures([f"in float32, from which it was made: {failure}" for failure in failures])
        if not report:
            costs = _costs(reduction, written.float32, target.path, data)
            kept = keep_evidence(aside.parent, model.name, target.path, report, answers, logits)
            return model, Proof(report, data, None, kept, verdict, costs)
        oldest = str(details.pop("oldest_runtime", f"{runtime.name} (oldest not known)"))
        artifact = Artifact(
            **asdict(publishing.record_of(target.path)),
            format=chosen.name,
            precision=precision,
            runtime=runtime.name,
            oldest_runtime=oldest,
            parity=proof.record(report, data, "; ".join(filter(None, [too_little, proof.doubts(details)]))),
            details=details,
            golden={"max_difference": at_home.max_difference},
        )
        model = publishing.writable(model, models_dir)
        model, artifact = publishing.publish_artifact(
            model, target.path, artifact, lambda manifest: reference.store_answers(model, answers, manifest), force
        )
    return model, Proof(report, data, artifact, verdict=verdict)


def _check_worth(model: store.Model, precision: str, written: "_Written") -> None:
    """Raise ExportError for what only `force` publishes: a lower precision that is hardly smaller, and what the exporter warned of."""
    if written.verdict and not written.verdict.gains:
        raise ExportError(
            f"{model.name}: not published as {precision}, because {written.verdict.why_not()}; --force publishes it all the same"
        )
    if warned := written.details.get("warnings"):
        raise ExportError(
            f"{model.name}: not published, because the exporter warns that the file may answer otherwise than the network: "
            f"{'; '.join(warned)}; change the network, or add --force"
        )


@dataclass(frozen=True)
class _Written:
    """A file aside: loaded, what its exporter says of it, and the float32 file; for a lower precision that one loaded, and the verdict."""

    run: parity.Run
    details: dict[str, Any]
    float32: Path
    float32_run: parity.Run | None = None
    verdict: Verdict | None = None


def _write_and_load(model: store.Model, chosen: Format, runtime: runtimes.Runtime, target: Target, data: Dataset) -> _Written:
    reduction = chosen.reductions.get(target.precision)
    if reduction is None:
        details = _write(chosen, target, lambda target: chosen.export(_network(model), target))
        return _Written(_load(runtime, chosen, target.path), details, target.path)
    plain = {name: value for name, value in target.options.items() if name in chosen.options}
    float32 = _target(target.path.parent.parent, "float32" + chosen.suffix, model.manifest, "float32", plain, None)
    about = _write(chosen, float32, lambda target: chosen.export(_network(model), target))
    details = _write(chosen, target, lambda target: reduction.convert(float32.path, target))
    if warned := [*about.get("warnings", ()), *details.get("warnings", ())]:
        details["warnings"] = warned
    _try_apart(runtime, chosen, target)
    run, float32_run = _load(runtime, chosen, target.path), _load(runtime, chosen, float32.path)
    verdict = judge((target.path, run), (float32.path, float32_run), data.images[:1], details.get("reduced_weights"))
    return _Written(run, details, float32.path, float32_run, verdict)


def _file_name(model: store.Model, chosen: Format, precision: str) -> str:
    """Return the artifact's file name: that of the one which it replaces, where the folder was renamed since."""
    for artifact in model.artifacts:
        if (artifact.format, artifact.precision) == (chosen.name, precision):
            return artifact.file
    return model.name + ("" if precision == "float32" else f".{precision}") + chosen.suffix


def _budget(precision: str, max_accuracy_drop: float | None) -> parity.Budget:
    budget = parity.BUDGETS[precision]
    if max_accuracy_drop is None:
        return budget
    if precision == "float32":
        raise UsageError("--max-accuracy-drop is for lower precisions; float32 has to answer as PyTorch does")
    if not 0 <= max_accuracy_drop <= 1:
        raise UsageError(f"--max-accuracy-drop {100 * max_accuracy_drop:g}: points of accuracy, 0 to 100")
    return budget.with_accuracy_drop(max_accuracy_drop)


def _costs(reduction: Reduction | None, float32: Path, reduced: Path, data: Dataset) -> tuple[LayerCost, ...]:
    if reduction is None or reduction.layer_costs is None:
        return ()
    try:
        return tuple(reduction.layer_costs(float32, reduced, data.images[:_DIAGNOSED]))
    except Exception as error:  # what it says is an extra; the verdict stands without
        warnings.warn(f"the layers could not be compared: {one_line(error)}", stacklevel=2)
        return ()


@contextmanager
def _threads_kept() -> Iterator[None]:
    """Give PyTorch its threads back: its runtimes set them for the whole process."""
    import torch

    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _target(
    aside: Path, file: str, manifest: Manifest, precision: str, options: Mapping[str, Any], calibration: Calibration | None
) -> Target:
    """Give a target a folder of its own, so that whatever else is in it afterwards was written by its exporter."""
    folder = aside / precision
    folder.mkdir()
    return Target(folder / file, manifest.name, manifest.architecture, manifest.classes, manifest.licence, precision, options, calibration)


def _network(model: store.Model) -> "Deployed":
    """Load a network of the exporter's own: what it does to it must not reach the reference."""
    from mnist_edge.training.deploy import load_deployed

    return load_deployed(model)


def _write(chosen: Format, target: Target, write: Callable[[Target], Mapping[str, Any]]) -> dict[str, Any]:
    try:
        details = dict(write(target))
    except (MnistEdgeError, OSError):
        raise
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # another distribution's exporter may raise anything, SystemExit too
        raise ExportError(f"format {chosen.name}: {one_line(error)}") from error
    extra = sorted(p.name for p in target.path.parent.iterdir() if p != target.path)
    if target.path.is_symlink():
        raise ExportError(f"format {chosen.name}: wrote a symbolic link; an artifact is a file of its own")
    if not target.path.is_file():
        raise ExportError(f"format {chosen.name}: wrote no file")
    if target.path.stat().st_nlink > 1:
        raise ExportError(f"format {chosen.name}: wrote a hard link to a file that lies elsewhere, too; an artifact is a file of its own")
    if extra:
        raise ExportError(f"format {chosen.name}: an artifact is one file; it also wrote {', '.join(extra)}")
    try:
        kept: dict[str, Any] = json.loads(json.dumps(details, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ExportError(f"format {chosen.name}: its details are no JSON: {error}") from error
    return kept


def _load(runtime: runtimes.Runtime, chosen: Format, path: Path) -> parity.Run:
    try:
        return runtime.load(path)
    except ModelError as error:
        hint = " (in a network, len(x) and int(x.shape[0]) freeze the batch; x.shape[0] does not)" if "batch is fixed" in str(error) else ""
        raise ParityError(
            f"not published: what format {chosen.name} wrote does not run: {str(error).replace(f'{path}: ', '')}{hint}"
        ) from error


def _try_apart(runtime: runtimes.Runtime, chosen: Format, target: Target) -> None:
    """Load a reduced file and answer once in a process of its own: a runtime may die over a graph, and must not take this one along.

    Raises ParityError if it dies; whatever else is wrong shows here, too.
    """
    code = "import sys, numpy; from pathlib import Path; from mnist_edge import runtimes"
    code += "; runtimes.get(sys.argv[1]).load(Path(sys.argv[2]))(numpy.zeros((2, 1, 28, 28), numpy.uint8))"
    done = subprocess.run([sys.executable, "-P", "-c", code, runtime.name, str(target.path)], capture_output=True, check=False)
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        raise ParityError(
            f"{target.name}: not published: runtime {runtime.name} dies ({name}) over what format {chosen.name} wrote in {target.precision}; "
            "try another --quantize, or --keep-float for parts of it"
        )
