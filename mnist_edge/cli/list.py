"""``mnist-edge list``."""

from pathlib import Path

from mnist_edge.cli.common import Output, Right, subcommand, table
from mnist_edge.common.text import data_name, percent, size


@subcommand("list", "list", "list --models-dir models", data=False)
def command(models_dir: Path | None, out: Output) -> None:
    """List the models in the models folder, and the reference that is installed with the package."""
    from mnist_edge import store
    from mnist_edge.common.errors import ModelError

    folder = store.models_dir(models_dir)
    models, unreadable = store.list_models(folder)
    problems = list(map(str, unreadable))
    try:
        reference = store.installed_reference()
    except ModelError as error:
        problems.append(str(error))
    else:
        if all(m.folder.resolve() != reference.folder.resolve() for m in models):
            models.append(reference)
    rows, documents = [], []
    for model in models:
        manifest = model.manifest
        where = "installed reference" if model.is_installed_reference else str(model.folder)
        scores, artifacts = manifest.scores, model.artifacts
        rows.append(
            [
                model.name,
                manifest.architecture,
                f"{manifest.parameters:,}",
                f"{percent(scores['test_accuracy'])} ({data_name(scores['test_data']['name'])})",
                ", ".join(f"{a.label} {size(a.bytes)}" for a in artifacts) or "none",
                where,
            ]
        )
        documents.append(
            {
                "name": model.name,
                "architecture": manifest.architecture,
                "parameters": manifest.parameters,
                "scores": scores,
                "artifacts": [
                    {"file": a.file, "format": a.format, "precision": a.precision, "bytes": a.bytes, "unproven": a.unproven or None}
                    for a in artifacts
                ],
                "folder": str(model.folder),
                "installed_reference": model.is_installed_reference,
            }
        )
    text = (
        table(rows, ["model", "network", Right("parameters"), "test accuracy", "artifacts", "where"]) if rows else f"no models in {folder}"
    )
    out.result({"models_dir": str(folder), "models": documents, "problems": problems}, text)
    for problem in problems:
        out.problem(f"not a model: {problem}")
    if not rows:
        out.next_step("train", "lenet")
