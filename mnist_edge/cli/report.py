"""``mnist-edge report``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mnist_edge.cli.common import PATH, Output, option, percent, subcommand, was_typed
from mnist_edge.errors import UsageError
from mnist_edge.extras import require

if TYPE_CHECKING:
    from mnist_edge.report.findings import Findings
    from mnist_edge.store import Model


@subcommand("report")
@click.argument("model", required=False)
@option(
    "--all",
    "every",
    is_flag=True,
    show_default=False,
    help="Every model of the models folder, and a README.md there with all in one table.",
)
@option("--data", type=str, help="Where the test set is that PyTorch's answers were stored for: mnist, drawn or a folder.")
@option("--pictures", type=PATH, metavar="FOLDER", help="Pictures with folders 0…9, to say how the model reads those too.")
@option("--seeds", type=PATH, metavar="FOLDER", help="With --all: a models folder with the same trainings from other seeds.")
@click.pass_context
def command(
    ctx: click.Context,
    model: str | None,
    every: bool,
    data: str | None,
    pictures: Path | None,
    seeds: Path | None,
    models_dir: Path | None,
    data_dir: Path | None,
    out: Output,
) -> None:
    """Write MODEL's report into its folder: report.html, which holds everything, the pictures as PNG, and a card, README.md.

    Loss and accuracy by epoch, what was read as what, the most confident wrong answers, samples, whether the confidence can be
    trusted, and the accuracy of each artifact. The figures are those of PyTorch's stored answers to the test set.
    """
    require("reports", "matplotlib")
    from mnist_edge import dataset as datasets
    from mnist_edge import store
    from mnist_edge.errors import ModelError
    from mnist_edge.publishing import writable
    from mnist_edge.report.findings import gather
    from mnist_edge.report.write import write_report

    if every and model is not None:
        raise UsageError(f"--all reports every model; leave out {model}, or --all")
    if seeds is not None and not every and was_typed(ctx, "seeds"):
        raise UsageError("--seeds is for the table of --all")
    folder = store.models_dir(models_dir)
    if every:
        found, problems = store.list_models(folder)
        for problem in problems:
            out.say(f"not a model: {problem}")
        if not found:
            raise ModelError(f"{folder}: no model to report; mnist-edge train NETWORK makes one")
    else:
        found = [writable(store.find(model, models_dir), models_dir)]
        out.say(f"model: {found[0].name} ({found[0].chosen})")
    own = None if pictures is None else datasets.load(str(pictures), "test", data_dir)
    rows, documents, lines = [], [], []
    for one in found:
        findings = gather(one, data, data_dir, own)
        written = write_report(findings)
        rows.append(findings)
        documents.append({"model": one.name, "accuracy": findings.evaluation.accuracy, "files": [str(path) for path in written]})
        lines.append(
            f"{one.name}: {percent(findings.evaluation.accuracy)}; {one.folder / 'report.html'}, {len(written) - 1} files beside it"
        )
        if every:
            out.say(lines[-1])
    if every:
        path = _write_table(rows, folder, store.list_models(seeds)[0] if seeds is not None else [])
        out.result({"models": documents, "table": str(path)}, f"{len(rows)} models in one table: {path}")
    else:
        out.result(documents[0], lines[0])


def _write_table(rows: "list[Findings]", folder: Path, others: "list[Model]") -> Path:
    from mnist_edge.files import write_atomically
    from mnist_edge.report import table
    from mnist_edge.report.write import MARK, check_ours

    path = folder / table.FILE
    check_ours(path)
    described = table.table(
        [
            table.Row(
                findings,
                table.latency_of(findings),
                [other.manifest.scores["test_accuracy"] for other in table.siblings(findings.model, others)],
            )
            for findings in rows
        ]
    )
    write_atomically(path, f"{MARK}\n\n# Models\n\n{described}".encode())
    return path
