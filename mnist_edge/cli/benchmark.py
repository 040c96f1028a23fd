"""``mnist-edge benchmark``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mnist_edge.cli import completing
from mnist_edge.cli.common import PATH, Output, Right, option, subcommand, table, version_of
from mnist_edge.cli.group import EXIT_FAILED
from mnist_edge.cli.networks import builds_networks
from mnist_edge.common.errors import UsageError
from mnist_edge.common.text import count, data_name, percent, size

if TYPE_CHECKING:
    from mnist_edge.benchmark.measure import Measured

_SPEEDS = ("cold start, ms", "process", "imports", "load", "first", "p50, µs", "p99, µs", "images/s", "memory, MB")


@subcommand("benchmark", "benchmark lenet", "benchmark lenet --rounds 20 --plot lenet.png", data=False)
@click.argument("model", required=False, shell_complete=completing.models)
@option("--threads", type=click.IntRange(1, 256), default=1, help="Threads for each runtime, at most one per core.")
@option("--rounds", type=click.IntRange(1, 1000), default=5, help="Fresh processes to measure each one in; the medians are reported.")
@option("--plot", type=PATH, metavar="OUT", help="Draw the figures as this .png file.")
@builds_networks
@click.pass_context
def command(
    ctx: click.Context,
    model: str | None,
    threads: int,
    rounds: int,
    plot: Path | None,
    models_dir: Path | None,
    out: Output,
) -> None:
    """Measure every artifact of MODEL on this machine: size, cold start, latency, throughput, memory, and the size
    of what it needs installed.

    Accuracy and equal answers come from the proof made when the artifact was published; mnist-edge verify measures them again.
    """
    from mnist_edge import store
    from mnist_edge.benchmark.measure import benchmark
    from mnist_edge.runtimes import usable_threads

    if plot is not None:
        from mnist_edge.common.extras import require

        if plot.suffix.lower() != ".png":
            raise UsageError(f"--plot {plot}: the name must end in .png")
        require("--plot", "matplotlib")
    if (usable := usable_threads(threads)) < threads:
        out.say(
            f"--threads {threads}: this machine has {count(usable, 'core')}, so {count(usable, 'thread')} {'is' if usable == 1 else 'are'} started"
        )
        threads = usable
    found = store.find(model, models_dir)
    out.model(found)
    rows, left_out = benchmark(found, threads, rounds, _progress(out))
    for one in left_out:
        out.problem(f"{'error' if one.at_fault else 'left out'}: {one.reason}")
    if plot is not None:
        from mnist_edge.report.benchmark import draw_benchmark

        plot.parent.mkdir(parents=True, exist_ok=True)
        draw_benchmark(rows, f"{found.name}, {count(threads, 'thread')}", plot)
        out.say(f"written: {plot}")
    document = {
        "model": found.name,
        "threads": threads,
        "rounds": rounds,
        "machine": machine(),
        "rows": [row.to_json() for row in rows],
        "left_out": [one._asdict() for one in left_out],
    }
    out.result(document, describe(rows, threads, rounds))
    if any(one.at_fault for one in left_out):
        ctx.exit(EXIT_FAILED)


def machine() -> dict[str, Any]:
    """Return the conditions that the figures depend on."""
    import os
    import platform

    versions = {package: version for package in ("onnxruntime", "torch", "numpy") if (version := version_of(package))}
    return {
        "platform": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **versions,
    }


def describe(rows: "list[Measured]", threads: int, rounds: int) -> str:
    """Return the figures as two tables."""
    answers = [
        [
            r.label,
            r.runtime,
            size(r.bytes),
            percent(r.accuracy),
            f"{r.equal_answers:,} of {r.images:,} of {data_name(r.data)}",
            _megabytes(r.installed),
        ]
        for r in rows
    ]
    speeds = [
        [
            r.label,
            r.runtime,
            *(f"{1000 * seconds:.1f}" for seconds in (r.cold_start, r.start, r.imports, r.session, r.first_answer)),
            f"{1e6 * r.latency_p50:.0f}",
            f"{1e6 * r.latency_p99:.0f}",
            f"{r.throughput:,.0f}",
            _megabytes(r.peak_memory),
        ]
        for r in rows
    ]
    return (
        table(answers, ["artifact", "runtime", Right("size"), Right("accuracy"), "same answers", Right("installed, MB")])
        + "\n\n"
        + table(speeds, ["artifact", "runtime", *map(Right, _SPEEDS)])
        + f"\n\ncold start: a fresh process until its first answer, and its parts; p50, p99: one image; images/s: in batches of 256; "
        f"{count(threads, 'thread')}, {_of_processes(rounds)}"
    )


def _of_processes(rounds: int) -> str:
    return "from one process" if rounds == 1 else f"medians of {count(rounds, 'process', 'processes')} in shuffled order"


def _megabytes(count: int | None) -> str | None:
    return None if count is None else f"{count / 1e6:,.0f}"


def _progress(out: Output) -> Any:
    def step(done: int, of: int, what: str) -> None:
        if out.shows_progress:
            click.echo(f"\r\x1b[K{done + 1} of {of}: {what}" if done < of else "\r\x1b[K", err=True, nl=False)
        elif done < of:
            out.say(f"{done + 1} of {of}: {what}")

    return step
