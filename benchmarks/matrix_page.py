"""The page docs/matrix.md, from what was measured. make matrix writes it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mnist_edge import runtimes
from mnist_edge.runtimes import emulated
from mnist_edge.store import Model
from mnist_edge.store.manifest import Artifact

#: Emulated machines answer batches of one so slowly that they are asked about so many images only.
FEW = 1000

Results = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Column:
    """A runtime here, or ONNX Runtime on an emulated machine."""

    name: str
    runtime: runtimes.Runtime
    machine: str = ""


def key(artifact: Artifact, column: Column) -> str:
    """Return the name of one measurement: of these bytes in this column."""
    return f"{artifact.file} {artifact.sha256[:16]} {column.name}"


def cell(measured: dict[str, Any] | None) -> str:
    """Return what the table says of one measurement."""
    if measured is None:
        return "–"
    if "missing" in measured:
        return "not here"
    if "reason" in measured:
        return "does not run"
    lines = [f"{measured['equal_answers']:,}", f"{measured['max_difference']:.2g}"]
    if "latency_ratio" not in measured:
        lines.append("²")
    elif measured["latency_ratio"] is not None:
        lines.append(f"{measured['latency_ratio']:.1f}×")
    if changed := {what: number for what, number in measured["changed_by"].items() if number}:
        lines += [f"{what}: {number} change" for what, number in changed.items()]
    lines[0] += "" if measured["tried_again"] else "¹"
    text = "<br>".join(lines)
    return text if measured["passed"] else f"**{text}**"


def table(models: list[Model], results: Results, known: list[Column]) -> str:
    """Return the page in Markdown."""
    used = [column for column in known if any(key.endswith(f" {column.name}") for key in results)]
    lines = [f"| artifact | {' | '.join(column.name for column in used)} |", "|---" * (len(used) + 1) + "|"]
    reasons: list[str] = []
    for model in models:
        for artifact in model.artifacts:
            found = [results.get(key(artifact, column)) for column in used]
            if any(found):
                cells = [
                    "…" if one is None and column.runtime.runs(artifact) else cell(one) for column, one in zip(used, found, strict=True)
                ]
                lines.append(f"| {artifact.file} | {' | '.join(cells)} |")
            reasons += [f"- {artifact.file} on {column.name}: {why}" for column, one in zip(used, found, strict=True) for why in _whys(one)]
    versions = dict.fromkeys(f"{column.name}: {one['version']}" for column in used for one in _of(results, column))
    machines = dict.fromkeys(one["made_on"] for one in results.values())
    emulations = [
        f"{one.name}: {one.summary} ({one.processor})" for one in emulated.PLATFORMS.values() if one.name in {c.name for c in used}
    ]
    return _PAGE.format(
        table="\n".join(lines),
        reasons="\n".join(reasons) or "- None.",
        versions="\n".join(f"- {line}" for line in versions),
        emulations="\n".join(f"- {line}" for line in emulations),
        machine=" and ".join(machines),
        few=f"{FEW:,}",
    )


def _of(results: Results, column: Column) -> Iterator[dict[str, Any]]:
    yield from (one for key, one in results.items() if key.endswith(f" {column.name}"))


def _whys(one: dict[str, Any] | None) -> Iterator[str]:
    if one is None:
        return
    if "reason" in one:
        yield one["reason"]
    elif one["failures"]:
        yield f"refused: {'; '.join(one['failures'])}"
    elif any(one["changed_by"].values()):
        most = max(one["moved_by"].values())
        yield f"a batch of another size, or a second thread, changes answers; logits move by up to {most:.2g}"


_PAGE = """# Which runtime answers as PyTorch does

Every artifact of the reference models, run on MNIST's 10,000 test images by each runtime, and compared with PyTorch's stored answers.
`make matrix` writes this page. `mnist-edge verify MODEL --runtime RUNTIME` repeats one row of it on your machine.

Each cell has, from top to bottom:

- how many of the 10,000 answers are the same as PyTorch's;
- the largest difference of a logit from PyTorch's, in any batch size that was tried (1, 2, 3, 5, 7, 8, 64, 256);
- the latency of one image on one thread, as a multiple of ONNX Runtime's with the `.onnx` file of the same precision (not on emulated
  machines, which are slow);
- how many answers change, if any, with batches of 1 or 64 instead of 256, or with two threads instead of one (on emulated machines, of the
  first {few} images).

**Bold**: the gate refuses it, because it exceeds the artifact's budget. –: the runtime does not take this format or precision.
…: not measured yet. ¹: other batch sizes and thread counts were not tried. ²: the latency is not measured yet.

{table}

## What does not run, or differs from PyTorch

{reasons}

## Where this was measured

On {machine}. The columns of other machines were run there under qemu, which proves the arithmetic, not the speed:

{emulations}

Releases:

{versions}
"""
