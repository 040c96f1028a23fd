"""Every artifact of a model against PyTorch's stored answers, without torch, each in the runtime it was made for."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mnist_edge import dataset as datasets
from mnist_edge import parity, runtimes, store
from mnist_edge.dataset import Dataset
from mnist_edge.errors import DataError, MissingExtraError, ModelError
from mnist_edge.manifest import Artifact, Reference
from mnist_edge.store import Model


@dataclass(frozen=True)
class Verified:
    """What became of one artifact: a report, or the reason why there is none.

    Attributes:
        skipped: True where the runtime is not installed here, which is nobody's fault; False where the artifact is at fault.
    """

    artifact: Artifact
    report: parity.ParityReport | None
    reason: str = ""
    skipped: bool = False

    @property
    def passed(self) -> bool:
        """True where there is a report, and it is within the budget."""
        return bool(self.report)


def choose_reference(model: Model, data: str | None = None, data_dir: Path | None = None) -> tuple[Reference, Dataset]:
    """Return PyTorch's stored answers to take, and the test set that they belong to.

    That is `data` if it is given; else MNIST, else drawn digits, whichever has answers stored and is on this machine.
    Raises DataError if there is none, or the data here is not what the answers were stored for.
    """
    stored = {reference.data["name"]: reference for reference in model.manifest.references}
    if data is not None:
        found = datasets.load(data, "test", data_dir)
        reference = model.manifest.reference_on(found.sha256)
        if reference is None:
            known = ", ".join(f"{name} (SHA-256 {r.data['sha256'][:12]}…)" for name, r in stored.items())
            raise DataError(
                f"{model.name}: no answers of PyTorch are stored for {found.name} (SHA-256 {found.sha256[:12]}…), only for {known}"
            )
        return reference, found
    reasons = []
    for name in ("mnist", "drawn"):
        if name not in stored:
            continue
        try:
            found = datasets.load(name, "test", data_dir)
        except DataError as error:
            reasons.append(str(error))
            continue
        if found.sha256 == stored[name].data["sha256"]:
            return stored[name], found
        reasons.append(
            f"{name} here (SHA-256 {found.sha256[:12]}…) is not what PyTorch's answers were stored for ({stored[name].data['sha256'][:12]}…)"
        )
    folders = [name for name in stored if name not in ("mnist", "drawn")]
    reasons += [f"answers are stored for {name}: name that folder with --data" for name in folders]
    raise DataError(f"{model.name}: {'; '.join(reasons)}")


def verify(model: Model, stored: Reference, data: Dataset) -> list[Verified]:
    """Compare every artifact of `model` with PyTorch's stored answers to `data`. Raises ModelError if there is no artifact."""
    if not model.artifacts:
        raise ModelError(f"{model.folder}: no artifact to verify; make one: mnist-edge export {model.name} --format onnx")
    reference = store.read_reference(model, stored)
    return [_verify(model, artifact, data, reference) for artifact in model.artifacts]


def _verify(model: Model, artifact: Artifact, data: Dataset, reference: NDArray[np.float32]) -> Verified:
    try:
        run = runtimes.get(artifact.runtime).load(model.path(artifact))
    except MissingExtraError as error:
        return Verified(artifact, None, str(error), skipped=True)
    except ModelError as error:
        return Verified(artifact, None, str(error))
    report, _ = parity.check(run, reference, data.images, data.labels, parity.BUDGETS[artifact.precision])
    return Verified(artifact, report)
