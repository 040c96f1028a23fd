"""``mnist-edge verify``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mnist_edge.cli import completing
from mnist_edge.cli.common import Output, Right, option, subcommand, table, was_typed
from mnist_edge.cli.group import EXIT_FAILED, EXIT_PARITY
from mnist_edge.cli.networks import builds_networks
from mnist_edge.common.errors import DataError, ModelError, UsageError
from mnist_edge.common.text import count, data_name, measured, percent

if TYPE_CHECKING:
    from mnist_edge.proof.verification import Trial, Verified
    from mnist_edge.store import Model


@subcommand("verify", "verify lenet", "verify lenet --runtime all", "verify lenet --platform aarch64")
@click.argument("model", required=False, shell_complete=completing.models)
@option(
    "--data",
    type=str,
    shell_complete=completing.data,
    help="The test set that PyTorch's answers were stored for: mnist, drawn or a folder.",
)
@option("--quick", is_flag=True, show_default=False, help="Use the golden inputs in the model's folder; needs no data set.")
@option(
    "--runtime",
    metavar="RUNTIME",
    shell_complete=completing.runtimes,
    help="Runtime to run the artifacts on, or all: every installed one.  [default: each artifact's own]",
)
@option(
    "--platform",
    metavar="PLATFORM",
    shell_complete=completing.platforms,
    help="Run on an emulated machine, such as aarch64 (a Raspberry Pi 4).  [default: this machine]",
)
@builds_networks
@click.pass_context
def command(
    ctx: click.Context,
    model: str | None,
    data: str | None,
    quick: bool,
    runtime: str | None,
    platform: str | None,
    models_dir: Path | None,
    data_dir: Path | None,
    out: Output,
) -> None:
    """Run every artifact of MODEL on the test set and compare it with PyTorch's stored answers. Needs no torch.

    Each artifact has to meet the budget that it was published with. A passed check is kept with the model as a proof for this runtime
    and this kind of machine; mnist-edge show lists the proofs. --quick, for a device at boot, uses forty drawn digits instead of the
    test set: each artifact has to answer them as it did on the machine that made it.

    The exit code is 3 if one fails. If a model was proven only on drawn digits and MNIST is on this machine now, PyTorch's answers to
    MNIST are computed and stored first, provided that torch is installed.
    """
    from mnist_edge import store
    from mnist_edge.proof import verification

    found = store.find(model, models_dir)
    out.model(found)
    if platform == "":
        raise UsageError("--platform takes a name, such as aarch64; leave it out for this machine")
    tried = verification.trials(found, runtime, platform or "")  # before announcing a comparison that cannot be made
    if quick:
        if was_typed(ctx, "data"):
            raise UsageError("--quick uses the golden inputs in the model's folder; leave out --data")
        about = {"name": "golden inputs"}
        out.say("against PyTorch's answers to the golden inputs")
        results = _each(tried, verification.verify_quickly(found, tried), out)
    else:
        if data is None:
            found = _completed(found, data_dir, out)
        try:
            reference, proof_data = verification.choose_reference(found, data, data_dir)
        except DataError as error:
            if data is not None:
                raise
            raise DataError(f"{error} · --quick (needs no data)") from error
        about = reference.data
        out.say(f"against PyTorch's answers to {count(len(proof_data), 'test image')} of {data_name(proof_data.name)}")
        results = _each(tried, verification.verify(found, tried, reference, proof_data), out)
    passed = all(result.passed or result.skipped for result in results)
    kept = _keep(found, results, out)
    verified = any(result.passed for result in results)
    document = {"model": found.name, "data": about, "passed": passed and verified, "proofs_kept": kept}
    out.result(document | {"artifacts": [_document(result) for result in results]}, _table(results, quick))
    for result in results:
        if result.proof and (took := measured(result.proof.measured)):
            out.say(f"{result.artifact.file} on {result.trial.runtime.name}: {took}")
    for result in results:
        reason = "; ".join(result.report.failures) if result.report is not None else result.reason
        if reason:
            out.problem(f"{result.artifact.file} on {result.trial.runtime.name}: {reason}")
    if not passed:
        ctx.exit(EXIT_PARITY)
    if not verified:
        out.problem("nothing could be verified here")
        ctx.exit(EXIT_FAILED)


def _each(tried: list[Trial], results: Iterable[Verified], out: Output) -> list[Verified]:
    """Collect the results as they come, and say what is being tried meanwhile."""
    done: list[Verified] = []
    found = iter(results)
    for trial in tried:
        if len(tried) > 1 or trial.machine:
            where = f" on an emulated {trial.machine}" if trial.machine else ""
            out.detail(f"{trial.artifact.file} by {trial.runtime.name}{where}")
        done.append(next(found))
    return done


def _keep(model: Model, results: list[Verified], out: Output) -> bool:
    """Keep the proofs with the model, or in the user's cache if it is the installed reference or its folder cannot be written to."""
    from mnist_edge.proof import verification

    if not any(result.proof for result in results):
        return False
    if model.is_installed_reference:
        return _keep_for_user(results, "the installed reference is never written to", out)
    try:
        now = verification.keep_proofs(model, results)
    except OSError as error:  # its reason alone: it names a file aside that nobody has heard of
        return _keep_for_user(results, f"{model.folder}: {error.strerror or error}", out)
    except ModelError as error:
        out.problem(f"this proof is not kept with the model: {error}")
        return False
    kept = [proof for artifact in now.artifacts for proof in artifact.proofs]
    return all(result.proof is None or result.proof in kept for result in results)  # a stronger one may stand in its place


