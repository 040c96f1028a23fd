"""The server's page in a real Chromium, with real events: pages of several digits, drawn and chosen."""

import base64
import json
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsing import draw
from conftest import ROOT, Command
from PIL import Image
from serving_process import Running
from sheets import REFERENCE, clear_digits, page

from mnist_edge import Predictor

pytestmark = pytest.mark.proof

SEVEN = [(0.08, 0.15), (0.2, 0.15), (0.12, 0.44)]
ONE = [(0.35, 0.12), (0.35, 0.44)]
FOUR = [[(0.1, 0.6), (0.1, 0.77), (0.22, 0.77)], [(0.19, 0.6), (0.19, 0.93)]]

#: Where a box may be off on the screen, in pixels of the picture: the box is drawn 3 pixels outside.
NEAR = 8

#: As long as a dash and the gap after it, in pixels of the screen.
DASH = 8


@pytest.fixture
def visit(browser: Any, server: Running) -> Iterator[Callable[..., Any]]:
    """Open the page in a fresh context; an error of the page, or a breach of its policy, fails the test."""
    contexts: list[Any] = []
    problems: list[str] = []

    def go(mode: str = "several", **how: Any) -> Any:
        contexts.append(browser.new_context(**how))
        shown = contexts[-1].new_page()
        shown.on("pageerror", lambda error: problems.append(str(error)))
        shown.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        shown.goto(f"http://127.0.0.1:{server.port}/")
        shown.wait_for_selector('html[data-state="ready"]')
        if mode == "several":
            shown.get_by_text("Several digits", exact=True).click()
        return shown

    yield go
    for context in contexts:
        context.close()
    assert problems == []


def reads(shown: Any, text: str) -> None:
    """Wait until the page shows rows of digits."""
    shown.wait_for_function("text => document.getElementById('text').textContent === text", arg=text, timeout=20_000)


def boxes(shown: Any, colour: str = "--accent") -> np.ndarray:
    """Return where the board has a colour of boxes, bool, in pixels of the screen."""
    found = shown.evaluate(
        """async (name) => {
            const board = document.getElementById("board");
            const [r, g, b] = getComputedStyle(board).getPropertyValue(name).match(/[0-9a-f]{2}/gi).map((part) => parseInt(part, 16));
            const { data, width, height } = board.getContext("2d").getImageData(0, 0, board.width, board.height);
            const at = [];
            for (let i = 0; i < width * height; i++)
                if (Math.abs(data[4 * i] - r) + Math.abs(data[4 * i + 1] - g) + Math.abs(data[4 * i + 2] - b) < 30) at.push(i);
            return { width, height, at };
        }""",
        colour,
    )
    mask = np.zeros(found["width"] * found["height"], np.bool_)
    mask[found["at"]] = True
    return mask.reshape(found["height"], found["width"])


def all_boxes(shown: Any) -> np.ndarray:
    """Return where any box is: in blue, or dashed and of another colour where the digit is in doubt."""
    return boxes(shown) | boxes(shown, "--doubt")


def assert_boxes_are_at(shown: Any, expected: list[tuple[int, ...]], size: tuple[int, int]) -> None:
    """Compare the boxes on the board with boxes in a picture of a size, whose middle is the board's."""
    mask = all_boxes(shown)
    scale = min(mask.shape[1] / size[0], mask.shape[0] / size[1])
    left, top = (mask.shape[1] - size[0] * scale) / 2, (mask.shape[0] - size[1] * scale) / 2
    for x0, y0, x1, y1 in expected:
        middle = round(top + scale * (y0 + y1) / 2)
        for x in (x0, x1):
            at = round(left + scale * x)
            assert mask[middle - DASH : middle + DASH, max(0, at - NEAR) : at + NEAR].any(), (x0, y0, x1, y1)


