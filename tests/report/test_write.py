"""A report on the disk: its page, its pictures, and nothing the user wrote is lost."""

import io
import re
from base64 import b64decode
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from conftest import answering, train_small
from PIL import Image, ImageColor

from mnist_edge.common.errors import ModelError, UsageError
from mnist_edge.dataset import Dataset
from mnist_edge.dataset.writers import Writers
from mnist_edge.report import figures, theme, write
from mnist_edge.report.findings import Findings
from mnist_edge.report.theme import DARK, LIGHT
from mnist_edge.report.write import FIGURES, draw_report, write_report
from mnist_edge.store.marks import REFERENCE_MARK, marked


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.sources: list[tuple[str, str]] = []
        self.tags: set[str] = set()
        self.alts: list[str | None] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        values = dict(attrs)
        for name in ("src", "srcset", "href"):
            if values.get(name) is not None:
                self.sources.append((str(values.get("media", "")), str(values[name])))
        if tag == "img":
            self.alts.append(values.get("alt"))


@pytest.mark.slow
def test_a_report_is_pictures_a_page_that_needs_nothing_else_and_a_card(found: Findings, monkeypatch: pytest.MonkeyPatch) -> None:
    found = replace(found, writers=Writers(np.zeros(len(found.data), int), np.arange(len(found.data)) % 9))
    files = draw_report(found)
    monkeypatch.setattr(write, "draw_report", lambda *given: files)
    write_report(found)
    written = write_report(found)  # over its own
    assert {path.name for path in written} == {f"{name}.png" for name in FIGURES} | {"report.html", "README.md"}
    page = Page((found.model.folder / "report.html").read_text())
    assert len(page.alts) == len(FIGURES) and all(page.alts)
    assert "script" not in page.tags and "link" not in page.tags
    for media, source in page.sources:
        kind, _, data = source.partition(",")
        assert kind == "data:image/png;base64"
        picture = Image.open(io.BytesIO(b64decode(data))).convert("RGB")
        paper = (DARK if "dark" in media else LIGHT).paper
        assert picture.getpixel((0, picture.height - 1)) == ImageColor.getrgb(paper)
    assert sum("dark" in media for media, _ in page.sources) == len(FIGURES)
    samples = Image.open(found.model.folder / "samples.png").convert("RGB")
    assert ImageColor.getrgb(LIGHT.panel) in {colour for _, colour in samples.getcolors(1 << 16) or []}  # which lies under each digit
    for name in FIGURES:
        assert Image.open(found.model.folder / f"{name}.png").width >= 600
    text = (found.model.folder / "README.md").read_text()
    assert f"{100 * found.evaluation.accuracy:.2f} %" in text
    for linked in re.findall(r"\]\(([^)]+)\)", text):
        assert (found.model.folder / linked).is_file()


def test_the_same_answers_give_the_same_picture(found: Findings) -> None:
    assert figures.confusion(found) == figures.confusion(found)


@pytest.mark.parametrize("wrong", ["all", "none"])
@pytest.mark.proof
def test_every_figure_stands_a_model_that_is_always_wrong_or_never(found: Findings, wrong: str) -> None:
    labels = found.data.labels[:40].tolist()
    answers = [(label + 1) % 10 if wrong == "all" else label for label in labels]
    some = answering(found, answers, [0.9] * 40)
    for draw in FIGURES.values():
        assert min(Image.open(io.BytesIO(draw(some, LIGHT))).size) > 100


@pytest.mark.slow
def test_no_label_shows_its_markup(found: Findings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model's name may hold a $, so figures show text as it is, and must not hold any TeX of matplotlib's own."""
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    seen: list[str] = []

    def to_png(figure: Figure) -> bytes:
        png = theme.to_png(figure)
        seen.extend(text.get_text() for text in figure.findobj(Text) if text.get_visible())
        return png

    monkeypatch.setattr(figures, "to_png", to_png)
    for draw in FIGURES.values():
        draw(found, LIGHT)
    assert len(seen) > 100
    assert not [text for text in seen if "$" in text]


def test_fewer_images_than_the_sample_grid_holds(found: Findings) -> None:
    assert Image.open(io.BytesIO(figures.samples(answering(found, [1, 2, 3], [0.5] * 3)))).width > 100


@pytest.mark.parametrize("name", ["README.md", "report.html", "mistakes.png"])
def test_a_file_of_the_users_own_is_not_overwritten(found: Findings, name: str) -> None:
    own = found.model.folder / name
    own.write_text("my notes")
    with pytest.raises(UsageError, match=rf"{name}: not written by mnist-edge report, so it stays"):
        write_report(found)
    assert own.read_text() == "my notes"
    assert not (found.model.folder / "samples.png").exists()


def test_a_folder_that_cannot_be_written_to_is_named(found: Findings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(UsageError, match=f"^{re.escape(str(found.model.folder))}: no permission"):
        write_report(found)


@pytest.mark.slow
def test_the_card_of_a_reference_model_stays(found: Findings, one_figure: None) -> None:
    card_of_a_clone = marked("with pictures that are not here", REFERENCE_MARK)
    (found.model.folder / "README.md").write_bytes(card_of_a_clone)
    written = [path.name for path in write_report(found)]
    assert "report.html" in written and "README.md" not in written
    assert (found.model.folder / "README.md").read_bytes() == card_of_a_clone


@pytest.mark.slow
def test_a_model_that_was_trained_anew_meanwhile_gets_no_old_report(
    found: Findings, one_figure: None, drawn_train: Dataset, drawn_test: Dataset
) -> None:
    train_small(found.model.folder.parent, data=drawn_train.first(240), test=drawn_test, seed=5)
    with pytest.raises(ModelError, match="trained again in the meantime"):
        write_report(found)
    assert not (found.model.folder / "report.html").exists()
