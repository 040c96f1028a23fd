"""A report as one HTML page that needs nothing else: pictures inside, no script, in the reader's light or dark."""

import html
from base64 import b64encode
from collections.abc import Mapping, Sequence

from mnist_edge.common.errors import printable
from mnist_edge.common.text import count, duration, percent, size
from mnist_edge.report import words
from mnist_edge.report.findings import Findings
from mnist_edge.report.origin import Origin
from mnist_edge.report.theme import DARK, DPI, LIGHT, Theme, size_of
from mnist_edge.store.marks import MARK

FILE = "report.html"

_STYLE = """
:root {{ color-scheme: light dark; {light} }}
@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}
* {{ box-sizing: border-box; }}
body {{ margin: 0 auto; max-width: 60rem; padding: 2.5rem 1.25rem 4rem; background: var(--paper); color: var(--text);
  font: 16px/1.55 system-ui, sans-serif; }}
h1 {{ font-size: 1.9rem; margin: 0 0 .4rem; }}
h2 {{ font-size: 1.2rem; margin: 2.8rem 0 .5rem; padding-top: 1.2rem; border-top: 1px solid var(--rule); }}
p {{ margin: .4rem 0 1rem; max-width: 46rem; }}
.facts {{ display: flex; flex-wrap: wrap; gap: .8rem; margin: 1.4rem 0; padding: 0; list-style: none; }}
.facts li {{ background: var(--panel); border-radius: .6rem; padding: .7rem 1.1rem; }}
.facts b {{ display: block; font-size: 1.35rem; font-variant-numeric: tabular-nums; }}
.facts span, .note {{ color: var(--faint); font-size: .9rem; }}
img {{ max-width: 100%; height: auto; display: block; border-radius: .4rem; }}
.scroll {{ overflow-x: auto; }}
table {{ border-collapse: collapse; margin-top: 1.2rem; font-variant-numeric: tabular-nums; font-size: .95rem; }}
th, td {{ text-align: left; padding: .35rem 1.2rem .35rem 0; border-bottom: 1px solid var(--rule); white-space: nowrap; }}
th {{ color: var(--faint); font-weight: 500; }}
code {{ background: var(--panel); padding: .1rem .3rem; border-radius: .25rem; font-size: .9em; overflow-wrap: anywhere; }}
"""


def page(findings: Findings, origin: Origin, pictures: Mapping[str, Mapping[str, bytes]]) -> str:
    """Return the page. `pictures`: for each figure's name its PNG in each theme's; a figure that is not among them is left out."""
    model, manifest = findings.model, findings.model.manifest
    style = _STYLE.format(light=_variables(LIGHT), dark=_variables(DARK))
    facts = [
        (percent(findings.evaluation.accuracy), f"of {count(len(findings.data), 'test image')} of {findings.data_name}"),
        (percent(manifest.scores["validation_accuracy"]), "of the held-out images"),
        (f"{manifest.parameters:,}", "parameters"),
        (duration(manifest.training["seconds"]), f"of training, {count(manifest.training['epochs'], 'epoch')}"),
    ]
    if findings.pictures is not None:
        facts.insert(
            2,
            (
                percent(findings.pictures.evaluation.accuracy),
                f"of {count(findings.pictures.evaluation.images, 'picture')} in {findings.pictures.name}",
            ),
        )
    sections = [
        _section("curves", "Loss and accuracy by epoch", _about_curves(findings), pictures),
        _section(
            "confusion",
            "What was read as what",
            "Rows are what an image is, columns what it was read as. Mistakes are coloured, the stronger the more.",
            pictures,
            _by_class(findings),
        ),
        _section(
            "mistakes",
            "The most confident wrong answers",
            "Each caption gives the true digit, the answer, the confidence and the image's number.",
            pictures,
        ),
        _section("samples", "The first nine images of the test set", "With the true digit, the answer and the confidence.", pictures),
        _section("calibration", "Does its confidence mean what it says?", _about_calibration(findings), pictures),
        _section("artifacts", "Accuracy by artifact", "As proven when each file was published.", pictures, _artifacts(findings)),
        f"<section><h2>Good and bad at</h2>{_listed(words.strengths(findings))}</section>",
        f"<section><h2>How it was trained</h2>{_listed(words.training(findings))}"
        f"<p>{escape(words.again(findings, origin))}: <code>{escape(origin.command)}</code></p></section>",
    ]
    listed = "".join(f"<li><b>{escape(figure)}</b><span>{escape(label)}</span></li>" for figure, label in facts)
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="generator" content="{MARK}">'
        f"<title>{escape(model.name)}</title><style>{style}</style></head>\n<body><h1>{escape(model.name)}</h1>"
        f'<p>{escape(words.headline(findings, origin))}.</p><ul class="facts">{listed}</ul>\n'
        + "\n".join(sections)
        + f'\n<p class="note">Weights SHA-256 {escape(manifest.weights.sha256)}, test set SHA-256 {findings.data.sha256}. Licence: {escape(manifest.licence)}.</p>'
        "</body></html>\n"
    )


