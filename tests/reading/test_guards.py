"""Each rule by which pages are read, on a picture where it decides: without the rule, the test fails."""

import json

import made_pages
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from sheets import REFERENCE, page, touching

from mnist_edge import Predictor
from mnist_edge.reading import choosing, parts, rules, sense


@pytest.fixture(scope="module")
def reference() -> Predictor:
    return Predictor.load(REFERENCE)


def test_what_a_gap_has_parted_across_is_one_digit(reference: Predictor) -> None:
    """As where a rule of the paper was taken out, or a pen has failed."""
    whole = page(["5834726"], side=80, gap=20)
    for digit in reference.read(whole).digits[:3]:
        left, top, right, bottom = digit.box
        sheet, middle = np.asarray(whole).copy(), (top + bottom) // 2 - 4
        sheet[middle - 3 : middle + 3, left - 4 : right + 4] = 235
        assert reference.read(Image.fromarray(sheet)).text == "5834726"


def test_strokes_beside_each_other_are_one_digit(reference: Predictor) -> None:
    """A 4 whose two strokes do not touch."""
    sheet = Image.new("L", (420, 180), 245)
    pen = ImageDraw.Draw(sheet)
    for x in (40, 170, 300):
        pen.line([(x + 6, 40), (x, 84), (x + 32, 84)], fill=30, width=6, joint="curve")
        pen.line([(x + 43, 44), (x + 41, 128)], fill=30, width=6)
    assert reference.read(sheet).text == "444"


def test_rings_around_digits_are_no_digits(reference: Predictor) -> None:
    sheet = page(["3  5  4"], side=64, gap=16, size=(700, 200))
    pen = ImageDraw.Draw(sheet)
    for x in (92, 332, 572):
        pen.ellipse((x - 50, 42, x + 50, 142), outline=40, width=3)
    assert reference.read(sheet).text.replace(" ", "") == "354"


def test_digits_that_stand_on_a_short_line_and_touch_it(reference: Predictor) -> None:
    """All ink is one piece then, as long as no digit is high."""
    sheet = page(["27409"], side=64, gap=10, size=(1600, 500))
    ImageDraw.Draw(sheet).line((60, 111, 440, 113), fill=60, width=4)
    assert reference.read(sheet).text == "27409"


def test_a_stroke_and_nothing_else_is_no_digit(reference: Predictor) -> None:
    sheet = Image.new("L", (300, 220), 240)
    ImageDraw.Draw(sheet).line((150, 60, 146, 160), fill=30, width=7)
    assert reference.read(sheet).rows == ()


def test_the_edge_of_a_sheet_is_no_digit(reference: Predictor) -> None:
    """It is thinner and fainter than the writing; a thin stroke in the writing's ink is a 1."""
    sheet = page(["2745"], side=60, gap=12, size=(500, 240))
    for ink, read in ((110, "2745"), (60, "12745")):
        edged = sheet.copy()
        ImageDraw.Draw(edged).line((40, 70, 41, 112), fill=ink, width=2)
        assert "".join(filter(str.isdigit, reference.read(edged).text)) == read


def test_what_looks_like_a_digit_among_signs_is_none(reference: Predictor) -> None:
    sheet = page(["5"], side=60, size=(700, 240))
    few, many = sheet.copy(), sheet.copy()
    ImageDraw.Draw(few).text((200, 50), "+ % =", fill=40, font_size=60)
    ImageDraw.Draw(many).text((200, 50), "+ % # ( % + % @ )", fill=40, font_size=48)
    assert (reference.read(few).text, reference.read(many).text) == ("5", "")


def test_ink_that_differs_from_its_paper_in_one_colour_is_found(reference: Predictor) -> None:
    grey = np.asarray(page(["2745"]))
    assert reference.read(Image.fromarray(np.stack([np.full_like(grey, 225), grey, grey], axis=-1))).text == "2745"


def test_a_digit_at_the_border_gets_a_warning(reference: Predictor) -> None:
    sheet = np.asarray(page(["2745"], side=80, gap=20))[:, 85:]
    first, *others = reference.read(Image.fromarray(sheet)).digits
    said = "reaches the picture's border"
    assert said in first.warnings and not any(said in one.warnings for one in others)


