"""Writes a model's report into its folder: PNGs, one HTML page, and the card."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from mnist_edge.common.errors import UsageError
from mnist_edge.common.files import write_atomically
from mnist_edge.common.locks import locked
from mnist_edge.report import card, figures, page
from mnist_edge.report.findings import Findings
from mnist_edge.report.origin import origin
from mnist_edge.report.theme import DARK, LIGHT, Theme
from mnist_edge.store.manifest import Artifact
from mnist_edge.store.marks import MARK, check_ours, is_reference, marked
from mnist_edge.store.publishing import current

FIGURES: dict[str, Callable[[Findings, Theme], bytes]] = {
    "curves": lambda findings, theme: figures.curves(findings.history, findings.model.name, theme),
    "confusion": figures.confusion,
    "mistakes": figures.mistakes,
    "writers": figures.writers,
    "samples": figures.samples,
    "calibration": figures.calibration,
    "artifacts": figures.artifacts,
}

#: The training draws this file too; older versions did so without a mark.
_ALWAYS_OURS = "curves.png"


def draw_report(findings: Findings, has_weights: bool = True, not_kept: Sequence[Artifact] = (), mark: str = MARK) -> dict[str, bytes]:
    """Return a report's files by name: one PNG per figure (in light colours), ``report.html`` and ``README.md``.

    A model that is passed on without its weights, or without artifacts that were proven (`not_kept`), can be made complete again, and the
    card says how.
    """
    empty = {"artifacts": not findings.model.artifacts, "writers": not any(one.wrong for one in findings.hands)}
    wanted = [name for name in FIGURES if not empty.get(name)]
    drawn = {name: {theme.name: FIGURES[name](findings, theme) for theme in (LIGHT, DARK)} for name in wanted}
    come_from = origin(findings.model)
    files = {f"{name}.png": themes[LIGHT.name] for name, themes in drawn.items()}
    files[page.FILE] = page.page(findings, come_from, drawn).encode()
    files[card.FILE] = marked(card.card(findings, come_from, has_weights, not_kept), mark)
    return files


def write_report(findings: Findings) -> list[Path]:
    """Write a report into the model's folder, each file in one step, and return what was written.

    The card of a reference model stays. Raises UsageError for a file of the user's own that is in the way or a folder that cannot be
    written to, ModelError if the model was trained again meanwhile, OSError.
    """
    folder = findings.model.folder
    if not os.access(folder, os.W_OK):
        raise UsageError(f"{folder}: no permission to write a report there; copy the model to a folder of your own and name that")
    names = [*(f"{name}.png" for name in FIGURES), page.FILE, card.FILE]
    if is_reference(folder / card.FILE):
        names.remove(card.FILE)
    for name in names:
        if name != _ALWAYS_OURS:
            check_ours(folder / name)
    files = draw_report(findings, (folder / findings.model.manifest.weights.file).exists())
    with locked(findings.model.home, wait=True):
        current(findings.model)
        written = [name for name in files if name in names]
        for name in written:
            write_atomically(folder / name, files[name])
    return [folder / name for name in written]
