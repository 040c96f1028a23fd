"""``predict --several``: what is printed, drawn and refused."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import Command
from PIL import Image, ImageDraw, ImageFont
from sheets import REFERENCE, ROWS, page, touching

MODEL = ("--model", str(REFERENCE))


@pytest.fixture
def sheet(tmp_path: Path) -> Path:
    page(["123   45", "678   90"]).save(tmp_path / "sheet.png")
    return tmp_path / "sheet.png"


def test_a_line_a_row(sheet: Path, run_command: Command) -> None:
    done = run_command("predict", str(sheet), "--several", *MODEL)
    assert done.returncode == 0 and done.stdout == "123 45\n678 90\n"


def test_several_pages_are_named(sheet: Path, tmp_path: Path, run_command: Command) -> None:
    page(ROWS).save(tmp_path / "other.png")
    done = run_command("predict", str(sheet), str(tmp_path / "other.png"), "--several", *MODEL)
    assert done.stdout == f"{sheet}:\n123 45\n678 90\n{tmp_path / 'other.png'}:\n12345\n67890\n31415\n"


def test_json_has_a_line_a_picture(sheet: Path, run_command: Command) -> None:
    done = run_command("predict", str(sheet), "--several", "--json", *MODEL)
    row = json.loads(done.stdout)
    assert row["path"] == str(sheet) and row["text"] == "123 45/678 90"
    assert [[digit["digit"] for digit in digits] for digits in row["rows"]] == [[1, 2, 3, 4, 5], [6, 7, 8, 9, 0]]
    assert "error" not in row and row["milliseconds"] > 0


def test_a_page_without_a_digit_fails_in_one_line_and_does_not_stop_the_rest(sheet: Path, tmp_path: Path, run_command: Command) -> None:
    Image.new("L", (300, 200), 230).save(tmp_path / "bare.png")
    done = run_command(
        "predict", str(tmp_path / "bare.png"), str(tmp_path / "none.png"), str(sheet), "--several", "--json", *MODEL, check=1
    )
    bare, missing, good = map(json.loads, done.stdout.splitlines())
    assert done.returncode == 1
    assert bare["text"] == missing["text"] == "" and bare["rows"] == [] and good["text"] == "123 45/678 90"
    assert bare["error"].endswith("bare.png: no digit found") and missing["error"].endswith("none.png: no such file")
    assert "Traceback" not in done.stderr


def test_unsure_digits_are_marked(sheet: Path, run_command: Command) -> None:
    done = run_command("predict", str(sheet), "--several", "--min-confidence", "1", *MODEL, check=1)
    assert done.returncode == 1 and "?" in done.stdout
    assert "shown as ?; --min-confidence is 100" in done.stderr


def test_doubts_are_counted_and_where_to_see_them_is_said(sheet: Path, tmp_path: Path, run_command: Command) -> None:
    touching().save(tmp_path / "touching.png")
    done = run_command("predict", str(tmp_path / "touching.png"), "--several", *MODEL)
    assert done.stdout == "36\n"
    assert "touching.png: 2 digits of 2 may be wrong; --explain shows which, --json says why" in done.stderr
    drawn = run_command("predict", str(tmp_path / "touching.png"), "--several", "--explain", str(tmp_path / "drawn.png"), *MODEL)
    assert drawn.stderr.rstrip().endswith("2 digits of 2 may be wrong; --json says why")
    assert "may be wrong" not in run_command("predict", str(sheet), "--several", *MODEL).stderr


def test_a_page_of_letters_says_what_it_looks_like(tmp_path: Path, run_command: Command) -> None:
    sheet = Image.new("L", (900, 200), 235)
    ImageDraw.Draw(sheet).text((60, 60), "HEAR MANY WORDS", 40, ImageFont.load_default(60))
    sheet.save(tmp_path / "letters.png")
    done = run_command("predict", str(tmp_path / "letters.png"), "--several", *MODEL, check=1)
    assert "letters.png: no digit found" in done.stderr
    assert "letters.png: what is on the page looks like letters or signs, not like digits" in done.stderr


def test_one_digit_is_sought_on_a_page_and_the_error_names_the_option(sheet: Path, run_command: Command) -> None:
    """A page of many small digits looks like specks to whoever seeks one."""
    page(["1234567890"] * 12, side=20, size=(1500, 1500)).save(sheet)
    done = run_command("predict", str(sheet), *MODEL, check=1)
    assert "no digit found, only " in done.stderr and done.stderr.rstrip().endswith("; if it is a page of digits, --several reads all")


def test_a_long_warning_on_a_narrow_picture_is_drawn_whole(tmp_path: Path, run_command: Command) -> None:
    page(["3456789"], size=(700, 190)).rotate(90, expand=True).save(tmp_path / "turned.png")
    done = run_command("predict", str(tmp_path / "turned.png"), "--several", "--explain", str(tmp_path / "out.png"), *MODEL)
    (warning,) = [line for line in done.stderr.splitlines() if "on its side" in line]
    words = warning.partition("turned.png: ")[2]
    assert Image.open(tmp_path / "out.png").width >= ImageFont.load_default(15).getlength(f"! {words}")


def test_explain_draws_every_box(sheet: Path, tmp_path: Path, run_command: Command) -> None:
    out = tmp_path / "explained.png"
    assert run_command("predict", str(sheet), "--several", "--explain", str(out), *MODEL).returncode == 0
    drawn, given = np.asarray(Image.open(out).convert("RGB")).astype(int), np.asarray(Image.open(sheet))
    assert drawn.shape[1] >= given.shape[1]
    blue = (drawn[..., 2] - drawn[..., 0] > 120).sum()
    assert blue > 10 * 100  # ten boxes and digits


@pytest.mark.parametrize("more", [["--csv"], ["--save-input", "OUT.png"], ["--engine", "ray", "--output", "OUT"]])
def test_what_does_not_go_with_pages_is_refused(more: list[str], sheet: Path, run_command: Command) -> None:
    done = run_command("predict", str(sheet), "--several", *more, *MODEL, check=2)
    assert done.returncode == 2 and "and --several cannot be used together" in done.stderr


def test_without_the_option_the_warning_names_it(sheet: Path, run_command: Command) -> None:
    done = run_command("predict", str(sheet), "--json", *MODEL)
    assert json.loads(done.stdout)["warnings"][0] == "more than one digit? the most central is read; --several reads all"
