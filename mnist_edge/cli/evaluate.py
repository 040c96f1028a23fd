"""``mnist-edge evaluate``."""

from pathlib import Path

import click

from mnist_edge.cli.common import Output, option, percent, subcommand, table


@subcommand("evaluate")
@click.argument("model", required=False)
@option("--runtime", default="ort", metavar="RUNTIME", help="What runs it: ort, torchscript or torch.")
@option("--data", default="mnist", metavar="DATA", help="mnist, drawn, or a folder with 0…9.")
@option("--threads", type=click.IntRange(1, 256), default=1, help="Of the runtime.")
def command(model: str | None, runtime: str, data: str, threads: int, models_dir: Path | None, data_dir: Path | None, out: Output) -> None:
    """Measure MODEL's accuracy on a test set, as a whole and by digit; wrong pictures of a folder are listed with their paths."""
    from mnist_edge import dataset as datasets
    from mnist_edge.evaluation import evaluate
    from mnist_edge.predictor import Predictor

    predictor = Predictor.load(model, runtime, threads=threads, models_dir=models_dir)
    out.say(f"model: {predictor.description}")
    test = datasets.load(data, "test", data_dir)
    result = evaluate(predictor, test)
    wrong = [
        {"index": int(i), "path": str(test.paths[i]) if test.paths else None, "label": int(test.labels[i]), "digit": int(result.answers[i])}
        for i in result.wrong
    ]
    document = {
        "model": predictor.description,
        "data": datasets.describe(test),
        "images": result.images,
        "correct": result.correct,
        "accuracy": result.accuracy,
        "by_class": result.by_class(),
        "confusion": result.confusion.tolist(),
        "wrong": wrong,
    }
    rows = [[c["digit"], c["images"], c["correct"], percent(c["accuracy"])] for c in result.by_class()]
    text = table(rows, ["digit", "images", "correct", "accuracy"])
    text += f"\n\naccuracy {percent(result.accuracy)}: {result.correct:,} of {result.images:,} test images of {test.name}"
    if test.paths:
        text += "".join(
            f"\nwrong: {click.format_filename(str(case['path']))} is {case['label']}, read as {case['digit']}" for case in wrong
        )
    out.result(document, text)
