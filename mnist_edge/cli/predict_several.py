"""``mnist-edge predict --several``: every digit of a page."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from mnist_edge.cli.pictures import STANDARD_INPUT, standard_input
from mnist_edge.cli.predict_output import Files
from mnist_edge.common.errors import PictureError, printable
from mnist_edge.common.text import count, percent

if TYPE_CHECKING:
    from mnist_edge.cli.common import Output
    from mnist_edge.predictor import Predictor
    from mnist_edge.reading import Reading


class _Page(NamedTuple):
    """The outcome for one picture.

    Attributes:
        path: its name.
        reading: what stands on it; None where the picture cannot be read.
        error: one line.
        seconds: time for reading and answering.
    """

    path: str
    reading: Reading | None
    error: str | None
    seconds: float


def read_pages(
    names: list[tuple[str, str | None]],
    predictor: Predictor,
    out: Output,
    *,
    ink: str,
    min_confidence: float | None,
    explain: Path | None,
) -> bool:
    """Read pages and print them as they come. Return whether anything failed: a picture, or a page without a digit or with an unsure one."""
    drawings = Files("--explain", explain, names)
    failed = False
    hints = [hint for hint, used in (("--explain shows which", explain), ("--json says why", out.as_json)) if not used]
    for index, page in enumerate(_pages(names, predictor, ink)):
        error = page.error or _complaint(page, min_confidence)
        if error is not None:
            failed = True
            out.problem(f"error: {' '.join(error.split())}")
        if page.reading is not None:
            reading = page.reading
            for warning in (*reading.warnings, *_doubts(reading, hints)):
                out.problem(f"warning: {printable(page.path)}: {warning}")
            drawings.write(index, lambda: _drawn(reading))  # noqa: B023 - drawn at once
        if out.as_json:
            click.echo(json.dumps(_row(page, error, min_confidence), ensure_ascii=True))  # so that a name that is not UTF-8 survives
        elif page.reading is not None and page.reading.rows:
            if len(names) > 1:
                click.echo(f"{printable(page.path)}:")
            click.echo(_text(page.reading, min_confidence, "\n"))
    return failed


def _pages(names: Iterable[tuple[str, str | None]], predictor: Predictor, ink: str) -> Iterator[_Page]:
    for path, problem in names:
        started = time.perf_counter()
        reading, error = None, problem
        if error is None:
            try:
                reading = predictor.read(standard_input() if path == STANDARD_INPUT else path, ink=ink)
            except PictureError as raised:
                error = str(raised)
        yield _Page(path, reading, error, time.perf_counter() - started)


def _doubts(reading: Reading, hints: list[str]) -> list[str]:
    """Say how many digits may be wrong, and which options tell more."""
    doubted = sum(bool(digit.warnings) for digit in reading.digits)
    if not doubted:
        return []
    warning = f"{count(doubted, 'digit')} of {len(reading.digits)} may be wrong"
    return [f"{warning}; {', '.join(hints)}" if hints else warning]


def _complaint(page: _Page, least: float | None) -> str | None:
    """Return what a page that was read lacks: a digit, or confidence."""
    assert page.reading is not None  # there is no error
    digits = page.reading.digits
    if not digits:
        return f"{printable(page.path)}: no digit found"
    unsure = sum(least is not None and digit.confidence < least for digit in digits)
    if unsure and least is not None:
        return (
            f"{printable(page.path)}: {count(unsure, 'unsure digit')} of {len(digits)}, shown as ?; --min-confidence is {percent(least, 1)}"
        )
    return None


def _text(reading: Reading, least: float | None, between: str) -> str:
    """Return the digits, those that are unsure as ``?``."""
    return reading.written(lambda digit: "?" if least is not None and digit.confidence < least else str(digit.digit), between)


def _row(page: _Page, error: str | None, least: float | None) -> dict[str, object]:
    found: dict[str, object] = {"path": page.path, "text": "", "rows": [], "ink": None, "turned": 0, "warnings": []}
    if page.reading is not None:
        found |= page.reading.to_json() | {"text": _text(page.reading, least, "/")}
    if error is not None:
        found["error"] = error
    return found | {"milliseconds": round(1000 * page.seconds, 3)}


def _drawn(reading: Reading) -> object:
    from mnist_edge.reading import drawing

    return drawing.explain(reading)
