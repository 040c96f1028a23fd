"""A model's report into its folder: PNGs, one HTML page, and the card."""

from collections.abc import Callable
from pathlib import Path

from mnist_edge.files import write_atomically
from mnist_edge.report import card, figures, page
from mnist_edge.report.findings import Findings
from mnist_edge.report.marked import check_ours, marked
from mnist_edge.report.origin import origin
from mnist_edge.report.theme import DARK, LIGHT, Theme

FIGURES: dict[str, Callable[[Findings, Theme], bytes]] = {
    "curves": lambda findings, theme: figures.curves(findings.history, findings.model.name, theme),
    "confusion": figures.confusion,
    "mistakes": figures.mistakes,
    "samples": figures.samples,
    "calibration": figures.calibration,
    "artifacts": figures.artifacts,
}


def write_report(findings: Findings, folder: Path | None = None) -> list[Path]:
    """Write a PNG a figure (in light colours), ``report.html`` and ``README.md``; return what was written. Raises OSError.

    Into the model's folder, or another. Each file takes its place in one step. Raises UsageError for a ``README.md`` of the user's own.
    """
    folder = folder or findings.model.folder
    check_ours(folder / card.FILE)
    drawn = {name: {theme.name: draw(findings, theme) for theme in (LIGHT, DARK)} for name, draw in FIGURES.items()}
    come_from = origin(findings.model.manifest)
    files = {f"{name}.png": themes[LIGHT.name] for name, themes in drawn.items()}
    files[page.FILE] = page.page(findings, come_from, drawn).encode()
    files[card.FILE] = marked(card.card(findings, come_from))
    for name, content in files.items():
        write_atomically(folder / name, content)
    return [folder / name for name in files]
