"""``mnist-edge export``."""

from pathlib import Path
from typing import Any

import click

from mnist_edge import store
from mnist_edge.cli.common import Output, option, size, subcommand
from mnist_edge.cli.group import EXIT_PARITY
from mnist_edge.cli.parity_text import describe_report


@subcommand("export")
@click.argument("model", required=False)
@option("--format", "format_name", required=True, metavar="FORMAT", help="Format to write; `mnist-edge formats` lists them.")
@option("--opset", type=int, help="ONNX operator set, 18 and up.  [default: 20]")
@option("--data", type=str, help="Test set to prove it on: mnist, drawn or a folder.  [default: mnist if it is here, else drawn]")
@click.pass_context
def command(
    ctx: click.Context,
    model: str | None,
    format_name: str,
    opset: int | None,
    data: str | None,
    models_dir: Path | None,
    data_dir: Path | None,
    out: Output,
) -> None:
    """Export MODEL, run the file on the whole test set, compare with PyTorch, and publish it only if it answers the same.

    MODEL is a name in the models folder, a folder, or a file of one; left out, the model trained last, else the reference.
    """
    import exporters
    from exporters import gate
    from mnist_edge import dataset as datasets
    from mnist_edge.extras import require

    chosen = exporters.find(format_name)
    require(f"format {chosen.name}", *chosen.requires, install=chosen.install)
    found = store.find(model, models_dir)
    out.say(f"model: {found.name} ({found.chosen})")
    proof_data = datasets.load_for_proof(data, data_dir)
    if data is None and proof_data.name == "drawn":
        out.say("MNIST is not on this machine: proving on 10,000 drawn digits; mnist-edge verify completes it once MNIST is here")
    options: dict[str, Any] = {"opset": opset} if opset is not None else {}
    after, proof = gate.export(found, format_name, proof_data, models_dir=models_dir, options=options)
    document = {
        "model": after.name,
        "folder": str(after.folder),
        "format": format_name,
        "parity": gate.parity_record(proof.report, proof_data),
    }
    report = describe_report(proof.report, proof_data)
    if proof.artifact is None:
        text = f"NOT published: {after.name} as {format_name} does not answer as PyTorch does\n{report}\nevidence: {proof.evidence}"
        out.result(document | {"published": False, "evidence": str(proof.evidence)}, text)
        ctx.exit(EXIT_PARITY)
    path = after.folder / proof.artifact.file
    out.result(
        document | {"published": True, "file": str(path), "sha256": proof.artifact.sha256, "bytes": proof.artifact.bytes},
        f"published {path}, {size(proof.artifact.bytes)}, needs {proof.artifact.oldest_runtime}\n{report}",
    )
    out.next_step("predict", "img.png", model=model, runtime=None if chosen.runtime == "ort" else chosen.runtime, models_dir=models_dir)
