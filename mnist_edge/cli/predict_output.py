"""How answers are printed, and where pictures of them are written."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from mnist_edge.cli.common import png
from mnist_edge.cli.pictures import STANDARD_INPUT
from mnist_edge.common.errors import UsageError, printable
from mnist_edge.scale.rows import row

if TYPE_CHECKING:
    from mnist_edge.image import Prepared
    from mnist_edge.predictor import Prediction


class Answer(NamedTuple):
    """The outcome for one picture.

    Attributes:
        path: its name; an image of an idx file is ``file[index]``.
        prepared: the prepared picture; None for an image of an idx file, which is taken as it is.
        prediction: None where there is an error.
        error: one line.
        seconds: time for reading and answering.
        position: the image's index in an idx file, from 0.
    """

    path: str
    prepared: Prepared | None
    prediction: Prediction | None
    error: str | None
    seconds: float
    position: int | None = None


class Table:
    """One line per picture, as the answers come. The name is last, so that the columns stay aligned."""

    def __init__(self) -> None:
        self._begun = False

    def add(self, answer: Answer) -> None:
        """Print an answer; errors were printed on standard error."""
        prediction = answer.prediction
        if prediction is None or answer.error is not None:
            return
        if not self._begun:
            click.echo("digit  confidence  picture")
            self._begun = True
        doubts = f"  ({'; '.join(prediction.warnings)})" if prediction.warnings else ""
        click.echo(f"{prediction.digit:>5}  {100 * prediction.confidence:>8.1f} %  {printable(answer.path)}{doubts}")


class JsonLines:
    """One JSON document per picture."""

    def add(self, answer: Answer) -> None:
        """Print an answer."""
        line = row(answer.path, answer.prediction, answer.prepared, answer.position, answer.error)
        # ASCII, so that a name that is not UTF-8 survives
        click.echo(json.dumps(line | {"milliseconds": round(1000 * answer.seconds, 3)}, ensure_ascii=True))


class Csv:
    """A header, and one row per picture."""

    def __init__(self) -> None:
        self._row(["path", "digit", "confidence", *(f"p{digit}" for digit in range(10)), "warnings", "error", "milliseconds"])

    def add(self, answer: Answer) -> None:
        """Print an answer."""
        values: list[Any] = [""] * 12
        prediction = answer.prediction
        if prediction is not None:
            digit = prediction.digit if answer.error is None else ""
            values = [digit, *(f"{value:.6f}" for value in (prediction.confidence, *prediction.probabilities))]
        warnings = "; ".join(prediction.warnings) if prediction is not None else ""
        self._row([answer.path, *values, warnings, answer.error or "", f"{1000 * answer.seconds:.3f}"])

    @staticmethod
    def _row(values: list[Any]) -> None:
        import csv
        import io

        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow(values)
        click.echo(line.getvalue().encode("utf-8", "surrogateescape"), nl=False)  # a name that is not UTF-8 survives


class Files:
    """The paths of the pictures that an option asks for: one file, or a folder for many. They are all settled beforehand."""

    def __init__(self, option_name: str, target: Path | None, pictures: list[tuple[str, str | None]]) -> None:
        self._targets: list[Path] = []
        if target is None:
            return
        many = target.is_dir() or len(pictures) > 1
        if many and target.suffix.lower() == ".png" and not target.is_dir():
            raise UsageError(f"{option_name} {target}: one file, but {len(pictures)} pictures; name a folder")
        if not many and target.suffix.lower() != ".png":
            raise UsageError(f"{option_name} {target}: the name must end in .png, or be an existing folder")
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
        """Name a file for each picture. If several folders have a picture of the same name, the second one gets a number."""
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

    def overlap(self, other: Files) -> bool:
        """Return whether both would write to the same file."""
        return bool({os.path.realpath(path) for path in self._targets} & {os.path.realpath(path) for path in other._targets})

    def write(self, index: int, drawn: Any) -> None:
        """Write what `drawn` returns for the picture with this index."""
        from mnist_edge.common.files import write_atomically

        if self._targets:
            write_atomically(self._targets[index], png(drawn()))
