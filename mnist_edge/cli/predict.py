"""``mnist-edge predict``."""

from __future__ import annotations

import sys
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mnist_edge.cli import completing
from mnist_edge.cli.common import PATH, Number, Output, is_terminal, option, subcommand, was_typed
from mnist_edge.cli.declared import declares, given, runtime_options
from mnist_edge.cli.group import EXIT_FAILED
from mnist_edge.cli.networks import builds_networks
from mnist_edge.cli.pictures import STANDARD_INPUT, expand, standard_input
from mnist_edge.cli.predict_output import Answer, Csv, Files, JsonLines, Table
from mnist_edge.common.errors import DataError, UsageError, printable
from mnist_edge.common.text import count, percent

if TYPE_CHECKING:
    from mnist_edge.image import Prepared
    from mnist_edge.predictor import Prediction, Predictor
    from mnist_edge.scale.shipped import Shipped

#: How many images of an idx file are answered at a time.
_BATCH = 256


@subcommand(
    "predict",
    "predict img.png",
    "predict scans --recursive --csv",
    "predict page.jpg --several --explain explain.png",
    data=False,
    cls=declares("--runtime", runtime_options),
)
@click.argument("pictures", nargs=-1, required=True, metavar="PICTURE…", shell_complete=completing.files)
@option(
    "--model",
    shell_complete=completing.models,
    help="Name, folder or file of a model.  [default: the model trained last, else the reference]",
)
@option(
    "--runtime",
    default="ort",
    metavar="RUNTIME",
    shell_complete=completing.runtimes,
    help="Runtime to run it with; mnist-edge formats lists them.",
)
@option("--threads", type=click.IntRange(1, 256), default=1, help="Threads for the runtime, at most one per core.")
@option("--several", is_flag=True, show_default=False, help="Read every digit of a page, and print it row by row.")
@option("--ink", type=click.Choice(["auto", "dark", "light"]), default="auto", help="Whether the ink is darker or lighter than the paper.")
@option("--recursive", is_flag=True, show_default=False, help="Also read the folders inside folders.")
@option("--min-confidence", type=Number(0, 1), help="Report answers below this confidence as failed.")
@option("--require-proof", is_flag=True, show_default=False, help="Exit with code 3 if this runtime is not proven on this kind of machine.")
@option("--csv", "as_csv", is_flag=True, show_default=False, help="Print comma-separated values.")
@option(
    "--explain", type=PATH, metavar="OUT", help="Draw what was found, seen and answered, as a .png, or into a folder for many pictures."
)
@option(
    "--save-input",
    type=PATH,
    metavar="OUT",
    help="Write the 28×28 image that the network sees, as a .png, or into a folder for many pictures.",
)
@option("--engine", type=click.Choice(["local", "ray"]), default="local", help="Where to run: on this machine, or on a Ray cluster.")
@option("--output", type=PATH, help="Folder for the answers of --engine ray; to continue a stopped run, repeat the command.")
@option("--parquet", is_flag=True, show_default=False, help="Write the answers of --engine ray as Parquet.  [default: JSON lines]")
@builds_networks
@click.pass_context
def command(
    ctx: click.Context,
    /,
    pictures: tuple[str, ...],
    model: str | None,
    runtime: str,
    threads: int,
    several: bool,
    ink: str,
    recursive: bool,
    min_confidence: float | None,
    require_proof: bool,
    as_csv: bool,
    explain: Path | None,
    save_input: Path | None,
    engine: str,
    output: Path | None,
    parquet: bool,
    models_dir: Path | None,
    out: Output,
    **declared: Any,
) -> None:
    """Read pictures of digits: files, folders, patterns, - for standard input, or idx files like MNIST's. Needs no torch.

    One bad picture does not stop the rest, but the exit code is then 1. --json prints one line per picture. Many pictures are decoded
    on all cores, and answers appear while the rest is still being read. --engine ray answers on the cluster that RAY_ADDRESS names, or on one
    that it starts here, and writes a file for each few hundred pictures into --output.
    """
    from mnist_edge import runtimes
    from mnist_edge.image.digit import NO_DIGIT, READS_ALL
    from mnist_edge.predictor import Predictor

    if as_csv and out.as_json:
        raise UsageError("--csv and --json cannot be used together; leave one out")
    names: Iterable[tuple[str, str | None]] = expand(pictures, recursive)
    if several:
        names = list(names)
        _refuse_single(names, {"--csv": as_csv, "--save-input": save_input, "--engine ray": engine == "ray"})
    if engine == "ray":
        _refuse_local(ctx, pictures, runtime)
        _on_ray(ctx, names, _packed(model, runtime, models_dir, require_proof), output, parquet, ink, out)
        return
    if output is not None or parquet:
        raise UsageError("--output and --parquet are for --engine ray; without it, answers are printed")
    if explain is not None or save_input is not None:
        names = list(names)
    drawings = _Drawings(None if several else explain, save_input, names)
    predictor = Predictor.load(
        model,
        runtime,
        threads=threads,
        models_dir=models_dir,
        require_proof=require_proof,
        options=given(ctx, runtimes.get(runtime).options, declared),
    )
    out.say(f"model: {predictor.description}")
    if several:
        from mnist_edge.cli.predict_several import read_pages

        if read_pages(list(names), predictor, out, ink=ink, min_confidence=min_confidence, explain=explain):
            ctx.exit(EXIT_FAILED)
        return
    rows = Csv() if as_csv else JsonLines() if out.as_json else Table()
    progress, failed = _Progress(out), False
    with closing(_answers(names, predictor, ink, keep_pictures=explain is not None)) as answers:
        for answer in answers:
            error, found = answer.error, answer.prediction
            if found is not None and min_confidence is not None and found.confidence < min_confidence:
                doubt = f"unsure, {found.digit} at {percent(found.confidence, 1)}; --min-confidence is {percent(min_confidence, 1)}"
                error = f"{printable(answer.path)}: {doubt}"
            if error is not None:
                if NO_DIGIT in error:
                    error += f"; if it is a page of digits, {READS_ALL}"
                failed = True
                progress.clear()
                out.problem(f"error: {' '.join(error.split())}")
            rows.add(answer._replace(error=error))
            drawings.write(answer)
            progress.step()
    progress.clear()
    if failed:
        ctx.exit(EXIT_FAILED)


