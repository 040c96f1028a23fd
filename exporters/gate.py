"""The gate: an export is written aside, run by its real runtime on the whole test set, and published only if it answers as PyTorch does."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from exporters.registry import Format, Target, find
from mnist_edge import dataset as datasets
from mnist_edge import parity, publishing, runtimes, store
from mnist_edge.dataset import Dataset
from mnist_edge.errors import ExportError, MnistEdgeError, ModelError, ParityError, one_line, unknown_name
from mnist_edge.extras import require
from mnist_edge.files import folder_aside, write_atomically
from mnist_edge.manifest import Artifact, Manifest

#: A failed export leaves its evidence in this folder of the models folder.
FAILED = ".failed"

#: A refused artifact is kept with at least so many images, and at most so many pictures of them.
_WORST, _PICTURES = 20, 100

#: The network itself is checked for neighbours that leak into each other on this many images.
_NEIGHBOURS = 16


@dataclass(frozen=True)
class Proof:
    """What the gate saw.

    Attributes:
        report: the figures.
        data: the data set that they were measured on.
        artifact: the published artifact, None where the gate refused it.
        evidence: the folder with what was refused; None where it passed, or nothing could be saved.
    """

    report: parity.ParityReport
    data: Dataset
    artifact: Artifact | None = None
    evidence: Path | None = None


def export(
    model: store.Model,
    format_name: str,
    data: Dataset,
    *,
    models_dir: Path | None = None,
    precision: str = "float32",
    options: Mapping[str, Any] | None = None,
) -> tuple[store.Model, Proof]:
    """Export a model, prove the artifact on `data`, and publish it. Returns the model as it is afterwards, and the proof.

    A proof without an artifact means that parity failed: the model's folder is as it was.

    Raises UnknownNameError, UsageError, MissingExtraError, ModelError, ExportError, ParityError, OSError; then, too, nothing was published.
    """
    chosen, options = find(format_name), options or {}
    for option in options:
        if option not in chosen.options:
            raise unknown_name(f"option of format {chosen.name}", option, chosen.options)
    if precision not in chosen.precisions:
        raise unknown_name(f"precision of format {chosen.name}", precision, chosen.precisions)
    require(f"format {chosen.name}", *chosen.requires, install=chosen.install)
    runtime = runtimes.get(chosen.runtime)
    require(f"the gate of format {chosen.name}, which runs what it proves,", *runtime.requires)

    reference = pytorch_answers(model, data)
    budget = parity.BUDGETS[precision]
    file = model.name + ("" if precision == "float32" else f".{precision}") + chosen.suffix
    with folder_aside(store.models_dir(models_dir) if model.is_installed_reference else model.folder.parent, file) as aside:
        target = _target(aside / file, model.manifest, precision, options)
        details = _write(chosen, model, target)
        with _threads_kept():
            run = _load(runtime, chosen, target.path)
            report, logits = parity.check(run, reference, data.images, data.labels, budget)
        if not report:
            return model, Proof(report, data, evidence=_keep_evidence(aside.parent, model, target.path, report, data, reference, logits))
        oldest = str(details.pop("oldest_runtime", f"{runtime.name} (oldest not known)"))
        artifact = Artifact(
            **asdict(publishing.record_of(target.path)),
            format=chosen.name,
            precision=precision,
            runtime=runtime.name,
            oldest_runtime=oldest,
            parity=parity_record(report, data),
            details=details,
        )
        model = publishing.writable(model, models_dir)
        artifact = _stronger(model, artifact)
        change, outdated = _with_reference(model, reference, data)
        model = publishing.publish_artifact(model, target.path, artifact, change)
        _remove(model, outdated)
    return model, Proof(report, data, artifact)


def _stronger(model: store.Model, artifact: Artifact) -> Artifact:
    """Return the record to keep: a proof on real digits is not given up for one on drawn digits of the same bytes."""
    for known in model.artifacts:
        if known.sha256 == artifact.sha256 and known.file == artifact.file and artifact.parity["data"]["name"] == "drawn":
            return known
    return artifact


@contextmanager
def _threads_kept() -> Iterator[None]:
    """Give PyTorch its threads back: its runtimes set them for the whole process."""
    import torch

    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def pytorch_answers(model: store.Model, data: Dataset) -> NDArray[np.float32]:
    """Return the network's own logits, float32 N×10, after checking that it is fit to be a reference.

    Raises ModelError for weights that do not fit, answers that are not finite, answers that depend on an image's
    neighbours in the batch, and answers that are not those which the manifest's machine stored for the same images.
    """
    from mnist_edge.training.deploy import load_deployed
    from mnist_edge.training.run import torch_logits

    deployed = load_deployed(model)
    logits = torch_logits(deployed, data.images)
    if not np.isfinite(logits).all():
        raise ModelError(f"{model.folder}: PyTorch itself answers NaN or infinity; train it again")
    few = data.first(min(_NEIGHBOURS, len(data)))
    together = torch_logits(deployed, few.images)
    alone = np.concatenate([torch_logits(deployed, few.images[i : i + 1]) for i in range(len(few))])
    tolerance = parity.BUDGETS["float32"].logit_difference
    leak = float(np.abs(together - alone).max())
    if not leak <= tolerance:
        raise ModelError(
            f"{model.folder}: network {model.manifest.architecture} answers an image differently by {leak:.3g} when others are in its batch; "
            "look for attention without batch_first, or normalisation over the batch in eval mode"
        )
    stored = model.manifest.reference_on(data.sha256)
    if stored is not None:
        answers = store.read_reference(model, stored)
        if answers.shape != logits.shape:
            raise ModelError(f"{model.folder / stored.file}: {answers.shape} answers where {logits.shape} were expected; train it again")
        drift = float(np.abs(logits - answers).max())
        if not drift <= tolerance:
            raise ModelError(
                f"{model.folder}: PyTorch here answers differently by {drift:.3g} from the logits stored with the model; "
                f"it was trained with torch {model.manifest.training['versions'].get('torch')}"
            )
    return logits


def _with_reference(model: store.Model, logits: NDArray[np.float32], data: Dataset) -> tuple[Callable[[Manifest], Manifest], list[str]]:
    """Write PyTorch's answers to `data` beside the model; return the change that names them, and the files it outdates.

    A model that was only ever tested on drawn digits gets its test score from `data`, too.
    """
    about = datasets.describe(data)
    if model.manifest.reference_on(data.sha256) is not None:
        return lambda manifest: manifest, []
    outdated = [reference.file for reference in model.manifest.references if reference.data["name"] == data.name]
    reference = publishing.write_reference(model.folder, logits, about)

    def change(manifest: Manifest) -> Manifest:
        scores = manifest.scores
        if scores["test_data"]["name"] == "drawn":
            correct = int((logits.argmax(axis=1) == data.labels).sum())
            scores = scores | {"test_accuracy": correct / len(data), "test_correct": correct, "test_data": about}
        return replace(manifest.with_reference(reference), scores=scores)

    return change, outdated


def _remove(model: store.Model, files: list[str]) -> None:
    for file in files:
        with suppress(OSError):
            (model.folder / file).unlink()


def parity_record(report: parity.ParityReport, data: Dataset) -> dict[str, Any]:
    """Return what the manifest keeps of a report."""
    return report.to_json() | {"batches": list(parity.batches_checked(len(data))), "data": datasets.describe(data)}


def _target(path: Path, manifest: Manifest, precision: str, options: Mapping[str, Any]) -> Target:
    return Target(path, manifest.name, manifest.architecture, manifest.classes, manifest.licence, precision, options)


def _write(chosen: Format, model: store.Model, target: Target) -> dict[str, Any]:
    from mnist_edge.training.deploy import load_deployed

    try:
        # a network of its own: what an exporter does to it must not reach the reference
        details = dict(chosen.export(load_deployed(model), target))
    except (MnistEdgeError, OSError):
        raise
    except Exception as error:  # another distribution's exporter may raise anything
        raise ExportError(f"format {chosen.name}: {one_line(error)}") from error
    extra = sorted(p.name for p in target.path.parent.iterdir() if p != target.path)
    if not target.path.is_file():
        raise ExportError(f"format {chosen.name}: wrote no file")
    if extra:
        raise ExportError(f"format {chosen.name}: an artifact is one file; it also wrote {', '.join(extra)}")
    try:
        json.dumps(details, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ExportError(f"format {chosen.name}: its details are no JSON: {error}") from error
    return details


def _load(runtime: runtimes.Runtime, chosen: Format, path: Path) -> parity.Run:
    try:
        return runtime.load(path)
    except ModelError as error:
        hint = " (in a network, len(x) and int(x.shape[0]) freeze the batch; x.shape[0] does not)" if "batch is fixed" in str(error) else ""
        raise ParityError(
            f"not published: what format {chosen.name} wrote does not run: {str(error).replace(f'{path}: ', '')}{hint}"
        ) from error


def _keep_evidence(
    folder: Path,
    model: store.Model,
    artifact: Path,
    report: parity.ParityReport,
    data: Dataset,
    reference: NDArray[np.float32],
    logits: NDArray[np.float32],
) -> Path | None:
    """Save the refused artifact, the figures, the images that changed most or changed their answer, and both outputs.

    None where it cannot be saved: the verdict counts, whatever becomes of its evidence.
    """
    folder = folder / FAILED / f"{model.name}-{artifact.name}-{time.strftime('%Y%m%d-%H%M%S')}"
    while folder.exists():
        folder = folder.with_name(folder.name + "-")
    try:
        folder.mkdir(parents=True)
        artifact.rename(folder / artifact.name)
        write_atomically(folder / "report.json", json.dumps(parity_record(report, data), indent=1).encode())
        if len(logits) == len(reference):
            difference = np.nan_to_num(np.abs(logits - reference), nan=np.inf).max(axis=1)
            worst = np.argsort(-difference, kind="stable")[:_WORST]
            shown = sorted({*report.changed, *worst.tolist()})
            np.savez(folder / "outputs.npz", indices=shown, reference=reference[shown], artifact=logits[shown], labels=data.labels[shown])
            for index in shown[:_PICTURES]:
                Image.fromarray(data.images[index, 0]).save(folder / f"{index:05d}-label-{data.labels[index]}.png")
    except OSError:
        return None
    return folder


def complete(model: store.Model, data: Dataset) -> store.Model:
    """Store PyTorch's answers on `data` with a model that was proven on something else. Raises ModelError, OSError."""
    require("computing PyTorch's answers", "torch", "safetensors")
    change, outdated = _with_reference(model, pytorch_answers(model, data), data)
    model = publishing.change_manifest(model, change)
    _remove(model, outdated)
    return model


def record_proofs(model: store.Model, reports: Mapping[str, parity.ParityReport], data: Dataset) -> store.Model:
    """Keep in the manifest that artifacts, by file name, passed on `data`. Raises ModelError, OSError."""

    def change(manifest: Manifest) -> Manifest:
        for artifact in store.Model(model.folder, manifest).artifacts:
            report = reports.get(artifact.file)
            if report:
                manifest = manifest.with_artifact(replace(artifact, parity=parity_record(report, data)))
        return manifest

    return publishing.change_manifest(model, change)