def _keep_for_user(results: list[Verified], reason: str, out: Output) -> bool:
    """Keep the proofs in the user's cache. If that cannot be written to either, the results are only printed."""
    from mnist_edge.store import kept

    try:
        places = {kept.keep(result.artifact, [result.proof]).parent for result in results if result.proof is not None}
    except OSError as error:
        out.problem(f"this proof is not kept with the model: {reason}; nor for this user: {error.strerror or error}")
        return False
    out.say(f"kept in {', '.join(map(str, places))}, for this user alone: {reason}")
    return True


def _state(result: Verified) -> str:
    return "passed" if result.passed else "skipped" if result.skipped else "FAILED"


def _table(results: list[Verified], quick: bool) -> str:
    rows = []
    for result in results:
        report = result.report
        where = result.platform.describe() if result.platform else None
        figures: list[str | None] = [None, None, None]
        if report is not None:
            figures = [f"{report.equal_answers:,} of {report.images:,}", f"{report.max_difference:.2g}"]
            figures.append(percent(None if quick else report.accuracy))
        rows.append([result.artifact.label, result.version or result.trial.runtime.name, where, *figures, _state(result)])
    return table(rows, ["artifact", "runtime", "platform", "same answer", "logit difference", Right("accuracy"), "verdict"])


def _document(result: Verified) -> dict[str, Any]:
    document: dict[str, Any] = {
        "file": result.artifact.file,
        "runtime": result.trial.runtime.name,
        "version": result.version or None,
        "platform": result.platform.to_json() if result.platform else None,
        "unproven": result.artifact.unproven or None,
        "state": _state(result),
        "reason": result.reason,
    }
    if result.proof and result.proof.measured:
        document["measured"] = result.proof.measured
    if result.report is not None:
        document |= {"parity": result.report.to_json(), "reason": "; ".join(result.report.failures)}
    return document


def _completed(model: Model, data_dir: Path | None, out: Output) -> Model:
    """Return the model. If it has stored answers only to drawn digits, and MNIST and torch are here, add PyTorch's answers to MNIST."""
    from mnist_edge.dataset.sources import find_mnist

    names = {reference.data["name"] for reference in model.manifest.references}
    if "mnist" in names or "drawn" not in names or find_mnist(data_dir).raw_dir is None:
        return model
    from mnist_edge.common.extras import is_installed

    if model.is_installed_reference:
        return model
    if not (is_installed("torch") and is_installed("safetensors")):
        out.say("proven on drawn digits only; MNIST is here, but PyTorch's answers to it cannot be computed without torch")
        return model
    from exporters.reference import complete
    from mnist_edge import dataset as datasets

    out.say("proven on drawn digits so far; computing PyTorch's answers to MNIST")
    try:
        return complete(model, datasets.load("mnist", "test", data_dir))
    except (OSError, ModelError, UsageError) as error:
        out.problem(f"PyTorch's answers to MNIST cannot be computed or kept, so only its answers to drawn digits count: {error}")
        return model
