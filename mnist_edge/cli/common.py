"""What the commands share: options with environment variables, and the output."""

import functools
import json
import math
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from mnist_edge.cli import interrupt
from mnist_edge.cli.group import epilog
from mnist_edge.common.errors import UsageError, printable_lines

if TYPE_CHECKING:
    from mnist_edge.store import Model

PATH = click.Path(path_type=Path)

#: The help of ``--writers``.
WRITERS = "QMNIST's label file, which says who wrote each test image: qmnist-test-labels-idx2-int, plain or .gz.  [default: the one beside MNIST's files, if any]"

#: The help of ``--train-images``.
TRAIN_IMAGES = "Take only this many, for a quick try: the first ones of MNIST, or an equal share of each digit from a folder."


class Number(click.FloatRange):
    """A number within limits. It refuses NaN and infinity, because a limit alone does not stop NaN: every comparison with it is false."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the value as a float."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


class Points(Number):
    """Percentage points from 0 to 100, such as 0.1."""

    def __init__(self) -> None:
        super().__init__(0, 100)


def option(*declarations: str, **attributes: Any) -> Callable[[Any], Any]:
    """Return `click.option` with its environment variable: ``--batch-size`` is ``MNIST_EDGE_BATCH_SIZE``."""
    long = next(d for d in declarations if d.startswith("--"))
    attributes.setdefault("envvar", "MNIST_EDGE_" + long[2:].split("/")[0].upper().replace("-", "_"))
    attributes.setdefault("show_default", True)
    return click.option(*declarations, **attributes)


def was_typed(ctx: click.Context, name: str) -> bool:
    """Say whether an option was typed on the command line. One from the environment is meant only for the commands that have it."""
    return ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE


def command_line(*words: str, **options: Any) -> str:
    """Return a command ready to paste; options that are None are left out."""
    import shlex

    given = [word for key, value in options.items() if value is not None for word in ("--" + key.replace("_", "-"), str(value))]
    return shlex.join(["mnist-edge", *words, *given])


class Output:
    """Results on standard output, messages on standard error.

    With `quiet`, it shows only results, warnings and errors. With `verbose`, it also shows the decisions made on the way, and each
    message carries the seconds since the start.
    """

    def __init__(self, as_json: bool, quiet: bool = False, verbose: bool = False) -> None:
        self.as_json, self.quiet, self.verbose, self.silent = as_json, quiet, verbose, False
        self._started = time.perf_counter()

    def silence(self) -> None:
        """Say nothing from now on, not even a result or a warning: another process speaks for this one."""
        self.quiet, self.verbose, self.silent = True, False, True

    @property
    def shows_progress(self) -> bool:
        """Whether to draw progress: somebody is watching, and did not ask for silence."""
        return not self.quiet and is_terminal(sys.stderr)

    def say(self, message: str = "") -> None:
        """Tell a person something, on standard error; nothing with --quiet."""
        if not self.quiet:
            self._write(message)

    def problem(self, message: str) -> None:
        """Say what is wrong or doubtful, on standard error, even with --quiet."""
        self._write(message)

    def detail(self, message: str) -> None:
        """Say something on standard error, only with --verbose."""
        if self.verbose:
            self._write(message)

    def model(self, found: "Model") -> None:
        """Say which model was chosen and why; with --verbose, also where it is and what it is."""
        self.say(f"model: {found.name} ({found.chosen})")
        self.detail(f"model's folder: {found.folder.absolute()}")
        self.detail(f"network {found.manifest.architecture}, weights {found.manifest.weights.sha256[:12]}…")

    def result(self, document: Any, text: str) -> None:
        """Print the result: the document as JSON, or the text."""
        if self.silent:
            return
        click.echo(_json(document) if self.as_json else printable_lines(text))
        if self.as_json:
            interrupt.document_written()

    def next_step(self, *words: str, **options: Any) -> None:
        """Print the next command, ready to paste."""
        self.say(f"next: {command_line(*words, **options)}")

    def progress(self, total: int, label: str) -> Callable[[int], None]:
        """Return a function that draws how many of `total` are done, on standard error, where that is a terminal."""
        shown = -1

        def update(done: int) -> None:
            nonlocal shown
            share = 100 * done // max(1, total)
            if self.shows_progress and share != shown:
                shown = share
                click.echo(f"\r{label}: {share} %" + ("\n" if done == total else ""), err=True, nl=False)

        return update

    def _write(self, message: str) -> None:
        if self.silent:
            return
        message = printable_lines(message)
        click.echo(f"[{time.perf_counter() - self._started:6.2f} s] {message}" if self.verbose else message, err=True)


def subcommand(
    name: str, *examples: str, data: bool = True, models: bool | str = True, cls: type[click.Command] = click.Command
) -> Callable[[Callable[..., Any]], click.Command]:
    """Return a decorator that makes a command with --json, --quiet and --verbose, and --models-dir and --data-dir where it uses them.

    `examples` are command lines without the program's name, for the command's help. The function gets an `Output` as `out`. It also
    gets `models_dir` and `data_dir`, each a `Path` or None, unless `models` or `data` is False. If `models` is text, the help shows
    it as the default. `cls` is the command's class.
    """

    def decorate(function: Callable[..., Any]) -> click.Command:
        @functools.wraps(function)
        def wrapped(*args: Any, as_json: bool, quiet: bool, verbose: bool, **kwargs: Any) -> Any:
            ctx = click.get_current_context()
            out = Output(as_json, *_settle_loudness(ctx, quiet, verbose))
            if out.verbose:
                _introduce(ctx, out)
            with warnings.catch_warnings():
                warnings.showwarning = lambda message, *rest, **more: out.problem(f"warning: {' '.join(str(message).split())}")
                try:
                    return function(*args, out=out, **kwargs)
                finally:
                    out.detail("end")

        decorated: Any = wrapped
        shared = [
            option("-v", "--verbose", is_flag=True, show_default=False, help="Also show decisions, and how long each step takes."),
            option("-q", "--quiet", is_flag=True, show_default=False, help="Print only results, warnings and errors."),
            option("--json", "as_json", is_flag=True, show_default=False, help="Print one JSON document on standard output."),
        ]
        if data:
            text = "Folder with MNIST in torchvision's layout.  [default: the user's cache folder]"
            shared.append(option("--data-dir", type=PATH, help=text))
        if models:
            shared.append(
                option("--models-dir", type=PATH, help=f"Folder with the models.  [default: {'models' if models is True else models}]")
            )
        for add in shared:
            decorated = add(decorated)
        return click.command(name, cls=cls, epilog=epilog(*examples))(decorated)

    return decorate


def _settle_loudness(ctx: click.Context, quiet: bool, verbose: bool) -> tuple[bool, bool]:
    """Return quiet and verbose. A typed option overrides the environment. Raises UsageError if both are set."""
    if quiet and verbose:
        typed = was_typed(ctx, "quiet"), was_typed(ctx, "verbose")
        if typed[0] == typed[1]:
            raise UsageError("--quiet and --verbose cannot be used together; leave one out")
        return typed
    return quiet, verbose


def _introduce(ctx: click.Context, out: Output) -> None:
    """Say what every command depends on: versions, folders, and which options the environment sets."""
    import platform

    from mnist_edge.common.version import __version__

    found = {package: version_of(package) for package in ("numpy", "pillow", "onnxruntime", "torch", "onnx")}
    installed = ", ".join(f"{package} {version}" for package, version in found.items() if version)
    out.detail(f"mnist-edge {__version__}, Python {platform.python_version()} on {platform.system()} {platform.machine()}; {installed}")
    with suppress(OSError):  # the working folder may be gone
        out.detail(f"working folder: {Path.cwd()}")
    if "models_dir" in ctx.params:
        from mnist_edge.store import models_dir

        with suppress(OSError):
            out.detail(f"models folder: {models_dir(ctx.params['models_dir']).absolute()}")
    for param in ctx.command.params:
        if param.name is not None and ctx.get_parameter_source(param.name) is ParameterSource.ENVIRONMENT:
            out.detail(f"from the environment: {param.opts[-1]} is {ctx.params[param.name]} ({param.envvar})")


def version_of(package: str) -> str | None:
    """Return a distribution's version without importing it, None where it is not installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return None


class Right(str):
    """The name of a column whose cells are aligned right: numbers, with or without a unit."""


def table(rows: Iterable[Sequence[Any]], header: Sequence[str]) -> str:
    """Return rows as aligned columns under their names. `Right` columns are aligned right, the others left. None becomes a dash."""
    lines = [list(header), *(["–" if cell is None else str(cell) for cell in row] for row in rows)]
    columns = []
    for name, *cells in zip(*lines, strict=True):
        width = max(map(len, (name, *cells)))
        columns.append([cell.rjust(width) if isinstance(name, Right) else cell.ljust(width) for cell in (name, *cells)])
    return "\n".join("  ".join(line).rstrip() for line in zip(*columns, strict=True))


def png(picture: Any) -> bytes:
    """Return a Pillow image as a PNG file's bytes."""
    import io

    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def is_terminal(stream: Any) -> bool:
    """Say whether somebody is watching a stream. A closed stream is None."""
    return stream is not None and bool(stream.isatty())


def _json(document: Any) -> str:
    """Return JSON that cannot control a terminal: `json` escapes only the control characters of ASCII."""
    text = json.dumps(document, ensure_ascii=False, default=str)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)
