"""``mnist-edge predict``."""

import io
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mnist_edge.cli.common import PATH, Output, option, png, subcommand
from mnist_edge.cli.group import EXIT_FAILED
from mnist_edge.errors import PictureError, UsageError, printable

if TYPE_CHECKING:
    from mnist_edge.image import Picture, Prepared
    from mnist_edge.predictor import Prediction

STANDARD_INPUT = "-"


@subcommand("predict")
@click.argument("pictures", nargs=-1, required=True, metavar="PICTURE…")
@option("--model", help="Name, folder or file of a model.  [default: the model trained last, else the reference]")
@option("--runtime", default="ort", metavar="RUNTIME", help="What runs it: ort, torchscript or torch.")
@option("--threads", type=click.IntRange(1, 256), default=1, help="Of the runtime.")
@option("--ink", type=click.Choice(["auto", "dark", "light"]), default="auto", help="Whether the ink is darker than its ground.")
@option("--recursive", is_flag=True, show_default=False, help="Read the folders in folders too.")
@option("--min-confidence", type=click.FloatRange(0, 1), help="Report answers below it as failed.")
@option("--csv", "as_csv", is_flag=True, show_default=False, help="Print comma-separated values.")
@option("--explain", type=PATH, metavar="OUT", help="Draw what was found, seen and answered: a .png, or a folder for many.")
@option("--save-input", type=PATH, metavar="OUT", help="Write the 28×28 that the network sees: a .png, or a folder for many.")
@click.pass_context
def command(
    ctx: click.Context,
    pictures: tuple[str, ...],
    model: str | None,
    runtime: str,
    threads: int,
    ink: str,
    recursive: bool,
    min_confidence: float | None,
    as_csv: bool,
    explain: Path | None,
    save_input: Path | None,
    models_dir: Path | None,
    data_dir: Path | None,
    out: Output,
) -> None:
    """Read pictures of digits: files, folders, patterns, or - for standard input. Needs no torch.

    One bad picture does not stop the rest; the exit code is then 1. With --json, a line a picture.
    """
    from mnist_edge import image
    from mnist_edge.predictor import Predictor

    if as_csv and out.as_json:
        raise UsageError("--csv and --json exclude each other")
    paths = list(_expand(pictures, recursive))
    explained, inputs = _Files("--explain", explain, paths), _Files("--save-input", save_input, paths)
    if explained.overlap(inputs):
        raise UsageError("--explain and --save-input name the same file; choose two")
    predictor = Predictor.load(model, runtime, threads=threads, models_dir=models_dir)
    out.say(f"model: {predictor.description}")
    rows = _Csv() if as_csv else _JsonLines() if out.as_json else _Table()
    failed = False
    for index, (path, problem) in enumerate(paths):
        started = time.perf_counter()
        prepared, prediction, error = None, None, problem
        if error is None:
            try:
                prepared = image.prepare(_standard_input() if path == STANDARD_INPUT else path, ink)
                prediction = predictor.predict_prepared([prepared])[0]
            except PictureError as raised:
                error = str(raised)
        if prediction is not None and min_confidence is not None and prediction.confidence < min_confidence:
            error = (
                f"{printable(path)}: unsure, {prediction.digit} at {prediction.confidence:.1%}; --min-confidence is {min_confidence:.1%}"
            )
        if error is not None:
            failed = True
            out.say(f"error: {' '.join(error.split())}")
        rows.add(path, prepared, prediction, error, 1000 * (time.perf_counter() - started))
        if prepared is not None and prediction is not None:
            inputs.write(index, lambda seen=prepared: _picture_of(seen.pixels))
            explained.write(index, lambda seen=prepared, answer=prediction: _explained(seen, answer))
    if failed:
        ctx.exit(EXIT_FAILED)


class _Table:
    """A line a picture, as they come; the name is last, so that the columns stay in line."""

    def __init__(self) -> None:
        self._begun = False

    def add(self, path: str, prepared: "Prepared | None", prediction: "Prediction | None", error: str | None, milliseconds: float) -> None:
        if prediction is None or error is not None:
            return
        if not self._begun:
            click.echo("digit  confidence  picture")
            self._begun = True
        doubts = f"  ({'; '.join(prediction.warnings)})" if prediction.warnings else ""
        click.echo(f"{prediction.digit:>5}  {100 * prediction.confidence:>8.1f} %  {printable(path)}{doubts}")


class _JsonLines:
    def add(self, path: str, prepared: "Prepared | None", prediction: "Prediction | None", error: str | None, milliseconds: float) -> None:
        line: dict[str, Any] = {"path": path, "digit": None, "confidence": None, "probabilities": None, "warnings": []}
        if prepared is not None and prediction is not None:
            line |= prediction.to_json() | {"ink": prepared.ink, "box": list(prepared.box)}
        if error is not None:
            line |= {"digit": None, "error": error}
        # ASCII, so that a name that is no UTF-8 survives
        click.echo(json.dumps(line | {"milliseconds": round(milliseconds, 3)}, ensure_ascii=True))


