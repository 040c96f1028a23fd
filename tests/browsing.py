"""A real Chromium for tests, and a pen that draws with its pointer events."""

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from once import lacking


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    chromium = shutil.which("chromium")
    if chromium is None:
        lacking("chromium is not on this machine")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        lacking("playwright is not installed; run: pip install playwright")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield started
        started.close()


def draw(page: Any, strokes: list[list[tuple[float, float]]]) -> None:
    box = page.locator("#board").bounding_box()
    for stroke in strokes:
        places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in stroke]
        page.mouse.move(*places[0])
        page.mouse.down()
        for place in places[1:]:
            page.mouse.move(*place, steps=10)
        page.mouse.up()
