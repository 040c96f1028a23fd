"""The clients that others use, without a line of ours on their side: tritonclient, KServe's, curl, and a browser with real events."""

import io
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsing import chromium
from conftest import ROOT
from once import lacking
from PIL import Image
from serving_process import Running

#: Where make proofs installs the clients: they bring a hundred packages, some in versions of their own.
CLIENTS = ROOT / "build" / "clients" / "bin" / "python"


@pytest.mark.proof
def test_tritonclient_and_kserve_get_the_very_logits(server: Running, pixels: np.ndarray, logits: np.ndarray, tmp_path: Path) -> None:
    if not CLIENTS.exists():
        lacking("tritonclient and kserve are not installed; run: make clients")
    (tmp_path / "pixels").write_bytes(pixels.tobytes())
    script = Path(__file__).with_name("clients.py")
    done = subprocess.run(
        [CLIENTS, script, f"http://127.0.0.1:{server.port}/", tmp_path / "pixels"], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr[-3000:]
    answers = json.loads(done.stdout.splitlines()[-1])
    assert len(answers) == 2 * 3 * 3 + 8 + 8 + 4
    for way, answer in answers.items():
        assert np.array_equal(np.array(answer, np.float32).reshape(logits.shape), logits), way


def test_curl(server: Running, pixels: np.ndarray, logits: np.ndarray, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        lacking("there is no curl")
    url = f"http://127.0.0.1:{server.port}"
    (tmp_path / "raw").write_bytes(pixels[:1].tobytes())

    def curl(*arguments: str) -> bytes:
        return subprocess.run(["curl", "--silent", "--fail-with-body", *arguments], check=True, capture_output=True, cwd=tmp_path).stdout

    reply = curl("-H", "Inference-Header-Content-Length: 0", "--data-binary", "@raw", f"{url}/v2/models/lenet/infer")
    assert np.array_equal(np.frombuffer(reply[-40:], "<f4"), logits[0])
    photo = ROOT / "docs" / "photo.jpg"
    for how in (
        ["-F", f"picture=@{photo}"],
        ["--data-binary", f"@{photo}"],
        ["-T", str(photo), "-X", "POST"],
        ["-H", "Expect: 100-continue", "-F", f"picture=@{photo}"],
        ["--http2", "-F", f"picture=@{photo}"],
    ):
        assert json.loads(curl(*how, f"{url}/predict"))["digit"] == 5
    assert Image.open(io.BytesIO(curl("-F", f"picture=@{photo}", f"{url}/predict?explain=1"))).format == "PNG"


@pytest.mark.proof
def test_the_page_in_a_browser(server: Running, serve: Any, tmp_path: Path) -> None:
    """A 7 and a 1 drawn with the mouse, a photo chosen, and a token asked for."""
    (tmp_path / "token").write_text("correct-horse-battery")
    guarded = serve(ROOT / "models" / "lenet", ROOT / "models" / "cnn-small", "--token-file", tmp_path / "token")
    problems: list[str] = []
    asked: list[str] = []
    with chromium() as browser:
        from playwright.sync_api import expect

        expect.set_options(timeout=20_000)

        page = browser.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"http://127.0.0.1:{server.port}/")
        page.wait_for_selector('html[data-state="ready"]')
        for digit, strokes in (("7", [(0.3, 0.2), (0.7, 0.2), (0.45, 0.8)]), ("1", [(0.5, 0.2), (0.5, 0.8)])):
            box = page.locator("#board").bounding_box()
            assert box
            page.mouse.move(box["x"] + strokes[0][0] * box["width"], box["y"] + strokes[0][1] * box["height"])
            page.mouse.down()
            for x, y in strokes[1:]:
                page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=10)
            page.mouse.up()
            expect(page.locator("#digit")).to_have_text(digit)
            page.click("#clear")
            assert page.inner_text("#digit") == "–"
        page.set_input_files("#file", ROOT / "docs" / "photo.jpg")
        expect(page.locator("#digit")).to_have_text("5")
        assert page.inner_text("#state").startswith("Read by lenet, version ")
        large = np.asarray(Image.open(ROOT / "docs" / "photo.jpg").convert("RGB").resize((2500, 2500))) // 16 * 15
        large = large + np.random.default_rng(0).integers(0, 12, large.shape, dtype=np.uint8)  # noise, so that it does not pack well
        Image.fromarray(large).save(tmp_path / "large.png")
        assert (tmp_path / "large.png").stat().st_size > 8 * 2**20
        page.click("#clear")
        page.set_input_files("#file", tmp_path / "large.png")
        expect(page.locator("#digit")).to_have_text("5")
        assert problems == [] and all(url.startswith((f"http://127.0.0.1:{server.port}/", "data:")) for url in asked)
        page.screenshot(path=str(tmp_path / "page.png"), full_page=True)
        page.goto(f"http://127.0.0.1:{guarded.port}/")
        page.wait_for_selector("#key:not([hidden])")
        assert page.inner_text("#state") == "Type the token."
        page.fill("#token", "correct-horse-battery")
        page.press("#token", "Tab")
        page.wait_for_selector('html[data-state="ready"]')
        assert page.locator("#model option").all_inner_texts() == ["lenet", "cnn-small"]
        page.select_option("#model", "cnn-small")
        page.set_input_files("#file", ROOT / "docs" / "photo.jpg")
        expect(page.locator("#digit")).to_have_text("5")
        assert page.inner_text("#state").startswith("Read by cnn-small, version ")
        for width in (390, 1280):
            page.set_viewport_size({"width": width, "height": 900})
            page.goto(f"http://127.0.0.1:{server.port}/docs")
            assert page.evaluate("document.documentElement.scrollWidth") == width
            summary = page.locator(".paths td:nth-child(2)").first.bounding_box()
            assert summary and summary["width"] > 300
