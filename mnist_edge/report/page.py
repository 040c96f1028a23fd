"""A report as one HTML page that needs nothing else: pictures inside, no script, in the reader's light or dark."""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mnist_edge.common.text import count, duration, percent, size
from mnist_edge.proof.evaluation import misread
from mnist_edge.report import words
from mnist_edge.report.figures import MOST_DIGITS
from mnist_edge.report.findings import Findings
from mnist_edge.report.origin import Origin
from mnist_edge.report.templates import render
from mnist_edge.report.theme import DARK, DPI, LIGHT, size_of
from mnist_edge.store.marks import MARK

FILE = "report.html"

#: The writers in the table.
WORST_LISTED = 10


@dataclass(frozen=True)
class _Section:
    """A figure with its title and text, and the table below it: column name → the row's value."""

    name: str
    title: str
    text: str
    caption: str = ""
    rows: tuple[dict[str, object], ...] = ()


def page(findings: Findings, origin: Origin, pictures: Mapping[str, Mapping[str, bytes]]) -> str:
    """Return the page. `pictures`: for each figure's name its PNG in each theme's; a figure without pictures is left out.

    Raises MissingExtraError.
    """
    return render(
        "page.html",
        mark=MARK,
        light=LIGHT,
        dark=DARK,
        model=findings.model,
        data=findings.data,
        headline=words.headline(findings, origin),
        facts=_facts(findings),
        sections=[vars(one) | _drawn(pictures[one.name]) for one in _sections(findings) if one.name in pictures],
        strengths=words.strengths(findings),
        training=words.training(findings),
        again=words.again(findings, origin),
        command=origin.command,
    )


def _facts(findings: Findings) -> list[tuple[str, str]]:
    manifest, own = findings.model.manifest, findings.pictures
    pictures = [] if own is None else [(percent(own.evaluation.accuracy), f"of {count(own.evaluation.images, 'picture')} in {own.name}")]
    return [
        (percent(findings.evaluation.accuracy), f"of {count(len(findings.data), 'test image')} of {findings.data_name}"),
        (percent(manifest.scores["validation_accuracy"]), "of the held-out images"),
        *pictures,
        (f"{manifest.parameters:,}", "parameters"),
        (duration(manifest.training["seconds"]), f"of training, {count(manifest.training['epochs'], 'epoch')}"),
    ]


def _sections(findings: Findings) -> list[_Section]:
    return [
        _Section("curves", "Loss and accuracy by epoch", _about_curves(findings)),
        _Section(
            "confusion",
            "Which digits were mistaken for which",
            "Each row is the true digit, each column the answer. Mistakes are coloured: the more there are, the stronger the colour.",
            "By digit",
            _by_class(findings),
        ),
        _Section(
            "mistakes",
            "The most confident wrong answers",
            "Each caption gives the true digit, the answer, the confidence and the image's number.",
        ),
        _Section(
            "writers",
            "The writers who are misread most",
            _about_writers(findings),
            "By writer",
            _by_writer(findings),
        ),
        _Section("samples", "The first nine images of the test set", "With the true digit, the answer and the confidence."),
        _Section("calibration", "Can its confidence be trusted?", _about_calibration(findings)),
        _Section("artifacts", "Accuracy by artifact", "As proven when each file was published.", "Artifacts", _artifacts(findings)),
    ]


def _drawn(themes: Mapping[str, bytes]) -> dict[str, Any]:
    """Return a figure's size in CSS' pixels, of which an inch has 96, and its picture in each theme as an address that holds it."""
    width, height = (round(pixels * 96 / DPI) for pixels in size_of(themes[LIGHT.name]))
    inside = {name: f"data:image/png;base64,{b64encode(png).decode()}" for name, png in themes.items()}
    return {"width": width, "height": height, **inside}


def _about_curves(findings: Findings) -> str:
    recipe = findings.model.manifest.training["recipe"]
    text = "Each epoch is one pass over the training images; the held-out images are never trained on."
    if recipe["augmentation"] is not None:
        text += " The training images are changed again in every epoch, so they are harder than the held-out ones."
    return text


def _about_calibration(findings: Findings) -> str:
    sure = findings.calibration()[-1]
    return (
        f"Answers of about the same confidence, and how many of them were right. Above {percent(sure.low, 1)}: "
        f"{sure.answers:,} of {count(len(findings.data), 'answer')}; {_wrong(sure.answers - sure.right)} wrong."
    )


def _wrong(number: int) -> str:
    return f"{number:,} {'is' if number == 1 else 'are'}" if number else "none is"


def _about_writers(findings: Findings) -> str:
    hands = findings.hands
    wholly = sum(not one.wrong for one in hands)
    return (
        f"One row per writer, with up to {MOST_DIGITS} of the writer's digits, in the order of the test set; the answer stands above those that are misread. "
        f"Of {count(len(hands), 'writer')}, {wholly:,} are read without a mistake."
    )


def _by_writer(findings: Findings) -> tuple[dict[str, object], ...]:
    return tuple(
        {
            "writer": one.writer,
            "group": one.group,
            "images": len(one.images),
            "read correctly": percent(one.accuracy),
            "misread": misread(one, findings.data, findings.evaluation),
        }
        for one in findings.hands[:WORST_LISTED]
        if one.wrong
    )


def _by_class(findings: Findings) -> tuple[dict[str, object], ...]:
    return tuple(
        {"digit": row["digit"], "images": f"{row['images']:,}", "right": f"{row['correct']:,}", "accuracy": percent(row["accuracy"])}
        for row in findings.evaluation.by_class()
        if row["images"]
    )


def _artifacts(findings: Findings) -> tuple[dict[str, object], ...]:
    return tuple(
        {
            "file": one.label,
            "precision": one.precision,
            "size": size(one.bytes),
            "accuracy": percent(one.parity["accuracy"]),
            "same answers": f"{one.parity['equal_answers']:,} of {one.parity['images']:,}"
            + (f" ({elsewhere})" if (elsewhere := findings.elsewhere(one)) else ""),
            "logit difference": f"{one.parity['max_difference']:.2g}",
            "needs": one.oldest_runtime,
        }
        for one in sorted(findings.model.artifacts, key=lambda a: -a.bytes)
    )
