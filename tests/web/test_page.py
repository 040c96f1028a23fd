"""The page in a real Chromium, with real pointer events: drawing, pictures, the keyboard, refusals, and what it asks the network for."""

import base64
import functools
import http.server
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pages
import pytest
import sheets
from browsing import draw
from once import once
from PIL import Image

from mnist_edge.dataset import Dataset
from mnist_edge.image import prepare
from mnist_edge.runtimes import RUNTIMES

pytestmark = pytest.mark.proof

#: Strokes of digits, in shares of the board.
SEVEN = [[(0.3, 0.2), (0.7, 0.2), (0.45, 0.8)]]
FIVE = [[(0.68, 0.2), (0.38, 0.2), (0.35, 0.45), (0.5, 0.4), (0.65, 0.48), (0.68, 0.62), (0.6, 0.76), (0.45, 0.8), (0.33, 0.72)]]
ONE = [[(0.5, 0.2), (0.5, 0.8)]]


class Site:
    """A server for a folder, at a path of its own; it keeps what it was asked for, and can go away."""

    def __init__(self, folder: Path, policy: str = "") -> None:
        site = self

        class Handler(http.server.SimpleHTTPRequestHandler):
            def end_headers(self) -> None:
                if policy:
                    self.send_header("Content-Security-Policy", policy)
                super().end_headers()

            def log_message(self, *_: Any) -> None:
                site.asked.append(self.path)

        self.asked: list[str] = []
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(scope="module")
def int8(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return once(tmp_path_factory, "page-int8", lambda folder: pages.write(folder / "lenet.web")) / "lenet.web"


@pytest.fixture
def serve() -> Iterator[Callable[..., Site]]:
    sites: list[Site] = []

    def start(folder: Path, policy: str = "") -> Site:
        sites.append(Site(folder, policy))
        return sites[-1]

    yield start
    for site in sites:
        site.close()


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Any]]:
    """Open an address in a fresh context; what goes wrong on the page fails the test, unless it is meant to."""
    contexts: list[Any] = []
    problems: list[str] = []

    def go(url: str, state: str = "ready", **how: Any) -> Any:
        contexts.append(browser.new_context(**how))
        page = contexts[-1].new_page()
        page.requests = []
        page.on("request", lambda request: page.requests.append(request.url))
        if state == "ready":
            page.on("pageerror", lambda error: problems.append(str(error)))
            page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.goto(url)
        page.wait_for_selector(f'html[data-state="{state}"]', timeout=30_000)
        return page

    yield go
    for context in contexts:
        context.close()
    assert problems == []


def answer(page: Any, expected: str) -> None:
    """Wait for an answer: it comes a moment after the pen rests."""
    page.wait_for_function("expected => document.getElementById('digit').textContent === expected", arg=expected, timeout=20_000)


def state(page: Any) -> dict[str, Any]:
    """Return what the page holds: the picture that it read, and the 28×28 that it shows."""
    return page.evaluate(
        """async () => {
            const { page } = await import("./page.js");
            const picture = page.picture();
            const seen = document.getElementById("seen").getContext("2d").getImageData(0, 0, 28, 28).data;
            return { width: picture?.width, height: picture?.height, picture: picture && Array.from(picture.data),
                     seen: Array.from(seen.filter((_, i) => i % 4 === 0)), spoken: document.getElementById("spoken").textContent };
        }"""
    )


def test_drawing_undo_and_clear(int8: Path, serve: Callable[..., Site], visit: Callable[..., Any]) -> None:
    page = visit(serve(int8).url)
    assert page.text_content("#state") == "Self-test passed: on 40 golden inputs this browser answered as PyTorch did."
    assert page.locator("#undo").is_disabled() and page.locator("#clear").is_disabled()
    draw(page, SEVEN)
    answer(page, "7")
    assert page.locator("#bars li").count() == 10 and page.locator("#bars li.top").text_content().startswith("7")
    assert "ms" in page.text_content("#time") and state(page)["spoken"].startswith("7, ")
    page.click("#clear")
    answer(page, "–")
    draw(page, ONE)
    answer(page, "1")
    page.click("#undo")
    answer(page, "–")
    page.click("#undo")  # the clearing
    answer(page, "7")
    page.keyboard.press("Control+z")
    answer(page, "–")
    assert page.locator("#undo").is_disabled()