@pytest.mark.parametrize("slant", [0.25, 0.5, -0.25])
def test_a_cut_between_digits_follows_their_slant(slant: float) -> None:
    drawing = Image.new("1", (140, 110))
    pen = ImageDraw.Draw(drawing)
    apart = 14 + 40 * abs(slant)  # so near that no upright line passes between them
    for x in (40, 40 + apart):
        pen.line((x + slant * 40, 15, x - slant * 40, 95), fill=1, width=9)
    pen.line((40, 55, 40 + apart, 55), fill=1, width=4)  # what joins them
    rows, columns = np.nonzero(np.asarray(drawing))
    mask = np.asarray(drawing)[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    pieces = parts.slices(parts.Part(0, mask.shape[0], 0, mask.shape[1], mask, 1.0), 80)
    strokes = [piece for piece in pieces if piece.height > 76]
    assert len(strokes) == 2
    for stroke in strokes:  # one stroke each, and nothing of the other
        assert 650 < stroke.mask.sum() < 950 and stroke.width < 1.2 * (9 + abs(slant) * 80) + 16


def test_a_line_of_dots_is_a_rule_and_what_crosses_it_is_not() -> None:
    mask = np.zeros((200, 400), np.bool_)
    for x in range(10, 390, 5):
        mask[100:103, x : x + 3] = True
    mask[60:140, 200:206] = True
    across, down = rules.find_rules(mask, 100)
    left = mask & ~(across | down)
    assert left[60:140, 200:206].all() and left.sum() == 80 * 6


def _way(sure: float, height: int, width: int = 40, strength: int = 1, digit: int = 3) -> choosing.Character:
    part = parts.Part(0, height, 0, width, np.ones((height, width), np.bool_), float(height * width * strength))
    return choosing.Character(part, np.zeros((28, 28), np.uint8), digit, sure, (1.0, 0.0, 0.0), cut=True)


@pytest.mark.parametrize(
    ("sure", "height", "parted"),
    [(0.9, 80, True), (0.65, 80, True), (0.45, 80, False), (0.9, 40, False)],
)
def test_slices_have_to_be_digits_surely_and_as_high(sure: float, height: int, parted: bool) -> None:
    """Even where the whole is surer not to be one: half of a letter is no digit."""
    ways = {(0, 1): _way(0.9, 80), (1, 2): _way(sure, height)}
    chosen = choosing._best_path(ways, _way(0.05, 80, 80), 2)
    assert (len(chosen) == 2) == parted


def test_one_slice_among_many_may_be_doubtful_but_not_most_of_them_mere_strokes() -> None:
    whole = _way(0.05, 80, 160)
    doubtful = {(i, i + 1): _way(0.3 if i == 2 else 1.0, 80) for i in range(4)}
    assert len(choosing._best_path(doubtful, whole, 4)) == 4
    of_a_w = {(i, i + 1): _way(1.0, 80, 10, digit=1) for i in range(4)}
    assert choosing._best_path(of_a_w, whole, 4) == [whole]


def test_what_is_asked_about_slices_has_a_limit(reference: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page full of scribbles is answered in seconds."""
    sheet = np.vstack(
        [np.pad(np.asarray(touching(digits)), ((0, 0), (0, 396 - 44 * len(digits))), constant_values=255) for digits in ("365836", "36")]
    )
    asked: list[int] = []
    ask = choosing.ask
    monkeypatch.setattr(
        choosing, "ask", lambda ink, found, *more, **cut: (asked.append(len(found) if cut else 0), ask(ink, found, *more, **cut))[1]
    )
    assert reference.read(Image.fromarray(sheet)).text == "365836/36"
    everything = sum(asked)
    monkeypatch.setattr(choosing, "_MOST_SPANS", 1)
    asked.clear()
    assert reference.read(Image.fromarray(sheet)).text == "36"  # the narrowest first
    assert sum(asked) < everything - 10


def test_no_ink_is_lost_between_many_slices() -> None:
    mask = np.zeros((60, 1325), np.bool_)
    mask[25:32] = True
    mask[:, 5::11] = True
    pieces = parts.slices(parts.Part(0, 60, 0, 1325, mask, 1.0), 60)
    assert len(pieces) > 100 and sum(int(piece.mask.sum()) for piece in pieces) == mask.sum()


@pytest.mark.parametrize(("strength", "read"), [(150, True), (50, False)])
def test_a_digit_alone_that_is_not_quite_sure_counts_if_its_ink_is_strong(strength: int, read: bool) -> None:
    """Shadows of empty pages are faint."""
    assert any(sense.only_digits([[[_way(0.8, 60, strength=strength)]]], 60)) == read


@pytest.mark.parametrize("letter", ["a", "D"])
def test_a_letter_alone_that_looks_like_a_digit_is_at_least_doubted(reference: Predictor, letter: str) -> None:
    sheet = Image.new("L", (300, 260), 240)
    ImageDraw.Draw(sheet).text((100, 80), letter, fill=40, font=ImageFont.load_default(90))
    assert all("perhaps no digit" in digit.warnings for digit in reference.read(sheet).digits)


def test_a_table_of_printed_digits(reference: Predictor) -> None:
    """Without 1, whose printed form is a question to the network and not to the page."""
    numbers = [[str(n * 137 % 1000).replace("1", "2") for n in range(6 * row, 6 * row + 6)] for row in range(5)]
    sheet = Image.new("L", (1200, 600), 250)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(44)
    for i, row in enumerate(numbers):
        for j, number in enumerate(row):
            pen.rectangle((60 + j * 180, 60 + i * 95, 240 + j * 180, 155 + i * 95), outline=60, width=2)
            pen.text((90 + j * 180, 80 + i * 95), number, fill=20, font=font)
    assert reference.read(sheet).text == "/".join(" ".join(row) for row in numbers)


@pytest.mark.proof
@pytest.mark.parametrize("kind", made_pages.KINDS)
def test_made_pages_are_the_same_each_time_and_each_of_its_own(kind: str) -> None:
    first = made_pages.page(kind, 3)
    assert first.tobytes() == made_pages.page(kind, 3).tobytes()
    assert first.tobytes() != made_pages.page(kind, 4).tobytes() and first.tobytes() != made_pages.page(kind, 3, seed=1).tobytes()


def test_made_pages_of_letters_have_ink_and_the_figures_count(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A digit on each page is seen as what it is: with numbers in place of words, no page is without a digit."""
    assert np.asarray(made_pages.page("letters", 0).convert("L")).min() < 120
    monkeypatch.setattr(made_pages, "_TEXT", "2753 8846 3925")
    arguments = ["made_pages.py", "--pages", "2", "--only", "letters", "--model", str(REFERENCE)]
    monkeypatch.setattr("sys.argv", arguments)
    made_pages.main()
    kind, total = map(json.loads, capsys.readouterr().out.splitlines())
    assert kind == {"kind": "letters", "pages": 2, "without_digit": 0}
    assert total == {"all": "with letters or signs", "pages": 2, "without_digit": 0, "share": 0.0}
