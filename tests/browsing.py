"""A real Chromium for tests, and a pen that draws with its pointer events."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from once import lacking


@contextmanager
def chromium() -> Iterator[Any]:
    """Start the browser that is on this machine."""
    program = shutil.which("chromium")
    if program is None:
        lacking("chromium is not on this machine")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        lacking("playwright is not installed; run: pip install playwright")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


def draw(page: Any, strokes: list[list[tuple[float, float]]]) -> None:
    box = page.locator("#board").bounding_box()
    for stroke in strokes:
        places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in stroke]
        page.mouse.move(*places[0])
        page.mouse.down()
        for place in places[1:]:
            page.mouse.move(*place, steps=10)
        page.mouse.up()
