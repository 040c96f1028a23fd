"""Pages of digits: what stands on them comes out, row by row, and what is no digit does not."""

import csv
import io
import json
import os
import re
import tempfile
from pathlib import Path

import numpy as np
import pytest
from once import lacking
from PIL import Image, ImageDraw
from sheets import REFERENCE, ROWS, clear_digits, page, touching

from mnist_edge import Predictor
from mnist_edge.common.errors import PictureError, UsageError
from mnist_edge.reading import Reading, reader


@pytest.fixture(scope="module")
def reference() -> Predictor:
    return Predictor.load(REFERENCE)


def found(reading: Reading) -> str:
    return reading.text.replace(" ", "")


TEXT = "12345/67890/31415"


def test_rows_are_read_from_top_to_bottom_and_digits_from_left_to_right(reference: Predictor) -> None:
    reading = reference.read(page(ROWS))
    assert reading.text == TEXT
    assert [len(row) for row in reading.rows] == [1, 1, 1]
    assert reading.ink == "dark" and reading.turned == 0 and reading.warnings == ()
    lefts = [digit.box[0] for digit in reading.digits[:5]]
    assert lefts == sorted(lefts)
    for i, digit in enumerate(reading.digits[:5]):  # the boxes are where the digits were put
        left, top, right, bottom = digit.box
        assert 60 + 72 * i <= left < right <= 60 + 72 * i + 60 and 60 <= top < bottom <= 120
        assert 0.5 < digit.confidence <= 1


def test_a_wide_gap_parts_two_numbers(reference: Predictor) -> None:
    assert reference.read(page(["123   45", "67   890"])).text == "123 45/67 890"


def test_rows_that_slope_and_digits_of_several_sizes(reference: Predictor) -> None:
    assert found(reference.read(page(["1234567890", "9876543210"], slope=0.12))) == "1234567890/9876543210"
    assert found(reference.read(page(["24680", "35795"], sizes=lambda j: 1.0 if j % 2 else 0.65))) == "24680/35795"


def test_light_ink_on_a_dark_ground_and_a_large_picture(reference: Predictor) -> None:
    assert found(reference.read(page(ROWS, paper=25, ink=240))) == TEXT
    large = page(ROWS, side=60, size=(600, 400)).resize((3600, 2400))
    reading = reference.read(large)
    assert found(reading) == TEXT and reading.size == (3600, 2400)
    assert max(digit.box[2] for digit in reading.digits) > 1500  # boxes are in the picture's own pixels


@pytest.mark.parametrize("lines", ["rules", "squares", "dotted"])
def test_lines_on_the_paper_are_no_digits_and_hide_none(lines: str, reference: Predictor) -> None:
    sheet = page(["40925", "71863"], side=64, size=(900, 420))
    pen = ImageDraw.Draw(sheet)
    for y in range(30, 420, 40):
        for x in range(0, 900, 6) if lines == "dotted" else (0,):
            pen.line((x, y, x + 2 if lines == "dotted" else 900, y), fill=150, width=2)
    if lines == "squares":
        for x in range(20, 900, 40):
            pen.line((x, 0, x, 420), fill=150, width=2)
    assert found(reference.read(sheet)) == "40925/71863"


def test_boxes_of_a_form_are_left_out(reference: Predictor) -> None:
    sheet = page(["2 7 4 0 9"], side=64, gap=20, size=(1000, 260))
    pen = ImageDraw.Draw(sheet)
    for j in range(0, 9, 2):
        x = 60 + j * 84
        pen.rectangle((x - 24, 40, x + 88, 144), outline=60, width=3)
    assert found(reference.read(sheet)) == "27409"