def test_what_is_drawn_is_placed_as_in_python(int8: Path, serve: Callable[..., Site], visit: Callable[..., Any]) -> None:
    page = visit(serve(int8).url)
    for strokes, digit, pen in ((SEVEN, "7", 14), (FIVE, "5", 8), (ONE, "1", 26)):
        page.evaluate("width => { document.getElementById('pen').value = width; }", pen)
        draw(page, strokes)
        answer(page, digit)
        now = state(page)
        pixels = np.array(now["picture"], np.uint8).reshape(now["height"], now["width"], 4)
        here = prepare(Image.fromarray(pixels), "dark").pixels.ravel().astype(int)
        assert np.abs(np.array(now["seen"]) - here).max() <= 1
        page.click("#clear")


def test_finger_and_pen(int8: Path, serve: Callable[..., Site], visit: Callable[..., Any]) -> None:
    page = visit(serve(int8).url, has_touch=True, is_mobile=True, viewport={"width": 390, "height": 844})
    box = page.locator("#board").bounding_box()
    touch = page.context.new_cdp_session(page)

    def send(kind: str, *places: tuple[float, float]) -> None:
        points = [{"x": box["x"] + x * box["width"], "y": box["y"] + y * box["height"], "id": i} for i, (x, y) in enumerate(places)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    (corners,) = SEVEN
    send("touchStart", corners[0])
    for a, b in pairwise(corners):
        for step in range(1, 11):
            send("touchMove", (a[0] + (b[0] - a[0]) * step / 10, a[1] + (b[1] - a[1]) * step / 10))
    send("touchEnd")
    answer(page, "7")
    assert page.evaluate("window.scrollY") == 0
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_the_keyboard_alone(int8: Path, serve: Callable[..., Site], visit: Callable[..., Any]) -> None:
    page = visit(serve(int8).url)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "board"
    page.keyboard.press("Space")
    for _ in range(14):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")
    answer(page, "1")
    page.keyboard.press("Escape")
    answer(page, "–")
    page.keyboard.press("Backspace")
    answer(page, "1")
    order = []
    for _ in range(5):
        page.keyboard.press("Tab")
        order.append(page.evaluate("document.activeElement.id"))
    assert order[:4] == ["undo", "clear", "pen", "file"]


def test_choose_paste_and_drop_a_picture(int8: Path, serve: Callable[..., Site], visit: Callable[..., Any], tmp_path: Path) -> None:
    photo = pages.ROOT / "docs" / "photo.jpg"
    page = visit(serve(int8).url)
    page.set_input_files("#file", photo)
    answer(page, "5")
    box = prepare(photo).box
    shown = page.evaluate("import('./page.js').then(({ page }) => page.result.box)")
    assert np.abs(np.array(shown) - box).max() <= 0.03 * max(box), "another JPEG decoder finds the same digit at about the same place"
    page.click("#clear")
    encoded = base64.b64encode(photo.read_bytes()).decode()
    for kind, place in (("paste", "clipboardData"), ("drop", "dataTransfer")):
        page.evaluate(
            """([kind, place, encoded]) => {
                const bytes = Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0));
                const transfer = new DataTransfer();
                transfer.items.add(new File([bytes], "photo.jpg", { type: "image/jpeg" }));
                const Kind = kind === "paste" ? ClipboardEvent : DragEvent;
                document.body.dispatchEvent(new Kind(kind, { [place]: transfer, bubbles: true, cancelable: true }));
            }""",
            [kind, place, encoded],
        )
        answer(page, "5")
        page.click("#clear")
        answer(page, "–")
    (tmp_path / "note.txt").write_text("no picture")
    page.set_input_files("#file", tmp_path / "note.txt")
    page.wait_for_function("() => document.getElementById('note').textContent === 'This file is not a picture that the browser can read.'")
    Image.new("L", (100, 80), 200).save(tmp_path / "grey.png")
    page.set_input_files("#file", tmp_path / "grey.png")
    page.wait_for_function("() => document.getElementById('note').textContent.startsWith('No ink found')")


def test_of_several_digits_one_is_read_and_the_page_says_so(
    int8: Path, serve: Callable[..., Site], visit: Callable[..., Any], tmp_path: Path
) -> None:
    """It has no reader of pages, so it says what it does: which digit it read, and that there are more."""
    sheets.page(["3752"]).save(tmp_path / "sheet.png")
    page = visit(serve(int8).url)
    said = "More than one digit? This page reads one at a time, the most central."
    page.set_input_files("#file", tmp_path / "sheet.png")
    page.wait_for_function("said => document.getElementById('note').textContent.startsWith(said)", arg=said)
    assert page.text_content("#digit") in "75" and said in state(page)["spoken"]
    box = page.evaluate("import('./page.js').then(({ page }) => page.result.box)")
    assert box[2] - box[0] < 80, "one digit has the box, not the row"
    page.click("#clear")
    draw(page, [[(0.1, 0.3), (0.3, 0.3), (0.2, 0.7)], [(0.6, 0.25), (0.6, 0.72)]])
    page.wait_for_function("said => document.getElementById('note').textContent.startsWith(said)", arg=said)


@pytest.mark.parametrize("precision", ["int8-static", "float32"])
def test_all_test_images(
    precision: str, mnist_test: Dataset, tmp_path: Path, serve: Callable[..., Site], visit: Callable[..., Any]
) -> None:
    """Fed to the page's own module: int8 bit for bit onnxruntime's, float32 within 0.0001 of PyTorch's answers, as onnxruntime gives them."""
    folder = pages.write(tmp_path / "page", precision)
    page = visit(serve(folder).url)
    given = base64.b64encode(mnist_test.images.tobytes()).decode()
    encoded = page.evaluate(
        """async (given) => {
            const { page: { network } } = await import("./page.js");
            const pixels = Uint8Array.from(atob(given), (letter) => letter.charCodeAt(0));
            const logits = new Float32Array((pixels.length / 784) * 10);
            for (let i = 0; 784 * i < pixels.length; i++) logits.set(network.logits(pixels.subarray(784 * i, 784 * i + 784)), 10 * i);
            const bytes = new Uint8Array(logits.buffer);
            let text = "";
            for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode(...bytes.subarray(i, i + 8192));
            return btoa(text);
        }""",
        given,
    )
    logits = np.frombuffer(base64.b64decode(encoded), "<f4").reshape(-1, 10)
    expected = RUNTIMES["ort"].load(pages.LENET.folder / pages.SOURCES[precision])(mnist_test.images)
    if precision == "int8-static":
        assert logits.tobytes() == expected.tobytes()
    else:
        (stored,) = (one for one in pages.LENET.manifest.references if one.data["name"] == "mnist")
        pytorch = pages.store.read_reference(pages.LENET, stored)
        assert np.abs(logits - pytorch).max() <= 1e-4 and (logits.argmax(1) == pytorch.argmax(1)).all()


def test_below_another_path_and_with_nobody_else(int8: Path, tmp_path: Path, serve: Callable[..., Site], visit: Callable[..., Any]) -> None:
    shutil.copytree(int8, tmp_path / "some" / "where else")
    site = serve(tmp_path)
    page = visit(f"{site.url}some/where%20else/")
    draw(page, SEVEN)
    answer(page, "7")
    page.set_input_files("#file", pages.ROOT / "docs" / "photo.jpg")
    answer(page, "5")
    assert {one.rpartition("/")[0] for one in page.requests if not one.startswith("data:")} == {f"{site.url}some/where%20else"}
    assert all(path.startswith("/some/where%20else/") for path in (line.split()[0] for line in site.asked))


def test_offline_after_it_has_loaded(int8: Path, serve: Callable[..., Site], visit: Callable[..., Any]) -> None:
    site = serve(int8)
    page = visit(site.url)
    site.close()
    page.context.set_offline(True)
    draw(page, FIVE)
    answer(page, "5")


def _refusal(page: Any) -> str:
    assert page.locator("#undo").is_disabled() and page.locator("#file").is_disabled()
    draw(page, SEVEN)
    assert page.text_content("#digit") == "–"
    return str(page.text_content("#state"))


def test_a_damaged_module_is_refused(int8: Path, tmp_path: Path, serve: Callable[..., Site], visit: Callable[..., Any]) -> None:
    folder = Path(shutil.copytree(int8, tmp_path / "page"))
    module = bytearray((folder / "model.wasm").read_bytes())
    module[-1000] ^= 1
    (folder / "model.wasm").write_bytes(module)
    assert _refusal(visit(serve(folder).url, "refused")).startswith(
        "This page does not answer. model.wasm is not the file that was proven: its SHA-256 is "
    )


def test_a_failed_self_test_is_told(int8: Path, tmp_path: Path, serve: Callable[..., Site], visit: Callable[..., Any]) -> None:
    folder = Path(shutil.copytree(int8, tmp_path / "page"))
    about = json.loads((folder / "model.json").read_text())
    about["golden"]["tolerance"] = 1e-6
    (folder / "model.json").write_text(json.dumps(about))
    assert "This page does not answer. Self-test failed: on golden input 1 of 40" in _refusal(visit(serve(folder).url, "refused"))


def test_a_file_that_is_not_there_is_named(int8: Path, tmp_path: Path, serve: Callable[..., Site], visit: Callable[..., Any]) -> None:
    folder = Path(shutil.copytree(int8, tmp_path / "page"))
    (folder / "golden.bin").unlink()
    assert "golden.bin cannot be loaded (the server answers 404)" in _refusal(visit(serve(folder).url, "refused"))


def test_blocked_webassembly_is_told(int8: Path, serve: Callable[..., Site], visit: Callable[..., Any]) -> None:
    """By a server's policy, which a browser adds to the page's own."""
    site = serve(int8, "script-src 'self'")
    assert "This browser does not run the network: WebAssembly is blocked here" in _refusal(visit(site.url, "refused"))


def test_inline_code_does_not_run(int8: Path, tmp_path: Path, serve: Callable[..., Site], browser: Any) -> None:
    """The page's policy stops what somebody puts into it."""
    folder = Path(shutil.copytree(int8, tmp_path / "page"))
    html = (folder / "index.html").read_text().replace("</body>", "<script>window.injected = true</script></body>")
    (folder / "index.html").write_text(html)
    context = browser.new_context()
    page = context.new_page()
    page.goto(serve(folder).url)
    page.wait_for_selector('html[data-state="ready"]', timeout=30_000)
    assert page.evaluate("window.injected") is None
    context.close()


def test_without_https_the_hash_is_our_own(int8: Path, serve: Callable[..., Site], browser: Any) -> None:
    """Browsers hide crypto.subtle from pages that come over http from another machine."""
    context = browser.new_context()
    page = context.new_page()
    page.add_init_script("Object.defineProperty(crypto, 'subtle', { value: undefined })")
    page.goto(serve(int8).url)
    page.wait_for_selector('html[data-state="ready"]', timeout=30_000)
    context.close()


def test_dark_mode_and_reduced_motion(int8: Path, serve: Callable[..., Site], visit: Callable[..., Any]) -> None:
    site = serve(int8)
    grounds = {}
    for scheme in ("light", "dark"):
        page = visit(site.url, color_scheme=scheme, reduced_motion="reduce")
        draw(page, SEVEN)
        answer(page, "7")
        grounds[scheme] = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert page.evaluate("getComputedStyle(document.querySelector('.fill')).transitionDuration") == "0s"
    assert grounds["light"] != grounds["dark"]
