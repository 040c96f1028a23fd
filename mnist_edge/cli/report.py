"""``mnist-edge report``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mnist_edge.cli import completing
from mnist_edge.cli.common import PATH, WRITERS, Output, option, subcommand, was_typed
from mnist_edge.cli.group import EXIT_FAILED
from mnist_edge.common.errors import MnistEdgeError, ModelError, NotAModelError, UsageError, one_line
from mnist_edge.common.extras import require
from mnist_edge.common.text import count, percent

if TYPE_CHECKING:
    from collections.abc import Callable

    from mnist_edge.dataset import Dataset
    from mnist_edge.report.findings import Findings
    from mnist_edge.store import Model


@subcommand("report", "report lenet", "report --all")
@click.argument("model", required=False, shell_complete=completing.models)
@option(
    "--all",
    "every",
    is_flag=True,
    show_default=False,
    help="Report every model in the models folder, and write a README.md there with all of them in one table.",
)
@option(
    "--data",
    type=str,
    shell_complete=completing.data,
    help="The test set that PyTorch's answers were stored for: mnist, drawn or a folder.",
)
@option("--pictures", type=PATH, metavar="FOLDER", help="Folder of pictures with 0…9, to report how well the model reads them too.")
@option("--writers", type=PATH, metavar="FILE", help=WRITERS)
@option("--seeds", type=PATH, metavar="FOLDER", help="With --all: a models folder with the same models, trained from other seeds.")
@click.pass_context
def command(
    ctx: click.Context,
    model: str | None,
    every: bool,
    data: str | None,
    pictures: Path | None,
    writers: Path | None,
    seeds: Path | None,
    models_dir: Path | None,
    data_dir: Path | None,
    out: Output,
) -> None:
    """Write MODEL's report into its folder: report.html, which holds everything, the pictures as PNG files, and a model card, README.md.

    The report shows loss and accuracy by epoch, which digits were mistaken for which, the most confident wrong answers, the writers who
    are misread most (if the writers are known), samples, whether the confidence can be trusted, and the accuracy of each artifact. The
    figures come from PyTorch's stored answers to the test set.
    """
    require("drawing a report", "matplotlib", "jinja2")
    from mnist_edge import store
    from mnist_edge.dataset.folder import load_folder
    from mnist_edge.store.publishing import writable

    if every and model is not None:
        raise UsageError(f"--all reports every model; leave out {model}, or --all")
    if seeds is not None and not every and was_typed(ctx, "seeds"):
        raise UsageError("--seeds is for the table of --all")
    for name, folder in (("seeds", seeds), ("pictures", pictures)):
        if folder is not None and not folder.is_dir():
            raise UsageError(f"--{name} {folder}: {'not a folder' if folder.exists() else 'no such folder'}")
    own = None if pictures is None else load_folder(pictures, "test")
    if every:
        if not _report_all(store.models_dir(models_dir), lambda one: _report(one, data, data_dir, own, writers, out), seeds, out):
            ctx.exit(EXIT_FAILED)
        return
    found = writable(store.find(model, models_dir), models_dir)
    out.model(found)
    findings, document = _report(found, data, data_dir, own, writers, out)
    out.result(document, _line(findings, document))


def _report(
    model: "Model", data: str | None, data_dir: Path | None, pictures: "Dataset | None", writers: Path | None, out: Output
) -> "tuple[Findings, dict[str, Any]]":
    from mnist_edge import dataset as datasets
    from mnist_edge.report import card
    from mnist_edge.report.findings import gather
    from mnist_edge.report.write import write_report

    findings = gather(model, data, data_dir, pictures, writers)
    if pictures is not None and findings.pictures is None:
        out.problem(f"{model.name}: --pictures left out, because it has no ONNX file; {model.export_again(what='make one')}")
    files = [str(path) for path in write_report(findings)]
    if str(model.folder / card.FILE) not in files:
        out.say(f"{model.folder / card.FILE} stays as it is: it is the card of a reference model, which make models writes")
    accuracy = findings.evaluation.accuracy
    return findings, {"model": model.name, "data": datasets.describe(findings.data), "accuracy": accuracy, "files": files}


def _line(findings: "Findings", document: dict[str, Any]) -> str:
    model, data = findings.model, document["data"]
    tested = f"{percent(document['accuracy'])} of {count(data['images'], 'test image')} of {findings.data_name}"
    return f"{model.name}: {tested}; {model.folder / 'report.html'}, {count(len(document['files']) - 1, 'file')} beside it"


def _report_all(folder: Path, report: "Callable[[Model], tuple[Findings, dict[str, Any]]]", seeds: Path | None, out: Output) -> bool:
    """Report every model, and put those that could be reported into one table. Return False if one could not be."""
    from mnist_edge.report import table
    from mnist_edge.store.marks import check_ours, is_reference

    models, problems = _models_in(folder)
    if not models:
        raise ModelError(f"{folder}: no model to report; train one with: mnist-edge train NETWORK")
    path = folder / table.FILE
    if not (stays := is_reference(path)):
        check_ours(path)
    others, unread = ([], []) if seeds is None else _models_in(seeds)
    problems += unread
    if seeds is not None and not any(table.siblings(model, others) for model in models):
        out.problem(f"--seeds {seeds}: no model here was trained like these from another seed; name another folder")
    rows, documents = [], []
    for model in models:
        try:
            findings, document = report(model)
            if not stays:
                rows.append(table.Row(findings, table.latency_of(findings), table.siblings(model, others)))
        except (MnistEdgeError, OSError) as error:  # one failed report does not stop the rest
            problems.append(f"{model.name}: {one_line(error)}")
            continue
        documents.append(document)
        out.say(_line(findings, document))
    for problem in problems:
        out.problem(f"left out: {problem}")
    if not documents:
        raise ModelError(f"{folder}: no model could be reported: {problems[0]}")
    if stays:
        line = f"{count(len(documents), 'model')}; {path} stays as it is: it is the table of the reference models, which make models writes"
    else:
        table.write_table(folder, "# Models", rows)
        line = f"{count(len(rows), 'model')} in one table: {path}"
    out.result({"models": documents, "problems": problems, "table": None if stays else str(path)}, line)
    return not problems


def _models_in(folder: Path) -> tuple[list["Model"], list[str]]:
    """Return the models of a folder, and what is wrong with the others. A subfolder without a model is skipped: it is no error."""
    from mnist_edge import store

    models, problems = store.list_models(folder)
    return models, [str(problem) for problem in problems if not isinstance(problem, NotAModelError)]