@pytest.mark.parametrize("turned", [0, 2])
@pytest.mark.parametrize("line", [2, 3])
@pytest.mark.parametrize("form", ["box", "comb"])
def test_low_boxes_and_combs_are_left_out(form: str, line: int, turned: int, reference: Predictor) -> None:
    """Their upright lines are hardly longer than the digits, and once were 1s."""
    sheet = page(["27409"], side=60, gap=13)
    pen = ImageDraw.Draw(sheet)
    for x in range(54, 54 + 5 * 73, 73):
        if form == "box":
            pen.rectangle((x, 54, x + 73, 127), outline=60, width=line)
        else:
            pen.line((x, 127, x + 73, 127), fill=60, width=line)
            for side in (x, x + 73):
                pen.line((side, 90, side, 127), fill=60, width=line)
    sheet = sheet.rotate(turned, Image.Resampling.BICUBIC, expand=True, fillcolor=235)
    assert found(reference.read(sheet)) == "27409"


@pytest.mark.parametrize("paper", ["ruled", "squared"])
def test_straight_ones_that_reach_from_line_to_line_are_no_sides_of_boxes(paper: str, reference: Predictor) -> None:
    """Three close to each other on ruled paper, and one in each of three squares on squared paper."""
    sheet = page(["  4567"], side=60, gap=24, size=(900, 240))
    pen = ImageDraw.Draw(sheet)
    for y in range(8, 240, 56):
        pen.line((0, y, 900, y), fill=150, width=2)
    if paper == "squared":
        for x in range(30, 900, 56):
            pen.line((x, 0, x, 240), fill=150, width=2)
    for x in (590, 612, 634) if paper == "ruled" else (618, 674, 730):
        pen.line((x, 66, x, 119), fill=40, width=5)
    assert found(reference.read(sheet)) == "4567111"


@pytest.mark.parametrize("digits", ["36", "3658", "365836"])
def test_touching_digits_are_cut_and_say_so(reference: Predictor, digits: str) -> None:
    reading = reference.read(touching(digits))
    assert found(reading) == digits
    assert all("cut from digits that touch" in digit.warnings for digit in reading.digits)


def test_a_digit_that_fills_a_small_picture_is_read(reference: Predictor) -> None:
    """Its strokes are a large part of the picture, and were once taken for paper."""
    for digit in (0, 2, 3, 4, 5, 6, 7, 8, 9):
        assert reference.read(clear_digits()[digit][0]).text == str(digit)


def test_signs_are_left_out(reference: Predictor) -> None:
    sheet = page(["3 5 4"], side=64, gap=16, size=(560, 200))
    pen = ImageDraw.Draw(sheet)
    pen.line((155, 92, 195, 92), fill=40, width=5)  # +
    pen.line((175, 72, 175, 112), fill=40, width=5)
    pen.line((315, 92, 355, 92), fill=40, width=5)  # -
    pen.ellipse((280, 118, 286, 124), fill=40)  # a decimal point
    assert reference.read(sheet).text == "3 5 4"


def test_a_flag_that_is_apart_belongs_to_its_five(reference: Predictor) -> None:
    sheet = Image.new("L", (300, 160), 245)
    pen = ImageDraw.Draw(sheet)
    for x in (40, 170):
        pen.line([(x + 8, 48), (x + 6, 74)], fill=30, width=6)
        pen.arc((x - 6, 68, x + 42, 122), 250, 140, fill=30, width=6)
        pen.line([(x + 20, 40), (x + 50, 38)], fill=30, width=6)  # does not touch
    assert found(reference.read(sheet)) == "55"


@pytest.mark.parametrize(("turn", "back"), [(90, 270), (180, 180), (270, 90)])
def test_a_page_on_its_side_or_upside_down_is_turned_and_says_so(turn: int, back: int, reference: Predictor) -> None:
    sheet = page(["2345723", "7432543"])
    turned = sheet.rotate(turn, expand=True)
    reading = reference.read(turned)
    assert found(reading) == "2345723/7432543" and reading.turned == back
    assert any(f"a turn by {back}°" in warning for warning in reading.warnings)
    upright = reference.read(sheet).digits[0].box
    left, top, right, bottom = reading.digits[0].box  # boxes are in the picture as it was given
    width, height = sheet.size
    there = {
        90: (upright[1], width - upright[2], upright[3], width - upright[0]),
        180: (width - upright[2], height - upright[3], width - upright[0], height - upright[1]),
        270: (height - upright[3], upright[0], height - upright[1], upright[2]),
    }[turn]
    assert max(abs(a - b) for a, b in zip((left, top, right, bottom), there, strict=True)) <= 2