class _Csv:
    def __init__(self) -> None:
        self._row(["path", "digit", "confidence", *(f"p{digit}" for digit in range(10)), "warnings", "error", "milliseconds"])

    def add(self, path: str, prepared: "Prepared | None", prediction: "Prediction | None", error: str | None, milliseconds: float) -> None:
        answer: list[Any] = [""] * 12
        if prediction is not None:
            digit = prediction.digit if error is None else ""
            answer = [digit, *(f"{value:.6f}" for value in (prediction.confidence, *prediction.probabilities))]
        warnings = "; ".join(prediction.warnings) if prediction is not None else ""
        self._row([path, *answer, warnings, error or "", f"{milliseconds:.3f}"])

    @staticmethod
    def _row(values: list[Any]) -> None:
        import csv

        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow(values)
        click.echo(line.getvalue().encode("utf-8", "surrogateescape"), nl=False)  # a name that is no UTF-8 survives


class _Files:
    """Where the pictures that an option asks for are written: one file, or, for many, a folder. Everything is settled beforehand."""

    def __init__(self, option_name: str, target: Path | None, pictures: list[tuple[str, str | None]]) -> None:
        self._targets: list[Path] = []
        if target is None:
            return
        many = target.is_dir() or len(pictures) > 1
        if many and target.suffix.lower() == ".png" and not target.is_dir():
            raise UsageError(f"{option_name} {target}: one file, but {len(pictures)} pictures; name a folder")
        if not many and target.suffix.lower() != ".png":
            raise UsageError(f"{option_name} {target}: the name must end in .png, or be a folder that is there")
        self._targets = self._in_folder(target, pictures) if many else [target]
        given = {os.path.realpath(path) for path, _ in pictures if path != STANDARD_INPUT}
        for path in self._targets:
            if os.path.realpath(path) in given:
                raise UsageError(f"{option_name}: {path} is one of the pictures to read; choose another place")
            if path.is_dir():
                raise UsageError(f"{option_name}: {path} is a folder; move it away, or choose another place")
        (target if many else target.parent).mkdir(parents=True, exist_ok=True)

    @staticmethod
    def _in_folder(folder: Path, pictures: list[tuple[str, str | None]]) -> list[Path]:
        """Name a file for each picture; of the same name in several folders, the second gets a number."""
        targets, taken = [], set[str]()
        for path, _ in pictures:
            stem = name = "standard-input" if path == STANDARD_INPUT else Path(path).stem
            number = 1
            while name.lower() in taken:
                number += 1
                name = f"{stem}-{number}"
            taken.add(name.lower())
            targets.append(folder / f"{name}.png")
        return targets

    def overlap(self, other: "_Files") -> bool:
        """Return whether both would write the same file."""
        return bool({os.path.realpath(path) for path in self._targets} & {os.path.realpath(path) for path in other._targets})

    def write(self, index: int, drawn: Any) -> None:
        """Write what `drawn` returns for the picture with this index."""
        from mnist_edge.files import write_atomically

        if self._targets:
            write_atomically(self._targets[index], png(drawn()))


def _picture_of(pixels: Any) -> Any:
    from PIL import Image

    return Image.fromarray(pixels)


def _explained(prepared: "Prepared", prediction: "Prediction") -> Any:
    from mnist_edge.image import drawing

    return drawing.explain(prepared, prediction.probabilities, prediction.warnings)


def _expand(pictures: tuple[str, ...], recursive: bool) -> Iterator[tuple[str, str | None]]:
    """Yield each file, and why it cannot be read where that is known already; the pictures of a folder by name."""
    import glob

    for given in pictures:
        if given == STANDARD_INPUT:
            yield given, None
        elif os.path.isdir(given):  # noqa: PTH112 - a name may hold anything, so it stays a string
            yield from _pictures_in(given, recursive)
        elif glob.has_magic(given) and not os.path.lexists(given):
            found = sorted(glob.glob(given, recursive=True))  # noqa: PTH207
            for match in found:
                yield from _pictures_in(match, recursive) if os.path.isdir(match) else [(match, None)]  # noqa: PTH112
            if not found:
                yield given, f"{printable(given)}: no file matches this pattern"
        else:
            yield given, None


def _pictures_in(folder: str, recursive: bool) -> Iterator[tuple[str, str | None]]:
    from mnist_edge.image import SUFFIXES

    problems: list[OSError] = []
    count = 0
    for root, folders, files in os.walk(folder, onerror=problems.append):
        folders[:] = sorted(folders) if recursive else []
        for name in sorted(files):
            if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                count += 1
                yield os.path.join(root, name), None  # noqa: PTH118
    for problem in problems:
        yield str(problem.filename or folder), f"{printable(problem.filename or folder)}: {problem.strerror}"
    if not count and not problems:
        deeper = "" if recursive else "; --recursive reads the folders in it too"
        yield folder, f"{printable(folder)}: no pictures in this folder ({', '.join(SUFFIXES)}){deeper}"


def _standard_input() -> "Picture":
    from mnist_edge.image import MAX_BYTES

    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError(
            "- reads a picture from standard input, which is a terminal or closed; give a file, or: mnist-edge predict - < img.png"
        )
    data = sys.stdin.buffer.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise PictureError(f"standard input: more than {MAX_BYTES // 2**20} MiB")
    file = io.BytesIO(data)
    file.name = "standard input"
    return file