def _refuse_single(names: list[tuple[str, str | None]], given: dict[str, Any]) -> None:
    """Raise UsageError for what does not go with pages."""
    for name, value in given.items():
        if value:
            raise UsageError(f"{name} and --several cannot be used together; leave one out")
    for path, _ in filter(_is_idx, names):
        raise UsageError(f"{printable(path)}: an idx file, which holds one digit per image; --several is for pictures")


def _refuse_local(ctx: click.Context, pictures: tuple[str, ...], runtime: str) -> None:
    """Raise UsageError for what only this process can do."""
    from mnist_edge import runtimes

    declared = [one.name for one in runtimes.get(runtime).options]
    for name in ("explain", "save_input", "as_csv", "min_confidence", "threads", *declared):
        if was_typed(ctx, name):
            raise UsageError(f"--{name.removeprefix('as_').replace('_', '-')} and --engine ray cannot be used together; leave one out")
    if STANDARD_INPUT in pictures:
        raise UsageError("- reads standard input, which other machines do not have; name files for --engine ray")


def _packed(model: str | None, runtime: str, models_dir: Path | None, require_proof: bool) -> Shipped:
    from mnist_edge.scale.shipped import pack

    return pack(model, runtime, models_dir, require_proof)


def _on_ray(
    ctx: click.Context, names: Iterable[tuple[str, str | None]], model: Shipped, output: Path | None, parquet: bool, ink: str, out: Output
) -> None:
    """Answer on a Ray cluster, into a folder."""
    from mnist_edge.scale.engine import Job
    from mnist_edge.scale.parts import split

    if output is None:
        raise UsageError("--engine ray writes into a folder; name it with --output")
    job = Job(split(names, _is_idx), model, output, "parquet" if parquet else "jsonl", ink)
    out.say(f"model: {model.file}, runtime {model.runtime}; {count(len(job.parts), 'part')}, into {output}")
    progress = _Progress(out, every=1)
    try:
        done = job.run(progress.reach)
    except KeyboardInterrupt:
        progress.clear()
        out.problem(f"stopped; the finished parts are kept in {output}; run the same command to continue")
        raise
    progress.clear()
    for line in done.unproven:
        out.problem(f"warning: {line}")
    text = f"{count(done.rows, 'answer')}, {count(done.errors, 'error')} among them, in {count(done.parts, 'file')}, in {output}"
    text += f"; {count(done.kept, 'file was', 'files were')} there before" if done.kept else ""
    document = {"output": str(output), "answers": done.rows, "errors": done.errors, "parts": done.parts, "kept": done.kept}
    out.result(document, text)
    if done.errors:
        out.say("each error is in its row; to try a file of answers again, remove it and run the same command")
        ctx.exit(EXIT_FAILED)