@pytest.mark.parametrize("kind", ["white", "black", "noise", "gradient", "specks", "ruled", "squared", "frame"])
def test_a_page_without_writing_has_no_digits(kind: str, reference: Predictor) -> None:
    random = np.random.default_rng(5)
    sheet = Image.new("L", (900, 700), 0 if kind == "black" else 225)
    pen = ImageDraw.Draw(sheet)
    if kind == "noise":
        sheet = Image.fromarray((200 + random.normal(0, 12, (700, 900))).clip(0, 255).astype(np.uint8))
    elif kind == "gradient":
        sheet = Image.fromarray(np.linspace(60, 240, 900)[None].repeat(700, 0).astype(np.uint8))
    elif kind == "specks":
        for x, y in random.integers(0, 690, (40, 2)):
            pen.ellipse((x, y, x + 3, y + 3), fill=90)
    elif kind in ("ruled", "squared"):
        for at in range(25, 900, 38):
            pen.line((0, at, 900, at + 6), fill=150, width=2)
            if kind == "squared":
                pen.line((at, 0, at - 5, 700), fill=150, width=2)
    elif kind == "frame":
        pen.rectangle((50, 50, 850, 650), outline=40, width=4)
    reading = reference.read(sheet)
    assert reading.text == "" and reading.rows == ()


def test_a_page_of_letters_has_no_digits(reference: Predictor) -> None:
    sheet = Image.new("L", (1000, 420), 240)
    pen = ImageDraw.Draw(sheet)
    for i, line in enumerate(("the quick brown fox", "jumps over a lazy dog", "Name and Address")):
        pen.text((40, 40 + 120 * i), line, fill=30, font_size=72)
    assert reference.read(sheet).text == ""


@pytest.mark.parametrize("text", ["48 % 36", "20 % 40 %", "3 < 5 > 2", "2 ? 5 ! 3", "5 @ 6 # 8"])
def test_printed_signs_are_no_digits_and_hide_none(text: str, reference: Predictor) -> None:
    """A printed % was read as 0, 1 and 0, and digits beside # or @ were taken for letters."""
    sheet = Image.new("L", (900, 200), 245)
    ImageDraw.Draw(sheet).text((60, 60), text, fill=30, font_size=60)
    assert reference.read(sheet).text == " ".join(word for word in text.split() if word.isdigit())


def test_more_than_there_is_room_for_is_left_out_and_said(reference: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "MOST_PIECES", 10)
    reading = reference.read(page(ROWS))
    assert found(reading) == "12345/67890"
    assert reading.warnings == ("more than 10 pieces of ink: the lower 5 are left out",)


def test_one_batch_or_one_by_one(reference: Predictor) -> None:
    """A model whose answers change with the batch is given one image at a time."""
    sizes: list[int] = []

    def run(pixels: np.ndarray) -> np.ndarray:
        sizes.append(len(pixels))
        return reference.logits(pixels)

    together = Predictor(run, "a model").read(page(ROWS))
    assert sizes[0] >= 15 and len(sizes) <= 2
    sizes.clear()
    apart = Predictor(run, "a model", one_by_one=True).read(page(ROWS))
    assert set(sizes) == {1} and apart.text == together.text == TEXT


def test_float32_and_static_int8_read_a_page_in_one_batch(reference: Predictor) -> None:
    assert not reference.one_by_one
    assert not Predictor.load(REFERENCE / "lenet.int8-static.onnx").one_by_one