def escape(text: str) -> str:
    """Return text as one line that HTML shows as it is."""
    return html.escape(printable(text))


def _section(name: str, title: str, text: str, pictures: Mapping[str, Mapping[str, bytes]], more: str = "") -> str:
    if name not in pictures:
        return ""
    light, dark = (b64encode(pictures[name][theme.name]).decode() for theme in (LIGHT, DARK))
    width, height = (round(pixels * 96 / DPI) for pixels in size_of(pictures[name][LIGHT.name]))  # CSS' inch has 96 pixels
    return (
        f"<section><h2>{escape(title)}</h2><p>{escape(text)}</p><picture>"
        f'<source media="(prefers-color-scheme: dark)" srcset="data:image/png;base64,{dark}">'
        f'<img alt="{escape(title)}" width="{width}" height="{height}" src="data:image/png;base64,{light}"></picture>{more}</section>'
    )


def _variables(theme: Theme) -> str:
    return " ".join(f"--{name}: {getattr(theme, name)};" for name in ("paper", "panel", "text", "faint", "rule"))


def _about_curves(findings: Findings) -> str:
    recipe = findings.model.manifest.training["recipe"]
    text = "Each epoch is one pass over the training images; the held-out images are never trained on."
    if recipe["augmentation"] is not None:
        text += " The training images are changed anew in every epoch, so they are harder than the held-out ones."
    return text


def _about_calibration(findings: Findings) -> str:
    sure = findings.calibration()[-1]
    return (
        f"Answers of about the same confidence, and how many of them were right. Above {percent(sure.low, 1)}: "
        f"{sure.answers:,} of {count(len(findings.data), 'answer')}; {_wrong(sure.answers - sure.right)} wrong."
    )


def _wrong(number: int) -> str:
    return f"{number:,} {'is' if number == 1 else 'are'}" if number else "none is"


def _by_class(findings: Findings) -> str:
    rows = [
        [row["digit"], f"{row['images']:,}", f"{row['correct']:,}", percent(row["accuracy"])]
        for row in findings.evaluation.by_class()
        if row["images"]
    ]
    return _table("By digit", ["digit", "images", "right", "accuracy"], rows)


def _artifacts(findings: Findings) -> str:
    rows = [
        [
            one.label,
            one.precision,
            size(one.bytes),
            percent(one.parity["accuracy"]),
            f"{one.parity['equal_answers']:,} of {one.parity['images']:,}{f' ({elsewhere})' if (elsewhere := findings.elsewhere(one)) else ''}",
            f"{one.parity['max_difference']:.2g}",
            one.oldest_runtime,
        ]
        for one in sorted(findings.model.artifacts, key=lambda a: -a.bytes)
    ]
    return _table("Artifacts", ["file", "precision", "size", "accuracy", "same answers", "logit difference", "needs"], rows) if rows else ""


def _table(caption: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><caption hidden>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _listed(lines: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(line)}.</li>" for line in lines) + "</ul>"