def _answers(names: Iterable[tuple[str, str | None]], predictor: Predictor, ink: str, keep_pictures: bool) -> Generator[Answer, None, None]:
    """Answer pictures and idx files in the order in which the user named them.

    Pictures are answered one by one. With dynamic int8, an answer depends a little on its batch, and a batch would hold whatever
    pictures happened to be ready.
    """
    from mnist_edge.image import pipeline

    def source(path: str, problem: str | None) -> pipeline.Source:
        return pipeline.Source(path, problem, standard_input if path == STANDARD_INPUT else None)

    for is_idx, group in groupby(names, key=_is_idx):
        if is_idx:
            for path, _ in group:
                yield from _idx_answers(path, predictor, ink)
            continue
        with closing(pipeline.read_all((source(*name) for name in group), ink, keep_pictures=keep_pictures)) as reads:
            for read in reads:
                started = time.perf_counter()
                prediction = predictor.predict_prepared([read.prepared])[0] if read.prepared else None
                yield Answer(read.source.path, read.prepared, prediction, read.error, read.seconds + time.perf_counter() - started)


def _idx_answers(path: str, predictor: Predictor, ink: str) -> Iterator[Answer]:
    """Answer the images of an idx file unchanged: the network takes their bytes as they are."""
    from mnist_edge.dataset.idx import stream_images
    from mnist_edge.image.pipeline import ahead

    def batches() -> Generator[tuple[Any, float], None, None]:
        for pixels in stream_images(path, _BATCH):
            started = time.perf_counter()
            logits = predictor.logits(255 - pixels if ink == "dark" else pixels)
            yield logits, (time.perf_counter() - started) / len(pixels)

    index = 0
    try:
        with closing(ahead(batches())) as ready:
            for logits, seconds in ready:
                for prediction in predictor.predictions(logits):
                    yield Answer(f"{path}[{index}]", None, prediction, None, seconds, index)
                    index += 1
    except DataError as error:
        yield Answer(path, None, None, str(error), 0.0)


def _is_idx(name: tuple[str, str | None]) -> bool:
    from mnist_edge.image import SUFFIXES

    path, problem = name
    if problem is not None or path == STANDARD_INPUT or path.lower().endswith(SUFFIXES):
        return False
    from mnist_edge.dataset.idx import is_idx

    return is_idx(path)


class _Drawings:
    """The pictures that ``--explain`` and ``--save-input`` ask for. Their paths are settled before anything is read."""

    def __init__(self, explain: Path | None, save_input: Path | None, names: Iterable[tuple[str, str | None]]) -> None:
        self._index = 0
        self._explained = self._inputs = None
        if explain is None and save_input is None:
            return
        names = list(names)
        for name in filter(_is_idx, names):
            raise UsageError(f"{printable(name[0])}: an idx file; --explain and --save-input are for pictures")
        self._explained, self._inputs = Files("--explain", explain, names), Files("--save-input", save_input, names)
        if self._explained.overlap(self._inputs):
            raise UsageError("--explain and --save-input name the same file; give each its own")

    def write(self, answer: Answer) -> None:
        """Write the pictures asked for, for the next picture in order."""
        if self._explained is None or self._inputs is None:
            return
        if answer.prepared is not None and answer.prediction is not None:
            seen, prediction = answer.prepared, answer.prediction
            self._inputs.write(self._index, lambda: _picture_of(seen.pixels))
            self._explained.write(self._index, lambda: _explained(seen, prediction))
        self._index += 1


def _picture_of(pixels: Any) -> Any:
    from PIL import Image

    return Image.fromarray(pixels)


def _explained(prepared: Prepared, prediction: Prediction) -> Any:
    from mnist_edge.image import drawing

    return drawing.explain(prepared, prediction.probabilities, prediction.warnings)


class _Progress:
    """A count of finished pictures on the terminal's last line, shown when the answers go elsewhere."""

    def __init__(self, out: Output, every: int = 16) -> None:
        self._shown = out.shows_progress and (every == 1 or not is_terminal(sys.stdout))
        self._done, self._next, self._every = 0, 0.0, every

    def step(self) -> None:
        """Count one."""
        self.reach(self._done + 1)

    def reach(self, done: int) -> None:
        """Show how many are finished."""
        self._done = done
        if self._shown and self._done % self._every == 0 and (now := time.monotonic()) >= self._next:
            self._next = now + 0.2
            click.echo(f"\r{self._done:,} read", err=True, nl=False)

    def clear(self) -> None:
        """Clear the line for something else."""
        if self._shown and self._next:
            click.echo("\r\x1b[K", err=True, nl=False)