def test_digits_are_drawn_in_rows_and_read(visit: Callable[..., Any]) -> None:
    shown = visit()
    draw(shown, [SEVEN, ONE, *FOUR])
    reads(shown, "71\n4")
    assert shown.inner_text("#count").startswith("3 digits in 2 rows, ")
    assert shown.inner_text("#spoken").startswith("3 digits in 2 rows. Row 1: 7 1. Row 2: 4.")  # how sure the model is may follow
    assert shown.get_attribute("#spoken", "role") == "status"
    mask = all_boxes(shown)
    high, wide = mask.shape
    for x0, x1, y in ((0.08, 0.2, 0.3), (0.35, 0.35, 0.3), (0.1, 0.22, 0.7)):  # left and right of each digit
        row = mask[round(y * high) - DASH : round(y * high) + DASH].any(axis=0)
        assert row[round(x0 * wide) - 25 : round(x0 * wide)].any() and row[round(x1 * wide) : round(x1 * wide) + 25].any()
    shown.click("#undo")
    shown.click("#undo")
    reads(shown, "71")
    shown.click("#clear")
    reads(shown, "")
    assert not boxes(shown).any() and shown.locator("#clear").is_disabled() and shown.inner_text("#count") == ""
    shown.click("#undo")
    reads(shown, "71")


def test_the_mode_is_chosen_with_the_keyboard_and_keeps_the_drawing(visit: Callable[..., Any]) -> None:
    shown = visit("one")
    draw(shown, [[(0.1, 0.3), (0.35, 0.3), (0.2, 0.7)], [(0.88, 0.25), (0.88, 0.72)]])
    shown.wait_for_function("() => document.getElementById('note').textContent.includes('More than one digit?')")
    assert shown.inner_text("#note").startswith("More than one digit? the most central is read; choose “Several digits” above to read all.")
    shown.keyboard.press("Shift+Tab")
    assert shown.evaluate("document.activeElement.value") == "one"
    shown.keyboard.press("ArrowRight")
    reads(shown, "71")
    assert shown.get_by_role("radio", name="Several digits").is_checked()
    shown.keyboard.press("ArrowLeft")
    shown.wait_for_function("() => '71'.includes(document.getElementById('digit').textContent)")
    assert shown.locator("#several").is_hidden() and not boxes(shown).any()


def test_a_chosen_pasted_or_dropped_page_is_read_as_the_command_reads_it(
    visit: Callable[..., Any], run_command: Command, tmp_path: Path
) -> None:
    sheet = page(["123   45", "678   90"])
    sheet.save(tmp_path / "sheet.png")
    said = json.loads(run_command("predict", tmp_path / "sheet.png", "--several", "--json", "--model", REFERENCE).stdout)
    expected = [tuple(one["box"]) for row in said["rows"] for one in row]
    shown = visit()
    shown.set_input_files("#file", tmp_path / "sheet.png")
    reads(shown, "123 45\n678 90")
    assert_boxes_are_at(shown, expected, sheet.size)
    encoded = base64.b64encode((tmp_path / "sheet.png").read_bytes()).decode()
    for kind, place in (("paste", "clipboardData"), ("drop", "dataTransfer")):
        shown.click("#clear")
        reads(shown, "")
        shown.evaluate(
            """([kind, place, encoded]) => {
                const bytes = Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0));
                const transfer = new DataTransfer();
                transfer.items.add(new File([bytes], "sheet.png", { type: "image/png" }));
                const Kind = kind === "paste" ? ClipboardEvent : DragEvent;
                document.body.dispatchEvent(new Kind(kind, { [place]: transfer, bubbles: true, cancelable: true }));
            }""",
            [kind, place, encoded],
        )
        reads(shown, "123 45\n678 90")
    draw(shown, [SEVEN])  # a stroke begins a drawing of its own
    reads(shown, "7")
    assert shown.evaluate("document.getElementById('spoken').textContent").startswith("1 digit in 1 row. 7.")


def test_the_text_is_copied_and_selected(visit: Callable[..., Any], tmp_path: Path) -> None:
    page(["271", "828"]).save(tmp_path / "sheet.png")
    shown = visit(permissions=["clipboard-read", "clipboard-write"])
    shown.set_input_files("#file", tmp_path / "sheet.png")
    reads(shown, "271\n828")
    shown.click("#copy")
    shown.wait_for_function("() => document.getElementById('copy').textContent === 'Copied'")
    assert shown.evaluate("navigator.clipboard.readText()") == "271\n828"
    shown.locator("#text").click(click_count=3, position={"x": 20, "y": 15})
    assert shown.evaluate("getSelection().toString()").startswith("271")


