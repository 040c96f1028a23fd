"""``mnist-edge predict``."""

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from mnist_edge.cli.common import PATH, Output, option, subcommand
from mnist_edge.cli.group import EXIT_FAILED
from mnist_edge.errors import PictureError, UsageError

#: Bytes read from standard input at most: more than any picture that is accepted needs.
MAX_INPUT = 64 * 1024 * 1024


@subcommand("predict")
@click.argument("pictures", nargs=-1, required=True, type=PATH, metavar="PICTURE…")
@option("--model", help="Name, folder or file of a model.  [default: the model trained last, else the reference]")
@option("--runtime", default="ort", metavar="RUNTIME", help="What runs it: ort, torchscript or torch.")
@option("--threads", type=click.IntRange(1, 256), default=1, help="Of the runtime.")
@click.pass_context
def command(
    ctx: click.Context,
    pictures: tuple[Path, ...],
    model: str | None,
    runtime: str,
    threads: int,
    models_dir: Path | None,
    data_dir: Path | None,
    out: Output,
) -> None:
    """Read pictures of digits: files, folders, or - for standard input. Needs no torch.

    One bad picture does not stop the rest; the exit code is then 1. With --json, a line a picture.
    """
    from mnist_edge.image import SUFFIXES
    from mnist_edge.predictor import Predictor

    predictor = Predictor.load(model, runtime, threads=threads, models_dir=models_dir)
    out.say(f"model: {predictor.description}")
    failed = False
    for path in _expand(pictures):
        name = click.format_filename(path)
        try:
            if path.is_dir():
                raise PictureError(f"{name}: no pictures in this folder ({', '.join(SUFFIXES)}); folders below it are not read")
            prediction = predictor.predict(io.BytesIO(_standard_input()) if str(path) == "-" else path)
        except PictureError as error:
            failed = True
            out.say(f"error: {' '.join(str(error).split())}")
            if out.as_json:
                _line({"path": name, "error": str(error)})
            continue
        if out.as_json:
            _line({"path": name, **prediction.to_json()})
        else:
            click.echo(f"{name}: {prediction.digit}  ({prediction.confidence:.1%})")
    if failed:
        ctx.exit(EXIT_FAILED)


def _expand(pictures: tuple[Path, ...]) -> Iterator[Path]:
    """Yield the files; of a folder, the pictures in it by name."""
    from mnist_edge.image import SUFFIXES

    for path in pictures:
        if not path.is_dir():
            yield path
            continue
        found = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES)
        yield from found or [path]


def _standard_input() -> bytes:
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError("- reads a picture from standard input, which is a terminal; give a file, or: mnist-edge predict - < img.png")
    data = sys.stdin.buffer.read(MAX_INPUT + 1)
    if len(data) > MAX_INPUT:
        raise PictureError(f"standard input: more than {MAX_INPUT // 2**20} MiB")
    return data


def _line(document: dict[str, Any]) -> None:
    click.echo(json.dumps(document, ensure_ascii=True))
