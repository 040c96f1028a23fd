"""What the commands share: options with their environment variables, and one place for output."""

import functools
import json
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from mnist_edge.cli import interrupt
from mnist_edge.errors import printable_lines

PATH = click.Path(path_type=Path)


def option(*declarations: str, **attributes: Any) -> Callable[[Any], Any]:
    """Return `click.option` with its environment variable: ``--batch-size`` is ``MNIST_EDGE_BATCH_SIZE``."""
    long = next(d for d in declarations if d.startswith("--"))
    attributes.setdefault("envvar", "MNIST_EDGE_" + long[2:].split("/")[0].upper().replace("-", "_"))
    attributes.setdefault("show_default", True)
    return click.option(*declarations, **attributes)


def was_typed(ctx: click.Context, name: str) -> bool:
    """Say whether an option stands on the command line: one from the environment is meant for commands that it fits."""
    return ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE


def command_line(*words: str, **options: Any) -> str:
    """Return a command ready to paste; options that are None are left out."""
    import shlex

    given = [word for key, value in options.items() if value is not None for word in ("--" + key.replace("_", "-"), str(value))]
    return shlex.join(["mnist-edge", *words, *given])


class Output:
    """Results on standard output, messages on standard error."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json

    def say(self, message: str = "") -> None:
        """Tell a person something, on standard error."""
        click.echo(printable_lines(message), err=True)

    def result(self, document: Any, text: str) -> None:
        """Give the result: the document as JSON, or the text."""
        click.echo(_json(document) if self.as_json else printable_lines(text))
        if self.as_json:
            interrupt.document_written()

    def next_step(self, *words: str, **options: Any) -> None:
        """Print the next command, ready to paste."""
        self.say(f"next: {command_line(*words, **options)}")


def subcommand(name: str) -> Callable[[Callable[..., Any]], click.Command]:
    """Return a decorator that makes a command with ``--json``, ``--models-dir`` and ``--data-dir``.

    The function gets an `Output` as `out`, and `models_dir` and `data_dir` as `Path` or None.
    """

    def decorate(function: Callable[..., Any]) -> click.Command:
        @functools.wraps(function)
        def wrapped(*args: Any, as_json: bool, **kwargs: Any) -> Any:
            out = Output(as_json)
            with warnings.catch_warnings():
                warnings.showwarning = lambda message, *rest, **more: out.say(f"warning: {' '.join(str(message).split())}")
                return function(*args, out=out, **kwargs)

        decorated: Any = wrapped
        for add in (
            option("--json", "as_json", is_flag=True, show_default=False, help="Print one JSON document on standard output."),
            option("--data-dir", type=PATH, help="Folder with MNIST in torchvision's layout.  [default: the user's cache folder]"),
            option("--models-dir", type=PATH, help="Folder with the models.  [default: models]"),
        ):
            decorated = add(decorated)
        return click.command(name)(decorated)

    return decorate


def table(rows: Iterable[Sequence[Any]], header: Sequence[str]) -> str:
    """Return rows as aligned columns; numbers are set to the right."""
    body = [list(map(_cell, row)) for row in rows]
    right = [bool(body) and all(_is_number(row[i]) for row in body) for i in range(len(header))]
    widths = [max(len(row[i]) for row in [list(header), *body]) for i in range(len(header))]
    lines = []
    for row in [list(header), *body]:
        cells = [cell.rjust(width) if to_right else cell.ljust(width) for cell, width, to_right in zip(row, widths, right, strict=True)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def png(picture: Any) -> bytes:
    """Return a Pillow image as a PNG file's bytes."""
    import io

    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def is_terminal(stream: Any) -> bool:
    """Say whether somebody watches a stream; one that was closed is None."""
    return stream is not None and bool(stream.isatty())


def progress(total: int, label: str) -> Callable[[int], None]:
    """Return a function that draws how many of `total` are done, on standard error, where that is a terminal."""
    shown = -1

    def update(done: int) -> None:
        nonlocal shown
        share = 100 * done // max(1, total)
        if is_terminal(sys.stderr) and share != shown:
            shown = share
            click.echo(f"\r{label}: {share} %" + ("\n" if done == total else ""), err=True, nl=False)

    return update


def _json(document: Any) -> str:
    """Return JSON in which nothing controls a terminal: `json` escapes the control characters of ASCII, but no others."""
    text = json.dumps(document, ensure_ascii=False, default=str)
    return text if text.isprintable() else "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)


def _cell(value: Any) -> str:
    return "–" if value is None else str(value)


def _is_number(cell: str) -> bool:
    return (
        cell == "–" or cell.replace(" %", "").replace(" kB", "").replace(" MB", "").replace(",", "").replace(".", "").lstrip("-").isdigit()
    )
