"""The gate: it writes an export aside, runs it on the whole test set with its real runtime, and publishes it only if it answers as PyTorch does.

It has four stages: `plan`, `writing.write`, `prove` and `publish`. Each says what it requires and what it ensures.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

import numpy as np

from exporters import plan as plans
from exporters import reference, writing
from exporters.evidence import keep_evidence
from exporters.plan import Plan, Request
from exporters.reference import Answers
from exporters.registry import LayerCost
from exporters.verdict import Verdict, judge
from exporters.writing import Written
from mnist_edge import runtimes, store
from mnist_edge.common import logits
from mnist_edge.common.errors import ExportError, ModelError, NoGainError, ParityError, one_line
from mnist_edge.common.files import folder_aside
from mnist_edge.common.logits import Run
from mnist_edge.common.text import count
from mnist_edge.common.trees import read_tree
from mnist_edge.dataset import Dataset
from mnist_edge.proof import parity, probes, records
from mnist_edge.proof.examination import Examined, examine
from mnist_edge.store import publishing
from mnist_edge.store.manifest import Artifact
from mnist_edge.store.proofs import Proof

#: A refused precision is diagnosed on this many images.
_DIAGNOSED = 200


@dataclass(frozen=True)
class Outcome:
    """The outcome of an export.

    Attributes:
        report: the figures.
        data: the data set that they were measured on.
        artifact: the published artifact; None if the gate refused it.
        evidence: the folder with the refused artifact; None if it passed, or nothing could be saved.
        verdict: what a lower precision is good for; None for float32.
        costs: which layers cost a refused lower precision most, if the format can tell.
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
    **request: Unpack[Request],
) -> tuple[store.Model, Outcome]:
    """Export a model, prove the artifact on `data`, and publish it. Return the model as it is afterwards, and the outcome.

    `request` is what `plan` takes. A lower precision is made from the float32 artifact, which is also written aside. It is compared with
    that one in size, and refused if it is not smaller. An outcome without an artifact means that parity failed: the model's folder is
    unchanged.

    `force` publishes an artifact that would be refused because there are too few images for a proof, because the exporter warned (either
    marks the artifact as unproven), because the artifact that it replaces has a stronger proof, or because it is not smaller.

    Raises UnknownNameError, UsageError, MissingExtraError, ModelError, ExportError, ParityError, OSError; nothing is published then.
    """
    plan = plans.plan(model, format_name, data, **request)
    answers = reference.answers(model, data)
    models_dir = request.get("models_dir")
    home = store.models_dir(models_dir) if model.is_installed_reference else model.home
    with folder_aside(home, plan.file) as aside, _threads_kept():
        written = writing.write(plan, aside, answers.golden)
        verdict = weigh(plan, written)
        seen = prove(plan, written, answers)
        seen, further = prove_further(plan, written, answers, seen)
        if not seen.report:
            costs = _costs(plan, written)
            kept = keep_evidence(home, model.name, written.artifact.path, seen.report, answers, seen.logits)
            return model, Outcome(seen.report, data, None, kept, verdict, costs)
        model, artifact = publish(plan, written, answers, seen, models_dir, further)
    return model, Outcome(seen.report, data, artifact, verdict=verdict)


def weigh(plan: Plan, written: Written) -> Verdict | None:
    """Return what a lower precision is good for; None for float32.

    Ensures, unless forced: a lower precision is clearly smaller, and the exporter gave no warning. Raises ExportError.
    """
    artifact, float32 = written.artifact, written.float32
    verdict = judge(artifact, float32, plan.data.images[:1]) if float32 else None
    if plan.force:
        return verdict
    if verdict and not verdict.gains:
        raise NoGainError(
            f"{plan.model.name}: not published as {plan.precision}, because {verdict.why_not()}; --force publishes it anyway",
            verdict.size,
            verdict.speed,
        )
    if warned := artifact.details.get("warnings"):
        raise ExportError(
            f"{plan.model.name}: not published, because the exporter warns that the file may not answer as the network does: "
            f"{'; '.join(warned)}; change the network, or add --force"
        )
    return verdict


def prove(plan: Plan, written: Written, answers: Answers) -> Examined:
    """Compare the written artifact with PyTorch's answers.

    Requires: `answers` to the plan's data. Ensures: a report on all inputs and, for a lower precision, on its float32 artifact too.
    """
    run, float32 = written.artifact.run, written.float32
    seen = examine(run, plan.precision, plan.budget, plan.data, answers.logits, answers.golden, answers.probes)
    if plan.source is not None:
        return seen._replace(report=seen.report.with_failures(_unlike_source(plan, written, seen)))
    if float32 is None:
        return seen
    failures = [f"in float32, from which it was made: {failure}" for failure in probes.failures(float32.run, answers.probes, exact=True)]
    return seen._replace(report=seen.report.with_failures(failures))