def test_a_photo_that_lies_on_its_side_and_one_that_is_large(visit: Callable[..., Any], tmp_path: Path) -> None:
    """Boxes are where the digits are seen: after the turn that the file asks for, and where the page has sent a smaller picture."""
    sheet = page(["2345723", "7432543"])
    exif = Image.Exif()
    exif[274] = 6
    sheet.rotate(90, expand=True).save(tmp_path / "turned.jpg", exif=exif, quality=95)
    noisy = np.asarray(sheet.resize((4500, sheet.height * 4500 // sheet.width)).convert("RGB")).astype(int)
    noisy = noisy + np.random.default_rng(0).integers(0, 12, noisy.shape)
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(tmp_path / "large.png")
    assert (tmp_path / "large.png").stat().st_size > 8 * 2**20
    shown = visit()
    expected = [one.box for one in Predictor.load(REFERENCE).read(sheet).digits]
    for name in ("turned.jpg", "large.png"):
        shown.set_input_files("#file", tmp_path / name)
        reads(shown, "2345723\n7432543")
        assert_boxes_are_at(shown, expected, sheet.size)
        shown.click("#clear")
        reads(shown, "")


def test_doubts_and_warnings_are_shown_and_said(visit: Callable[..., Any], tmp_path: Path) -> None:
    sheet = np.full((160, 220), 255, np.uint8)
    for x, digit in ((40, 3), (84, 6)):
        one = np.asarray(Image.fromarray(clear_digits()[digit][1]).resize((84, 84), Image.Resampling.BICUBIC))
        sheet[40:124, x : x + 84] = np.minimum(sheet[40:124, x : x + 84], 255 - one)
    sheet[78:84, 76:112] = 0
    Image.fromarray(sheet).save(tmp_path / "touching.png")
    page(["2345723", "7432543"]).rotate(180).save(tmp_path / "turned.png")
    Image.new("L", (300, 200), 230).save(tmp_path / "bare.png")
    shown = visit()
    shown.set_input_files("#file", tmp_path / "touching.png")
    reads(shown, "36")
    doubts = shown.locator("#doubts li").all_inner_texts()
    assert [text.partition(":")[0] for text in doubts] == ["Row 1, digit 1", "Row 1, digit 2"]
    assert all("sure; cut from digits that touch" in text for text in doubts) and "2 in doubt." in shown.inner_text("#spoken")
    assert boxes(shown, "--doubt").any() and not boxes(shown).any()
    shown.set_input_files("#file", tmp_path / "turned.png")
    reads(shown, "2345723\n7432543")
    assert shown.inner_text("#note") == "The writing is upside down: read after a turn by 180° counter-clockwise."
    shown.set_input_files("#file", tmp_path / "bare.png")
    shown.wait_for_function("() => document.getElementById('note').textContent === 'No digit found.'")
    assert shown.inner_text("#text") == "" and shown.inner_text("#spoken") == "No digit found." and shown.locator("#copy").is_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_with_a_finger_on_a_phone(scheme: str, visit: Callable[..., Any]) -> None:
    shown = visit(has_touch=True, is_mobile=True, viewport={"width": 390, "height": 844}, color_scheme=scheme)
    box = shown.locator("#board").bounding_box()
    touch = shown.context.new_cdp_session(shown)

    def send(kind: str, *places: tuple[float, float]) -> None:
        points = [{"x": box["x"] + x * box["width"], "y": box["y"] + y * box["height"], "id": i} for i, (x, y) in enumerate(places)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    for corners in (SEVEN, ONE):
        send("touchStart", corners[0])
        for a, b in pairwise(corners):
            for step in range(1, 11):
                send("touchMove", (a[0] + (b[0] - a[0]) * step / 10, a[1] + (b[1] - a[1]) * step / 10))
        send("touchEnd")
    reads(shown, "71")
    assert boxes(shown).any()
    assert shown.evaluate("window.scrollY") == 0
    assert shown.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_a_page_of_many_digits_stays_within_the_screen(visit: Callable[..., Any], tmp_path: Path) -> None:
    page(["1234567890" * 3] * 2, side=40).save(tmp_path / "long.png")
    shown = visit(viewport={"width": 390, "height": 844})
    shown.set_input_files("#file", tmp_path / "long.png")
    shown.wait_for_function("() => document.getElementById('count').textContent.startsWith('60 digits in 2 rows')")
    assert shown.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_a_photo_of_one_digit_is_still_read_as_one(visit: Callable[..., Any]) -> None:
    shown = visit("one")
    shown.set_input_files("#file", ROOT / "docs" / "photo.jpg")
    shown.wait_for_function("() => document.getElementById('digit').textContent === '5'")
    assert shown.evaluate("document.getElementById('spoken').textContent").startswith("5, ")
