"""The artifacts of a model against PyTorch's stored answers, without torch: each on its own runtime, or on any other that runs it.

It uses a whole test set if that is on the machine, or the golden inputs in the model's folder, which works anywhere.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from mnist_edge import dataset as datasets
from mnist_edge import runtimes, store
from mnist_edge.common import logits
from mnist_edge.common.errors import DataError, MissingExtraError, MnistEdgeError, ModelError, ParityError, UsageError
from mnist_edge.common.logits import Run
from mnist_edge.common.text import data_name
from mnist_edge.dataset import Dataset
from mnist_edge.dataset.sources import GET_MNIST, find_mnist
from mnist_edge.proof import parity, records
from mnist_edge.proof.examination import examine
from mnist_edge.proof.golden import Golden, compare, tolerance
from mnist_edge.runtimes import Runtime, apart
from mnist_edge.runtimes.platforms import Platform
from mnist_edge.store import Model, publishing
from mnist_edge.store.manifest import Artifact, Manifest, Reference
from mnist_edge.store.proofs import Proof, merged


class Trial(NamedTuple):
    """One artifact on one runtime, to be tried here or, by an emulator, on another kind of machine.

    Attributes:
        machine: the emulated machine's name (`mnist_edge.runtimes.emulated.PLATFORMS`); empty for this one.
    """

    artifact: Artifact
    runtime: Runtime
    machine: str = ""


class Loaded(NamedTuple):
    """A loaded artifact, and what a proof records about where it runs."""

    run: Run
    version: str
    platform: Platform
    used: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verified:
    """The result of one trial: a report, or the reason why there is none.

    Attributes:
        skipped: True if the runtime is not installed here; False if the artifact is at fault.
        proof: the proof to keep, if it passed on a data set that is large enough.
        version: the runtime's release; empty if it was not loaded.
        platform: where it ran; None if it was not loaded.
    """

    trial: Trial
    report: parity.ParityReport | None
    reason: str = ""
    skipped: bool = False
    proof: Proof | None = None
    version: str = ""
    platform: Platform | None = None

    @property
    def artifact(self) -> Artifact:
        """The artifact that was tried."""
        return self.trial.artifact

    @property
    def passed(self) -> bool:
        """True where there is a report, and it is within the budget."""
        return bool(self.report)


def choose_reference(model: Model, data: str | None = None, data_dir: Path | None = None) -> tuple[Reference, Dataset]:
    """Return the stored answers of PyTorch to use, and the test set that they belong to.

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


def trials(model: Model, runtime: str | None = None, machine: str = "") -> list[Trial]:
    """Return what to verify: every artifact on its own runtime; those that one runtime runs; or, for ``all``, each on every runtime.

    With a `machine`, those that ONNX Runtime runs, there. Raises ModelError if there is no such artifact, UsageError, UnknownNameError.
    """
    if machine:
        from mnist_edge.runtimes import emulated

        emulated.get(machine)
        if runtime not in (None, "ort"):
            raise UsageError(f"--platform {machine} runs ONNX Runtime only; leave out --runtime {runtime}")
        runtime = "ort"
    if runtime is None:
        found = [Trial(artifact, runtimes.own(artifact)) for artifact in model.artifacts]
    else:
        chosen = list(runtimes.runtimes().values()) if runtime == runtimes.ALL else [runtimes.get(runtime)]
        if runtime != runtimes.ALL and chosen[0].from_weights:
            raise UsageError(f"runtime {runtime} takes the weights, so there is no artifact to verify; leave out --runtime {runtime}")
        found = [Trial(artifact, one, machine) for artifact in model.artifacts for one in chosen if one.runs(artifact)]
        if runtime == runtimes.ALL:  # one that no runtime here runs is named, too: it will be skipped, with the reason
            tried = {trial.artifact.file for trial in found}
            found += [Trial(artifact, runtimes.own(artifact)) for artifact in model.artifacts if artifact.file not in tried]
    if not found:
        if runtime in (None, runtimes.ALL):
            raise ModelError(f"{model.folder}: no artifact to verify; {model.export_again(what='make one')}")
        raise model.lacks(str(runtime), runtimes.get(str(runtime)).formats)
    return found


