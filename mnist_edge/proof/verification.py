"""Every artifact of a model against PyTorch's stored answers, without torch, each in the runtime it was made for.

On a whole test set where it is on the machine; on the golden inputs in the model's folder anywhere.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mnist_edge import dataset as datasets
from mnist_edge import runtimes, store
from mnist_edge.common.errors import DataError, MissingExtraError, ModelError, ParityError, UsageError
from mnist_edge.common.logits import Run
from mnist_edge.common.text import data_name
from mnist_edge.dataset import Dataset
from mnist_edge.dataset.sources import GET_MNIST, find_mnist
from mnist_edge.proof import parity, records
from mnist_edge.proof.golden import Golden, compare, tolerance
from mnist_edge.store import Model, publishing
from mnist_edge.store.manifest import Artifact, Manifest, Reference


@dataclass(frozen=True)
class Verified:
    """What became of one artifact: a report, or the reason why there is none.

    Attributes:
        skipped: True where the runtime is not installed here; False where the artifact is at fault.
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
    stored = model.manifest.references
    if data is not None:
        found = datasets.load(data, "test", data_dir)
        reference = model.manifest.reference_on(found.sha256)
        if reference is None:
            known = ", ".join(f"{data_name(r.data['name'])} (SHA-256 {r.data['sha256'][:12]}…)" for r in stored)
            raise DataError(
                f"{model.name}: no answers of PyTorch are stored for {data_name(found.name)} (SHA-256 {found.sha256[:12]}…), only for {known}"
            )
        return reference, found
    reasons = []
    for name in ("mnist", "drawn"):
        of_name = [reference for reference in stored if reference.data["name"] == name]
        if not of_name:
            continue
        if name == "mnist" and (here := find_mnist(data_dir)).raw_dir is None:
            reasons.append(f"{here.missing()}; {GET_MNIST}")  # no other data set has answers to compare with
            continue
        try:
            found = datasets.load(name, "test", data_dir)
        except DataError as error:
            reasons.append(str(error))
            continue
        if reference := model.manifest.reference_on(found.sha256):
            return reference, found
        others = ", ".join(f"{reference.data['sha256'][:12]}…" for reference in of_name)
        reasons.append(f"{data_name(name)} here (SHA-256 {found.sha256[:12]}…) is not what PyTorch's answers were stored for ({others})")
    folders = sorted({reference.data["name"] for reference in stored} - {"mnist", "drawn"})
    reasons += [f"answers are stored for {data_name(name)}: name that folder with --data" for name in folders]
    raise DataError(f"{model.name}: {'; '.join(reasons) or 'no answers of PyTorch are stored with it; export it again'}")


def verify(model: Model, stored: Reference, data: Dataset, runtime: str | None = None) -> list[Verified]:
    """Compare every artifact of `model`, or those for one runtime, with PyTorch's stored answers to `data`.

    Each is held to the budget that it was published with. Raises ModelError if there is no artifact, UnknownNameError.
    """
    reference = store.read_reference(model, stored)

    def report(artifact: Artifact, run: Run) -> parity.ParityReport:
        return parity.check(run, reference, data.images, data.labels, _budget(artifact))[0]

    return [_verify(model, artifact, report) for artifact in artifacts_for(model, runtime)]


def verify_quickly(model: Model, runtime: str | None = None) -> list[Verified]:
    """Compare every artifact, or those for one runtime, with PyTorch's answers to the golden inputs in the model's folder.

    Raises ModelError if there is no artifact or there are no golden inputs, UnknownNameError.
    """
    golden = read_golden(model)
    return [_verify(model, artifact, lambda artifact, run: _compare(artifact, run, golden)) for artifact in artifacts_for(model, runtime)]


def keep_proofs(model: Model, results: Sequence[Verified], data: Dataset) -> Model:
    """Keep with the model what passed on `data`, where that proves more than what is kept. Returns the model as it is then.

    Raises ModelError if the model was trained anew meanwhile, OSError.
    """
    passed = {result.artifact.sha256: result.report for result in results if result.report}

    def change(manifest: Manifest) -> Manifest:
        for artifact in Model(model.folder, manifest).artifacts:
            report = passed.get(artifact.sha256)
            kept = records.record(report, data, records.doubts(artifact.details)) if report else artifact.parity
            if records.is_weaker(artifact.parity, kept):
                manifest = manifest.with_artifact(replace(artifact, parity=kept))
        return manifest

    if records.shortcomings(data.labels, model.manifest.classes) or change(model.manifest) == model.manifest:
        return model
    return publishing.change_manifest(model, change)


def read_golden(model: Model) -> Golden:
    """Return a model's golden inputs. Raises ModelError if there are none, or they are damaged."""
    record = model.manifest.golden
    if record is None:
        raise ModelError(f"{model.folder}: no golden inputs, because an older version made it; {model.export_again()}")
    return Golden.read(model.path(record))


def self_test(model: Model, artifact: Artifact | None, run: Run) -> None:
    """Compare what was loaded, an artifact or (for None) the network itself, with PyTorch's answers to the golden inputs.

    Raises ParityError if it answers otherwise, ModelError if there is nothing to compare with.
    """
    golden = read_golden(model)
    report = _compare(artifact, run, golden) if artifact else compare(run, golden, tolerance("float32", 0.0))
    if not report:
        what = artifact.file if artifact else "the network"
        raise ParityError(f"{model.folder}: {what} does not answer as PyTorch did: {'; '.join(report.failures)}")


def _compare(artifact: Artifact, run: Run, golden: Golden) -> parity.ParityReport:
    if not artifact.golden and artifact.precision != "float32":
        raise ModelError(f"{artifact.file}: what it answers to the golden inputs was not kept; export it again")
    return compare(run, golden, tolerance(artifact.precision, artifact.golden.get("max_difference", 0.0)))


def artifacts_for(model: Model, runtime: str | None) -> list[Artifact]:
    """Return the artifacts to verify: all, or those for one runtime. Raises ModelError if there is none, UsageError, UnknownNameError."""
    if runtime is not None and runtimes.get(runtime).from_weights:
        raise UsageError(f"runtime {runtime} takes the weights, so there is no artifact to verify; leave out --runtime {runtime}")
    found = [artifact for artifact in model.artifacts if runtime in (None, artifact.runtime)]
    if not found:
        which = "" if runtime is None else f" for runtime {runtime}"
        raise ModelError(f"{model.folder}: no artifact{which} to verify; {model.export_again(runtime, what='make one')}")
    return found


def _budget(artifact: Artifact) -> parity.Budget:
    """Return the budget that an artifact was published with: its precision's, or what the user set for it."""
    return parity.Budget(**artifact.parity["budget"])


def _verify(model: Model, artifact: Artifact, report: Callable[[Artifact, Run], parity.ParityReport]) -> Verified:
    try:
        return Verified(artifact, report(artifact, runtimes.load_artifact(model, artifact)))
    except MissingExtraError as error:
        return Verified(artifact, None, str(error), skipped=True)
    except ModelError as error:
        return Verified(artifact, None, str(error))
