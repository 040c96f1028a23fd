"""``mnist-edge evaluate``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mnist_edge.cli import completing
from mnist_edge.cli.common import PATH, WRITERS, Output, Right, option, png, subcommand, table
from mnist_edge.cli.declared import declares, given, runtime_options
from mnist_edge.cli.networks import builds_networks
from mnist_edge.common.errors import UsageError, printable
from mnist_edge.common.text import count, data_name, percent

if TYPE_CHECKING:
    from mnist_edge.dataset import Dataset
    from mnist_edge.proof.evaluation import Evaluation, Hand


#: The writers that are listed.
WORST = 10

#: Mistakes in the picture of `--report`.
MOST_DRAWN = 100


@subcommand("evaluate", "evaluate lenet", "evaluate lenet --data FOLDER --report wrong.png", cls=declares("--runtime", runtime_options))
@click.argument("model", required=False, shell_complete=completing.models)
@option(
    "--runtime",
    default="ort",
    metavar="RUNTIME",
    shell_complete=completing.runtimes,
    help="Runtime to run it with; mnist-edge formats lists them.",
)
@option("--data", default="mnist", metavar="DATA", shell_complete=completing.data, help="Test set: mnist, drawn, or a folder with 0…9.")
@option("--writers", type=PATH, metavar="FILE", help=WRITERS)
@option("--threads", type=click.IntRange(1, 256), default=1, help="Threads for the runtime, at most one per core.")
@option("--report", type=PATH, metavar="OUT", help="Draw the mistakes, the most confident first, as this .png file.")
@builds_networks
@click.pass_context
def command(
    ctx: click.Context,
    /,
    model: str | None,
    runtime: str,
    data: str,
    writers: Path | None,
    threads: int,
    report: Path | None,
    models_dir: Path | None,
    data_dir: Path | None,
    out: Output,
    **declared: Any,
) -> None:
    """Measure MODEL's accuracy on a test set, overall, by digit and, where that is known, by writer. For a folder, list the misread
    pictures with their paths.

    A picture in which no digit is found counts as wrong.
    """
    from mnist_edge import dataset as datasets
    from mnist_edge import runtimes, store
    from mnist_edge.dataset.writers import writers_of
    from mnist_edge.predictor import Predictor
    from mnist_edge.proof.evaluation import by_writer, evaluate

    if report is not None and report.suffix.lower() != ".png":
        raise UsageError(f"--report {report}: the name must end in .png")
    found = store.resolve(model, models_dir)
    predictor = Predictor.load(
        model, runtime, threads=threads, models_dir=models_dir, options=given(ctx, runtimes.get(runtime).options, declared)
    )
    out.say(f"model: {predictor.description}")
    test = datasets.load(data, "test", data_dir)
    known = writers_of(test, writers, data_dir)
    result = evaluate(predictor.logits, test)
    hands = by_writer(result, known) if known else []
    wrong: list[dict[str, Any]] = [
        {
            "index": int(i),
            "path": str(test.paths[i]) if test.paths else None,
            "label": int(test.labels[i]),
            "digit": int(result.answers[i]),
            "confidence": float(result.confidences[i]),
        }
        for i in result.wrong
    ]
    refused = [{"path": str(one.path), "label": one.label, "reason": one.reason} for one in result.refused]
    document = {
        "model": found.model.name if found.model else str(found.file),
        "runtime": runtime,
        "description": predictor.description,
        "data": datasets.describe(test),
        "images": result.images,
        "correct": result.correct,
        "accuracy": result.accuracy,
        "by_class": result.by_class(),
        "by_writer": [_of_hand(one, test, result) for one in hands] or None,
        "confusion": result.confusion.tolist(),
        "wrong": wrong,
        "refused": refused,
    }
    rows = [[c["digit"], f"{c['images']:,}", f"{c['correct']:,}", percent(c["accuracy"])] for c in result.by_class()]
    text = table(rows, list(map(Right, ("digit", "images", "correct", "accuracy"))))
    text += f"\n\naccuracy {percent(result.accuracy)}: {result.correct:,} of {count(result.images, 'test image')} of {data_name(test.name)}"
    if hands:
        text += f"\n\n{_about_hands(hands, test, result)}"
    if test.paths:
        text += "".join(
            f"\nwrong: {printable(case['path'])} is {case['label']}, read as {case['digit']} ({percent(case['confidence'], 1)})"
            for case in wrong
        )
    text += "".join(f"\nnot read: {printable(one.path)} is {one.label}: {one.reason}" for one in result.refused)
    if report is not None:
        _draw_report(report, test, result, predictor.description)
        out.say(f"written: {report}")
    out.result(document, text)


def _of_hand(hand: "Hand", test: "Dataset", result: "Evaluation") -> dict[str, Any]:
    wrong = [{"index": i, "label": int(test.labels[i]), "digit": int(result.answers[i])} for i in hand.wrong]
    return {"writer": hand.writer, "group": hand.group, "images": len(hand.images), "accuracy": hand.accuracy, "wrong": wrong}


def _about_hands(hands: "list[Hand]", test: "Dataset", result: "Evaluation") -> str:
    from mnist_edge.proof.evaluation import misread

    rows = [
        [str(one.writer), one.group, f"{len(one.images):,}", percent(one.accuracy), misread(one, test, result)]
        for one in hands[:WORST]
        if one.wrong
    ]
    wholly = sum(not one.wrong for one in hands)
    groups = ", ".join(
        f"{percent(1 - sum(len(one.wrong) for one in of) / sum(len(one.images) for one in of))} of the digits of {count(len(of), group)}"
        for group in ("employee", "pupil")
        if (of := [one for one in hands if one.group == group])
    )
    text = f"{count(len(hands), 'writer')}, {wholly:,} of them read without a mistake; {groups}"
    columns = [Right("writer"), "group", Right("images"), Right("accuracy"), "misread"]
    return f"{text}\n\n{table(rows, columns)}" if rows else text


def _draw_report(path: Path, test: "Dataset", result: "Evaluation", description: str) -> None:
    from mnist_edge.common.files import write_atomically
    from mnist_edge.image import prepare
    from mnist_edge.image.drawing import Mistake, grid

    surest_first = sorted(result.wrong, key=lambda i: -result.confidences[i])
    mistakes = []
    for i in surest_first[:MOST_DRAWN]:
        picture, name = (prepare(test.paths[i]).picture, printable(test.paths[i].name)) if test.paths else (None, f"image {i}")
        label, digit, confidence = int(test.labels[i]), int(result.answers[i]), float(result.confidences[i])
        mistakes.append(Mistake(picture, test.images[i, 0], label, digit, confidence, name))
    title = f"{percent(result.accuracy)} of {count(result.images, 'image')} of {data_name(test.name)} read correctly by {description}"
    if result.refused:
        title += f"; in {len(result.refused)} no digit was found"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, png(grid(mistakes, len(result.wrong), title)))