def prove_further(plan: Plan, written: Written, answers: Answers, seen: Examined) -> tuple[Examined, tuple[Proof, ...]]:
    """Compare the artifact on the further runtimes that the format names, each on all inputs. Return their proofs, too.

    An artifact that has to answer alike everywhere has to give the same logits there, bit for bit. Ensures: a report that fails if one of them
    does. Raises ParityError if one cannot run it.
    """
    artifact, proofs = written.artifact, []
    names = plan.format.further(plan.options, artifact.details) if plan.format.further and seen.report else ()
    for runtime in map(runtimes.get, names):
        try:
            run = runtime.load(artifact.path)
        except ModelError as error:
            raise ParityError(
                f"not published: {plan.file} does not run on {runtime.name}: {str(error).replace(f'{artifact.path}: ', '')}"
            ) from error
        there = examine(run, plan.precision, plan.budget, plan.data, answers.logits, answers.golden, answers.probes)
        failures = [f"on {runtime.name}: {failure}" for failure in there.report.failures]
        exact = bool(artifact.details.get("bit_for_bit"))
        if exact and there.report and records.hash_of(there.logits) != records.hash_of(seen.logits):
            failures.append(f"on {runtime.name}: the logits are not bit for bit those that runtime {plan.runtime.name} gave")
        if failures:
            return seen._replace(report=seen.report.with_failures(failures)), ()
        proofs.append(_proof(plan, written, runtime, run, there))
    return seen, tuple(proofs)


def _proof(plan: Plan, written: Written, runtime: runtimes.Runtime, run: Run, seen: Examined) -> Proof:
    details = written.artifact.details
    unproven = "; ".join(filter(None, [plan.too_little, records.doubts(details)]))
    figures = records.figures(seen.report, plan.data, unproven, seen.logits if details.get("bit_for_bit") else None)
    platform = runtime.platform().to_json(runtime.processor())
    golden = dict(seen.golden)
    return Proof(written.artifact.tree.sha256, runtime.name, figures, runtime.version(), {}, platform, golden, logits.figures(run))


def _unlike_source(plan: Plan, written: Written, seen: Examined) -> list[str]:
    """Say how an artifact that claims to answer bit for bit as its source fails to."""
    if plan.source is None or not written.artifact.details.get("as_source") or not seen.report:
        return []
    source = runtimes.load_artifact(plan.model, plan.source)
    expected = parity.logits_of(source, plan.data.images)
    different = int((expected.view(np.uint32) != seen.logits.view(np.uint32)).any(axis=1).sum())
    return [f"the logits of {count(different, 'image')} are not those of {plan.source.file}, bit for bit"] if different else []


def publish(
    plan: Plan, written: Written, answers: Answers, seen: Examined, models_dir: Path | None, further: tuple[Proof, ...] = ()
) -> tuple[store.Model, Artifact]:
    """Put a proven artifact in its place, with its proofs and PyTorch's answers. Return the model as it is then, and the artifact's record.

    Requires: a report that passed. Ensures: the artifact, its record and the answers are all there, or the model's folder is unchanged.
    Raises ExportError if the artifact is no longer what was written, ModelError if the model was trained again meanwhile, ParityError if
    there is a stronger proof, UsageError, OSError.
    """
    artifact, details = written.artifact, dict(written.artifact.details)
    if read_tree(artifact.path) != artifact.tree:  # a runtime that keeps a cache beside what it loads, say
        raise ExportError(
            f"{plan.model.name}: not published, because {artifact.path.name} changed while runtime {plan.runtime.name} ran it; "
            "a runtime must not write into what it loads"
        )
    oldest = str(details.pop("oldest_runtime", f"{plan.runtime.name} (oldest not known)"))
    proof = _proof(plan, written, plan.runtime, artifact.run, seen)
    record = Artifact(
        file=artifact.path.name,
        sha256=artifact.tree.sha256,
        bytes=artifact.tree.bytes,
        members=artifact.tree.members,
        format=plan.format.name,
        precision=plan.precision,
        runtime=plan.runtime.name,
        oldest_runtime=oldest,
        proofs=(proof, *further),
        details=details,
    )
    model = publishing.writable(plan.model, models_dir)
    return publishing.publish_artifact(
        model, artifact.path, record, lambda manifest: reference.store_answers(model, answers, manifest), plan.force
    )


def _costs(plan: Plan, written: Written) -> tuple[LayerCost, ...]:
    if plan.reduction is None or plan.reduction.layer_costs is None or written.float32 is None:
        return ()
    try:
        return tuple(plan.reduction.layer_costs(written.float32.path, written.artifact.path, plan.data.images[:_DIAGNOSED]))
    except Exception as error:  # the diagnosis is an extra; the verdict stands without it
        warnings.warn(f"the layers could not be compared: {one_line(error)}", stacklevel=2)
        return ()


@contextmanager
def _threads_kept() -> Iterator[None]:
    """Restore PyTorch's number of threads: its runtimes set that for the whole process."""
    import torch

    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