def test_doubts_come_from_the_model_too(reference: Predictor) -> None:
    strict = Predictor(reference.logits, "a model", threshold=1.0)
    assert all(any(warning.startswith("low confidence") for warning in digit.warnings) for digit in strict.read(page(ROWS)).digits)


def test_how_likely_it_is_a_digit_says_nothing_about_the_model() -> None:
    """The threshold is one of the model's own probability: a digit of which it is sure, but which looks like a sign, has another doubt."""

    def sure_of_a_zero(pixels: np.ndarray) -> np.ndarray:
        return np.tile(np.array([99.0] + [0.0] * 9, np.float32), (len(pixels), 1))

    digits = Predictor(sure_of_a_zero, "a model", threshold=0.9999).read(page(ROWS)).digits
    assert any(digit.confidence < 0.9999 for digit in digits)
    assert not any(warning.startswith("low confidence") for digit in digits for warning in digit.warnings)


def test_small_writing_is_read_alike_from_a_path_a_file_and_bytes(reference: Predictor, tmp_path: Path) -> None:
    path = tmp_path / "small.png"
    page(ROWS, side=26, size=(4000, 3000)).save(path)
    with path.open("rb") as file, tempfile.NamedTemporaryFile() as temporary:
        temporary.write(path.read_bytes())
        temporary.seek(0)
        given = [path, path.read_bytes(), io.BytesIO(path.read_bytes()), file, temporary]
        assert [found(reference.read(one)) for one in given] == [TEXT] * 5
    with pytest.raises(PictureError, match="closed file"):
        reference.read(file)


def test_a_long_receipt_with_a_line_of_small_writing_is_read(reference: Predictor) -> None:
    receipt = Image.new("L", (600, 5000), 235)
    receipt.paste(page(["2345678"], side=40, gap=10), (0, 0))
    assert found(reference.read(receipt)) == "2345678"


def test_what_is_no_picture_is_refused_as_before(reference: Predictor, tmp_path: Path) -> None:
    path = tmp_path / "text.png"
    path.write_text("no picture")
    with pytest.raises(PictureError, match=re.escape("text.png: not a picture")):
        reference.read(path)
    with pytest.raises(PictureError, match="too many pixels"):
        reference.read(Image.new("1", (5000, 5000)))
    with pytest.raises(UsageError, match="unknown ink"):
        reference.read(page(ROWS), ink="red")


def test_json_is_what_it_says(reference: Predictor) -> None:
    document = json.loads(json.dumps(reference.read(page(["12  34", "5"])).to_json()))
    assert document["text"] == "12 34/5" and document["turned"] == 0 and document["warnings"] == []
    assert [[digit["digit"] for digit in row] for row in document["rows"]] == [[1, 2, 3, 4], [5]]
    assert set(document["rows"][0][0]) == {"digit", "confidence", "box", "warnings"}


def test_the_picture_in_the_docs_is_read(reference: Predictor) -> None:
    """By the script that draws it: a shadow, squared paper, a plus, letters."""
    import draw_page

    assert reference.read(draw_page.page()).text == "0306 94217/58 67/2749"


@pytest.mark.proof
def test_real_pictures_are_read(reference: Predictor) -> None:
    """Photos, scans, tablets and forms of other people; the aim is an edit distance of 3 % and four pictures of five without an error."""
    if "MNIST_EDGE_TEST_SEVERAL" not in os.environ:
        lacking("set MNIST_EDGE_TEST_SEVERAL to a folder with labels.csv")
    import several_digits

    folder = Path(os.environ["MNIST_EDGE_TEST_SEVERAL"])
    with (folder / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    truths = [several_digits.digits_of(row["truth"]) for row in rows]
    errors = [
        several_digits.distance(several_digits.digits_of(reference.read(folder / row["file"]).text), truth)
        for row, truth in zip(rows, truths, strict=True)
    ]
    assert sum(errors) <= 0.03 * sum(map(len, truths))
    assert np.mean([error == 0 for error in errors]) >= 0.8
