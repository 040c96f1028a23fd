"""The gate: an export is written aside, run by its real runtime on the whole test set, and published only if it answers as PyTorch does."""

import json
import time
from collections.abc import Mapping
from contextlib import suppress
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
from mnist_edge.errors import ExportError, MnistEdgeError, ModelError, unknown_name
from mnist_edge.extras import require
from mnist_edge.files import folder_aside, write_atomically
from mnist_edge.manifest import Artifact, Manifest

#: A failed export leaves its evidence in this folder of the models folder.
FAILED = ".failed"

#: The network itself is checked for neighbours that leak into each other on this many images.
_NEIGHBOURS = 16


@dataclass(frozen=True)
class Proof:
    """What the gate saw.

    Attributes:
        report: the figures.
        data: the data set that they were measured on.
        artifact: the published artifact, None where the gate refused it.
        evidence: the folder with what was refused, None where it passed.
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

    Raises UnknownNameError, UsageError, MissingExtraError, ModelError, ExportError, OSError; then, too, nothing was published.
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
    model = publishing.writable(model, models_dir)
    budget = parity.BUDGETS[precision]
    file = model.name + ("" if precision == "float32" else f".{precision}") + chosen.suffix
    with folder_aside(model.folder.parent, file) as aside:
        target = _target(aside / file, model.manifest, precision, options)
        details = _write(chosen, model, target)
        run = _load(runtime, chosen, target.path)
        report = parity.check(run, reference, data.images, data.labels, budget)
        if not report:
            return model, Proof(report, data, evidence=_keep_evidence(model, target.path, report, data, reference, run))
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
        model = keep_reference(model, reference, data)
        model = publishing.publish_artifact(model, target.path, artifact)
    return model, Proof(report, data, artifact)


def pytorch_answers(model: store.Model, data: Dataset) -> NDArray[np.float32]:
    """Return the network's own logits, float32 N×10, after checking that it is fit to be a reference.

    Raises ModelError for weights that do not fit, answers that are not finite, answers that depend on an image's
    neighbours in the batch, and answers that are not those which the manifest's machine stored for the same images.
    """
    from mnist_edge.training.deploy import load_deployed
    from mnist_edge.training.run import torch_logits

    deployed = load_deployed(model)
    logits = torch_logits(deployed, data)
    if not np.isfinite(logits).all():
        raise ModelError(f"{model.folder}: PyTorch itself answers NaN or infinity; train it again")
    few = data.first(min(_NEIGHBOURS, len(data)))
    together = torch_logits(deployed, few)
    alone = np.concatenate(
        [
            torch_logits(deployed, replace(few, images=few.images[i : i + 1], labels=few.labels[i : i + 1], paths=()))
            for i in range(len(few))
        ]
    )
    tolerance = parity.BUDGETS["float32"].logit_difference
    leak = float(np.abs(together - alone).max())
    if leak > tolerance:
        raise ModelError(
            f"{model.folder}: network {model.manifest.architecture} answers an image differently by {leak:.3g} when others are in its batch; "
            "look for attention without batch_first, or normalisation over the batch in eval mode"
        )
    stored = model.manifest.reference_on(data.sha256)
    if stored is not None:
        drift = float(np.abs(logits - store.read_reference(model, stored)).max())
        if drift > tolerance:
            raise ModelError(
                f"{model.folder}: PyTorch here answers differently by {drift:.3g} from the logits stored with the model; "
                f"it was trained with torch {model.manifest.training['versions'].get('torch')}"
            )
    return logits


def keep_reference(model: store.Model, logits: NDArray[np.float32], data: Dataset) -> store.Model:
    """Store PyTorch's answers on `data` with the model, unless they are there. Raises OSError.

    A model that was only ever tested on drawn digits gets its test score from `data`, too.
    """
    manifest, about = model.manifest, datasets.describe(data)
    if manifest.reference_on(data.sha256) is not None:
        return model
    outdated = [reference.file for reference in manifest.references if reference.data["name"] == data.name]
    scores = manifest.scores
    if scores["test_data"]["name"] == "drawn":
        correct = int((logits.argmax(axis=1) == data.labels).sum())
        scores = scores | {"test_accuracy": correct / len(data), "test_correct": correct, "test_data": about}
    reference = publishing.write_reference(model.folder, logits, about)
    model = publishing.update_manifest(model, replace(manifest.with_reference(reference), scores=scores))
    for file in outdated:
        with suppress(OSError):
            (model.folder / file).unlink()
    return model


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
        raise ExportError(f"format {chosen.name}: {' '.join(f'{type(error).__name__}: {error}'.split())[:300]}") from error
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
        raise ExportError(f"format {chosen.name}: what it wrote does not load: {str(error).replace(f'{path}: ', '')}{hint}") from error


def _keep_evidence(
    model: store.Model, artifact: Path, report: parity.ParityReport, data: Dataset, reference: NDArray[np.float32], run: parity.Run
) -> Path:
    """Save the refused artifact, the figures, the images that changed their answer and both outputs, for a look."""
    folder = model.folder.parent / FAILED / f"{model.name}-{artifact.name}-{time.strftime('%Y%m%d-%H%M%S')}"
    while folder.exists():
        folder = folder.with_name(folder.name + "-")
    folder.mkdir(parents=True)
    artifact.rename(folder / artifact.name)
    changed = list(report.changed)
    with suppress(Exception):  # the runtime may be what failed; the rest of the evidence is worth having
        np.savez(
            folder / "outputs.npz",
            indices=changed,
            reference=reference[changed],
            artifact=run(data.images[changed]),
            labels=data.labels[changed],
        )
    for index in changed[:100]:
        Image.fromarray(data.images[index, 0]).save(folder / f"{index:05d}-label-{data.labels[index]}.png")
    write_atomically(folder / "report.json", json.dumps(parity_record(report, data), indent=1).encode())
    return folder


def complete(model: store.Model, data: Dataset) -> store.Model:
    """Store PyTorch's answers on `data` with a model that was proven on something else. Raises ModelError, OSError."""
    require("computing PyTorch's answers", "torch", "safetensors")
    return keep_reference(model, pytorch_answers(model, data), data)