def verify(model: Model, tried: Sequence[Trial], stored: Reference, data: Dataset) -> Iterator[Verified]:
    """Compare artifacts of `model` with PyTorch's stored answers to `data`, one at a time.

    Each has to meet the budget that it was published with. Raises ModelError if the stored answers are damaged.
    """
    reference = store.read_reference(model, stored)
    golden = read_golden(model) if model.manifest.golden else None
    too_little = records.shortcomings(data.labels, model.manifest.classes)

    def examined(trial: Trial, loaded: Loaded) -> tuple[parity.ParityReport, Proof | None]:
        artifact = trial.artifact
        seen = examine(loaded.run, artifact.precision, _budget(artifact), data, reference, golden)
        if seen.report and (why := records.other_bits(artifact, seen.logits, data.sha256)):
            seen = seen._replace(report=seen.report.with_failures([why]))
        if not seen.report or too_little:
            return seen.report, None
        exact = seen.logits if artifact.details.get("bit_for_bit") else None
        figures = records.figures(seen.report, data, records.doubts(artifact.details), exact)
        platform = loaded.platform.to_json(loaded.used)
        measured = logits.figures(loaded.run)
        return seen.report, Proof(artifact.sha256, trial.runtime.name, figures, loaded.version, {}, platform, seen.golden, measured)

    for trial in tried:
        yield _verify(model, trial, examined)


def verify_quickly(model: Model, tried: Sequence[Trial]) -> Iterator[Verified]:
    """Compare artifacts with PyTorch's answers to the golden inputs in the model's folder.

    Raises ModelError if there are no golden inputs.
    """
    golden = read_golden(model)
    for trial in tried:
        yield _verify(model, trial, lambda trial, loaded: (_compare(trial.artifact, trial.runtime, loaded.run, golden), None))


def keep_proofs(model: Model, results: Sequence[Verified]) -> Model:
    """Keep the proofs of `results` with the model, each replacing a weaker or older one. Return the model as it is then.

    Raises ModelError if the model was trained again meanwhile, OSError.
    """
    proofs = [(result.artifact.file, result.proof) for result in results if result.proof is not None]

    def change(manifest: Manifest) -> Manifest:
        for artifact in Model(model.folder, manifest).artifacts:
            kept = artifact.proofs
            for file, proof in proofs:
                if (file, proof.artifact) == (artifact.file, artifact.sha256):
                    kept = merged(kept, proof)
            if kept != artifact.proofs:
                manifest = manifest.with_artifact(replace(artifact, proofs=kept))
        return manifest

    if change(model.manifest) == model.manifest:
        return model
    return publishing.change_manifest(model, change)


def read_golden(model: Model) -> Golden:
    """Return a model's golden inputs. Raises ModelError if there are none, or they are damaged."""
    record = model.manifest.golden
    if record is None:
        raise ModelError(f"{model.folder}: no golden inputs, because an older version made it; {model.export_again()}")
    return Golden.read(model.path(record))


def self_test(model: Model, artifact: Artifact | None, runtime: Runtime, run: Run) -> None:
    """Compare what was loaded, an artifact or (for None) the network itself, with PyTorch's answers to the golden inputs.

    Raises ParityError if its answers differ, ModelError if there is nothing to compare with.
    """
    golden = read_golden(model)
    report = _compare(artifact, runtime, run, golden) if artifact else compare(run, golden, tolerance("float32", 0.0))
    if not report:
        what = artifact.file if artifact else "the network"
        raise ParityError(f"{model.folder}: {what} does not answer as PyTorch did: {'; '.join(report.failures)}")


def _compare(artifact: Artifact, runtime: Runtime, run: Run, golden: Golden) -> parity.ParityReport:
    """Compare with the golden inputs, held to how far this runtime was from PyTorch where it was proven, else the artifact's own runtime."""
    known = [proof.golden["max_difference"] for proof in artifact.proofs if proof.golden and proof.runtime == runtime.name]
    if not known and artifact.proof.golden:
        known = [artifact.proof.golden["max_difference"]]
    if not known and artifact.precision != "float32":
        raise ModelError(f"{artifact.file}: its answers to the golden inputs were not kept; export it again")
    return compare(run, golden, tolerance(artifact.precision, max(known, default=0.0)))


def _budget(artifact: Artifact) -> parity.Budget:
    """Return the budget that an artifact was published with: its precision's, or what the user set for it."""
    return parity.Budget(**artifact.parity["budget"])


def _load(model: Model, trial: Trial) -> Loaded:
    if trial.machine:
        from mnist_edge.runtimes import emulated

        child = emulated.load(model.path(trial.artifact), trial.machine)
        return Loaded(child, f"onnxruntime {child.about['version']}", emulated.platform_of(child))
    apart.check(trial.runtime, model.path(trial.artifact))
    run = runtimes.load_artifact(model, trial.artifact, runtime=trial.runtime)
    return Loaded(run, trial.runtime.version(), trial.runtime.platform(), trial.runtime.processor())


def _verify(model: Model, trial: Trial, examined: Callable[[Trial, Loaded], tuple[parity.ParityReport, Proof | None]]) -> Verified:
    try:
        loaded = _load(model, trial)
        report, proof = examined(trial, loaded)
    except MissingExtraError as error:
        return Verified(trial, None, str(error), skipped=True)
    except MnistEdgeError as error:  # another distribution's runtime may raise any of them, and must not end the other trials
        return Verified(trial, None, str(error))
    return Verified(trial, report, "", False, proof, loaded.version, loaded.platform)
