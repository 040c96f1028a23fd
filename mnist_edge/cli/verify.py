"""``mnist-edge verify``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mnist_edge.cli import completing
from mnist_edge.cli.common import Output, Right, option, subcommand, table, was_typed
from mnist_edge.cli.group import EXIT_FAILED, EXIT_PARITY
from mnist_edge.cli.networks import builds_networks
from mnist_edge.errors import DataError, ModelError, UsageError
from mnist_edge.text import count, data_name, percent

if TYPE_CHECKING:
    from mnist_edge.store import Model


@subcommand("verify", "verify lenet", "verify lenet --quick")
@click.argument("model", required=False, shell_complete=completing.models)
@option(
    "--data",
    type=str,
    shell_complete=completing.data,
    help="Where the test set is that PyTorch's answers were stored for: mnist, drawn or a folder.",
)
@option("--quick", is_flag=True, show_default=False, help="Take the golden inputs in the model's folder; needs no data set.")
@option("--runtime", metavar="RUNTIME", shell_complete=completing.runtimes, help="Only the artifacts for this runtime: ort or torchscript.")
@builds_networks
@click.pass_context
def command(
    ctx: click.Context,
    model: str | None,
    data: str | None,
    quick: bool,
    runtime: str | None,
    models_dir: Path | None,
    data_dir: Path | None,
    out: Output,
) -> None:
    """Run every artifact of MODEL on the test set and compare it with PyTorch's stored answers. Needs no torch.

    Each is held to the budget that it was published with. With --quick, for a device at boot, forty drawn digits take the test
    set's place: each artifact has to answer them as it did where it was made.

    Exit code 3 if one fails. Where a model was proven on drawn digits and MNIST is here by now, PyTorch's answers to
    MNIST are computed and stored first, if torch is installed.
    """
    from mnist_edge import store, verification

    found = store.find(model, models_dir)
    out.model(found)
    verification.artifacts_for(found, runtime)  # before anything is said of a comparison that cannot be
    if quick:
        if was_typed(ctx, "data"):
            raise UsageError("--quick takes the golden inputs in the model's folder; leave out --data")
        about, proof_data = {"name": "golden inputs"}, None
        results = verification.verify_quickly(found, runtime)
        out.say("against PyTorch's answers to the golden inputs")
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
        results = verification.verify(found, reference, proof_data, runtime)
    rows, documents = [], []
    for result in results:
        state = "passed" if result.passed else "skipped" if result.skipped else "FAILED"
        report = result.report
        document: dict[str, Any] = {
            "file": result.artifact.file,
            "runtime": result.artifact.runtime,
            "unproven": result.artifact.unproven or None,
            "state": state,
            "reason": result.reason,
        }
        if report is None:
            rows.append([result.artifact.label, result.artifact.runtime, None, None, None, state])
        else:
            rows.append(
                [
                    result.artifact.label,
                    result.artifact.runtime,
                    f"{report.equal_answers:,} of {report.images:,}",
                    f"{report.max_difference:.2g}",
                    percent(None if quick else report.accuracy),
                    state,
                ]
            )
            document |= {"parity": report.to_json(), "reason": "; ".join(report.failures)}
        documents.append(document)
    text = table(rows, ["artifact", "runtime", "same answer", "logit difference", Right("accuracy"), "verdict"])
    passed = all(r.passed or r.skipped for r in results)
    if passed and proof_data is not None and not found.is_installed_reference:
        try:
            verification.keep_proofs(found, results, proof_data)
        except (OSError, ModelError) as error:
            out.problem(f"this proof is not kept with the model: {error}")
    verified = any(r.passed for r in results)
    out.result({"model": found.name, "data": about, "passed": passed and verified, "artifacts": documents}, text)
    for document in documents:
        if document["reason"]:
            out.problem(f"{document['file']}: {document['reason']}")
    if not passed:
        ctx.exit(EXIT_PARITY)
    if not verified:
        out.problem("nothing could be verified here")
        ctx.exit(EXIT_FAILED)


def _completed(model: "Model", data_dir: Path | None, out: Output) -> "Model":
    """Return the model with answers to MNIST where only those to drawn digits were stored and both MNIST and torch are here."""
    from mnist_edge.dataset.sources import find_mnist

    names = {reference.data["name"] for reference in model.manifest.references}
    if "mnist" in names or "drawn" not in names or find_mnist(data_dir).raw_dir is None:
        return model
    from mnist_edge.extras import is_installed

    if model.is_installed_reference:
        return model
    if not (is_installed("torch") and is_installed("safetensors")):
        out.say("proven on drawn digits only; MNIST is here, but without torch its answers cannot be computed")
        return model
    from exporters.reference import complete
    from mnist_edge import dataset as datasets

    out.say("proven on drawn digits so far; computing PyTorch's answers to MNIST")
    try:
        return complete(model, datasets.load("mnist", "test", data_dir))
    except (OSError, ModelError, UsageError) as error:
        out.problem(f"PyTorch's answers to MNIST cannot be computed or kept, so only those to drawn digits count: {error}")
        return model
