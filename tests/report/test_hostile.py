"""What a manifest or a user says is shown as it is: it adds no link, heading, cell, code or script to a report."""

import io
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token
from PIL import Image
from proving import with_parity

from mnist_edge import store
from mnist_edge.common.errors import printable
from mnist_edge.dataset import Dataset
from mnist_edge.proof.evaluation import evaluate_logits
from mnist_edge.report import card, page, table
from mnist_edge.report.findings import Findings, Pictures, read_history
from mnist_edge.report.origin import Origin
from mnist_edge.report.theme import DARK, LIGHT
from mnist_edge.store.manifest import Manifest
from mnist_edge.store.marks import REFERENCE_MARK, is_reference, marked

HOSTILE = (
    "MIT](javascript:alert(1)) | `code` <script>alert(2)</script> **b** _i_ ~s~ $x$ &lt; <a@b.c>\n"
    '# heading\n\n![](https://e.xample/p.png)\n```\nrm -rf\n```\n<img src=x onerror="alert(3)">\n| a | b |\n|---|---|\n\\ \x1b[31m \u202e\'"'
)

SIGNS = "".join(map(chr, range(0x20, 0x7F)))


@pytest.fixture
def found() -> Findings:
    """The reference LeNet, with its own answers, to labels of which it misses some."""
    model = store.Model.read(Path(__file__).resolve().parents[2] / "models" / "lenet")
    logits = store.read_reference(model, model.manifest.references[0])
    labels = logits.argmax(axis=1).astype(np.uint8)
    labels[:20] = 3
    return Findings(model, Dataset("mnist", "test", np.zeros((len(labels), 1, 28, 28), np.uint8), labels), logits, read_history(model))


def spoilt(manifest: Manifest, value: str) -> Manifest:
    """Put a text into every field of a manifest that holds free text."""
    data = {"name": f"folder:{value}", "sha256": value}
    recipe = manifest.training["recipe"] | {"name": value, "optimizer": value}
    training = manifest.training | {"recipe": recipe, "device": value, "versions": {"torch": value, value: "1"}}
    return replace(
        manifest,
        name=value,
        architecture=value,
        licence=value,
        arguments={value: value},
        weights=replace(manifest.weights, file=value, sha256=value),
        training=training | {"data": training["data"] | data},
        scores=manifest.scores | {"test_data": manifest.scores["test_data"] | data},
        artifacts=tuple(
            replace(
                with_parity(one, data=one.parity["data"] | data),
                file=f"{one.format}{value}",
                format=one.format + value,
                precision=value,
                oldest_runtime=value,
            )
            for one in manifest.artifacts
        ),
    )


def report_of(found: Findings, value: str) -> tuple[Findings, Origin]:
    """The same report with a text in every field."""
    data = replace(found.data, name=f"folder:{value}")
    pictures = Pictures(value, evaluate_logits(found.logits, found.data))
    name = value.replace("/", "∕")
    model = store.Model(found.model.folder.parent / name, spoilt(found.model.manifest, value))
    command = f"mnist-edge train {value}"
    return replace(found, model=model, data=data, pictures=pictures), Origin(value, 0.9, command, True)


def shape(text: str) -> list[tuple[str, str]]:
    """What Markdown makes of a text, but for what is written in it."""
    shown: list[tuple[str, str]] = []

    def walk(tokens: list[Token]) -> None:
        for token in tokens:
            shown.append((token.type, str(token.attrs.get("src", "")) if token.type == "image" else token.tag))
            walk(token.children or [])

    walk(MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text))
    return shown


class Tags(HTMLParser):
    """The tags of a page, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(name for name, _ in attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def pictures() -> dict[str, dict[str, bytes]]:
    buffer = io.BytesIO()
    Image.new("RGB", (2, 2)).save(buffer, "PNG")
    names = ("curves", "confusion", "mistakes", "samples", "calibration", "artifacts")
    return {name: {theme.name: buffer.getvalue() for theme in (LIGHT, DARK)} for name in names}


def a_card(findings: Findings, origin: Origin) -> str:
    manifest = findings.model.manifest
    return card.card(findings, origin, has_weights=False, not_kept=manifest.artifacts[:1])


def a_table(findings: Findings, _: Origin) -> str:
    return table.table([table.Row(findings, {}), table.Row(findings, {}, elsewhere=frozenset({findings.model.artifacts[0].file}))])


@pytest.mark.parametrize("write", [a_card, a_table], ids=["card", "table"])
@pytest.mark.parametrize("value", [HOSTILE, SIGNS], ids=["hostile", "signs"])
def test_markdown_shows_what_it_is_told_and_nothing_else_changes(
    found: Findings, write: Callable[[Findings, Origin], str], value: str
) -> None:
    plain = write(*report_of(found, "plain"))
    text = write(*report_of(found, value))
    assert shape(text) == shape(plain)
    assert "\x1b" not in text and "\u202e" not in text


def test_the_licence_is_read_as_it_was_written(found: Findings) -> None:
    text = a_card(*report_of(found, HOSTILE))
    inlines = [token for token in MarkdownIt("commonmark").parse(text) if token.type == "inline"]
    shown = ["".join(child.content for child in token.children or []) for token in inlines]
    assert f"Licence of the weights: {printable(HOSTILE)}." in shown


@pytest.mark.parametrize("value", [HOSTILE, SIGNS], ids=["hostile", "signs"])
def test_the_page_shows_what_it_is_told_and_nothing_else_changes(found: Findings, value: str) -> None:
    plain, told = (Tags(page.page(*report_of(found, one), pictures())) for one in ("plain", value))
    assert told.tags == plain.tags
    assert f"Licence: {printable(value)}." in told.text
    assert "\x1b" not in told.text and "\u202e" not in told.text


def test_a_file_name_is_one_literal_in_the_samples(found: Findings) -> None:
    odd = replace(found.model.manifest.artifacts[0], file='a"\\);evil("b.onnx', runtime="ort")
    model = store.Model(found.model.folder, replace(found.model.manifest, artifacts=(odd,)))
    text = card.card(replace(found, model=model), Origin("", None, "", True))
    literal = r'("a\"\\);evil(\"b.onnx"'
    assert text.count(literal) == 3
    namespace: dict[str, Any] = {}
    exec(f"file = {literal[1:]}", namespace)
    assert namespace["file"] == odd.file


def test_a_licence_that_quotes_the_mark_makes_no_reference_of_a_card(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_bytes(marked(f"Licence of the weights: {REFERENCE_MARK}"))
    assert not is_reference(path)
    path.write_bytes(marked("text", REFERENCE_MARK))
    assert is_reference(path)
