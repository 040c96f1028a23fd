"""The picture of a benchmark."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mnist_edge.benchmark.measure import Measured

_BAR = "#0072b2"


#: The parts of a cold start, from the first to the last (Okabe and Ito, 2008).
_PARTS = (("process", "#999999"), ("imports", "#56b4e9"), ("load", "#e69f00"), ("first answer", "#009e73"))


def draw_benchmark(rows: "Sequence[Measured]", title: str, path: Path) -> None:
    """Draw size, cold start, latency, throughput and memory of each artifact as a PNG. Raises OSError."""
    from matplotlib.figure import Figure

    from mnist_edge.report.theme import drawn_in

    names = [f"{row.label}\n{row.runtime}" for row in rows]
    panels: list[tuple[str, list[float]]] = [
        ("file, kB", [row.bytes / 1e3 for row in rows]),
        ("thousand images per second, batches of 256", [row.throughput / 1e3 for row in rows]),
        ("peak memory, MB", [(row.peak_memory or 0) / 1e6 for row in rows]),
    ]
    with drawn_in({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(12, 1.6 + 0.42 * 2 * len(rows)), dpi=120, layout="constrained")
        axes = figure.subplots(2, 3, sharey=True).ravel()
        for panel, (label, values) in zip(axes[[0, 3, 4]], panels, strict=True):
            bars = panel.barh(names, values, color=_BAR, height=0.6)
            panel.bar_label(bars, labels=[f"{value:,.0f}" if value >= 10 else f"{value:.1f}" for value in values], padding=3)
            panel.set(title=label)
            panel.margins(x=0.16)
        usual, slow = ([1e6 * value for value in values] for values in zip(*((r.latency_p50, r.latency_p99) for r in rows), strict=True))
        axes[2].hlines(names, usual, slow, color=_BAR, linewidth=1.5)
        axes[2].plot(usual, names, "o", color=_BAR, label="median")
        axes[2].plot(slow, names, "|", color=_BAR, markersize=10, label="99th percentile")
        for name, a, b in zip(names, usual, slow, strict=True):
            axes[2].annotate(f"{a:,.0f} … {b:,.0f}", (b, name), (7, 0), textcoords="offset points", va="center")
        axes[2].set(title="one image, µs: median … 99th percentile", xscale="log", xlim=(0.7 * min(usual), 12 * max(slow)))
        left = [0.0] * len(rows)
        for part, colour in _PARTS:
            seconds = {"process": "start", "load": "session", "first answer": "first_answer"}.get(part, part)
            values = [1e3 * getattr(row, seconds) for row in rows]
            axes[1].barh(names, values, left=left, color=colour, height=0.6, label=part)
            left = [a + b for a, b in zip(left, values, strict=True)]
        axes[1].set(title="cold start, ms")
        axes[1].margins(x=0.16)
        for name, value in zip(names, left, strict=True):
            axes[1].text(value, name, f" {value:,.0f}", va="center")
        axes[5].axis("off")
        handles, labels = axes[1].get_legend_handles_labels()
        axes[5].legend(handles, labels, title="cold start", loc="center left", frameon=False)
        axes[0].invert_yaxis()
        figure.suptitle(title)
        figure.savefig(path, format="png", metadata={"Software": None})
