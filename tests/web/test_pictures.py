"""The page's pictures against mnist_edge.image: the same picture gives the same 28×28, the same box and the same doubts, or the same refusal."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import hard_pictures
import numpy as np
import pytest
from once import lacking
from pages import prepared
from PIL import Image, ImageDraw, ImageOps

from mnist_edge.common.errors import PictureError
from mnist_edge.dataset import drawn
from mnist_edge.image import prepare

Pictures = list[tuple[str, Image.Image, str]]


def compare(pictures: Pictures, scratch: Path) -> tuple[int, int]:
    """Compare both on pictures, each with a name and its ink. Return how many were read, and how many refused."""
    wrong, read, refused = [], 0, 0
    for (name, image, ink), page in zip(pictures, prepared([(image, ink) for _, image, ink in pictures], scratch), strict=True):
        try:
            here = prepare(image.convert("RGBA"), ink)
        except PictureError as error:
            refused += 1
            if "refused" not in page or not _letters(str(error)).endswith(_letters(page["refused"])):
                wrong.append(f"{name}: {error}, and the page: {page}")
            continue
        read += 1
        if "refused" in page:
            wrong.append(f"{name}: the page refuses it: {page['refused']}")
            continue
        distance = np.abs(np.array(page["pixels"], int) - here.pixels.ravel().astype(int)).max()
        if distance > 1 or page["box"] != list(here.box) or page["ink"] != here.ink or len(page["warnings"]) != len(here.warnings):
            wrong.append(f"{name}: {distance} grey levels, {here.box} {here.ink} {here.warnings}, and the page {page}")
    assert wrong == [], f"{len(wrong)} of {len(pictures)}: " + "\n".join(line[:300] for line in wrong[:5])
    return read, refused


def _letters(text: str) -> str:
    return re.sub("[^a-z]", "", text.lower())


def strokes(seed: int, count: int, side: int = 200, broadest: int = 26) -> Iterator[tuple[str, Image.Image, str]]:
    """Yield drawings as the page's board gives them: black on white, round pens of many widths, anywhere."""
    random = np.random.default_rng(seed)
    for number in range(count):
        image = Image.new("L", (4 * side, 4 * side), 255)
        pen = ImageDraw.Draw(image)
        width = float(random.uniform(6, broadest)) * 4
        middle, spread = random.uniform(0.25, 0.75, 2) * 4 * side, random.uniform(0.05, 0.3) * 4 * side
        for _ in range(random.integers(1, 4)):
            points = [tuple(map(float, middle + random.normal(0, spread, 2))) for _ in range(random.integers(2, 6))]
            pen.line(points, 0, int(width), "curve")
            for x, y in points:
                pen.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), 0)
        yield f"drawing {number}", image.resize((side, side), Image.Resampling.BOX), "dark"


@pytest.mark.proof
def test_drawings(tmp_path: Path) -> None:
    read, _ = compare(list(strokes(0, 80)), tmp_path)
    assert read > 30


@pytest.mark.proof
def test_broad_pens(tmp_path: Path) -> None:
    pictures = [
        (name, image if number % 2 else image.resize((48, 48), Image.Resampling.BOX), "auto")
        for number, (name, image, _) in enumerate(strokes(6, 80, broadest=80))
    ]
    read, _ = compare(pictures, tmp_path)
    assert read > 30


@pytest.mark.slow
def test_digits_of_every_size_place_and_ink(tmp_path: Path) -> None:
    digits = drawn.draw("test", 90)
    random = np.random.default_rng(1)
    pictures: Pictures = []
    for number, digit in enumerate(digits.images[:, 0]):
        sheet = Image.new("L", tuple(int(side) for side in random.integers(28, 520, 2)), 0)
        size = int(random.integers(14, max(15, min(sheet.size))))
        place = [int(random.integers(0, max(1, side - size + 1))) for side in sheet.size]
        sheet.paste(Image.fromarray(digit).resize((size, size), Image.Resampling.BILINEAR), place)
        noisy = np.clip(np.asarray(sheet) + random.normal(0, (0, 4, 12)[number % 3], sheet.size[::-1]), 0, 255).astype(np.uint8)
        image = Image.fromarray(255 - noisy if number % 2 else noisy)
        pictures.append((f"digit {number}", image, ("auto", "auto", "dark", "light")[number % 4]))
        pictures.append((f"digit {number} as it is", Image.fromarray(255 - digit if number % 2 else digit), "auto"))
    read, refused = compare(pictures, tmp_path)
    assert read > 120 and refused > 5


@pytest.mark.proof
def test_transparent_and_coloured_pictures(tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    pictures: Pictures = []
    for number, (name, image, _) in enumerate(strokes(3, 16, 500)):
        alpha = ImageOps.invert(image.convert("L"))
        ink = Image.new("RGBA", image.size, (*(int(part) for part in random.integers(0, 256, 3)), 255))
        ink.putalpha(alpha if number % 2 else alpha.point(lambda value: value // 2 + 100))
        pictures.append((f"{name}, transparent", ink, "auto"))
        paper = Image.new("RGB", image.size, tuple(int(part) for part in random.integers(150, 256, 3)))
        paper.paste(tuple(int(part) for part in random.integers(0, 120, 3)), mask=alpha)
        pictures.append((f"{name}, coloured", paper, "auto"))
    assert compare(pictures, tmp_path)[0] > 12


@pytest.mark.slow
def test_pictures_of_nothing(tmp_path: Path) -> None:
    random = np.random.default_rng(4)
    pictures: Pictures = [(f"grey {value}", Image.new("L", (90, 60), value), "auto") for value in (0, 128, 255)]
    pictures += [(f"noise {i}", Image.fromarray(random.integers(0, 256, (30 * i, 40 * i), np.uint8)), "auto") for i in range(1, 9)]
    gradients = [np.linspace(0, 255, 100 * i)[None, :] * np.ones((80, 1)) for i in range(1, 4)]
    pictures += [(f"gradient {i}", Image.fromarray(one.astype(np.uint8)), "auto") for i, one in enumerate(gradients)]
    patches = [Image.new("L", (120, 120), 255) for _ in range(4)]
    for i, patch in enumerate(patches):
        ImageDraw.Draw(patch).rectangle((10, 50 - 12 * i, 110, 54 + 12 * i), 0)
    pictures += [(f"patch {i}", patch, "auto") for i, patch in enumerate(patches)]
    pictures += [("too small", Image.new("L", (7, 7)), "auto"), ("too narrow", Image.new("L", (3, 30)), "auto")]
    _, refused = compare([one for one in pictures if not one[0].startswith("too")], tmp_path)
    assert refused > 10
    assert all("too few for a digit" in page["refused"] for page in prepared([(image, ink) for _, image, ink in pictures[-2:]], tmp_path))


@pytest.fixture(scope="module")
def photographed() -> list[Path]:
    if "MNIST_EDGE_TEST_PICTURES" not in os.environ:
        lacking("set MNIST_EDGE_TEST_PICTURES to a folder with pictures of digits")
    folder = Path(os.environ["MNIST_EDGE_TEST_PICTURES"])
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".png", ".jpg", ".jpeg"))


def upright(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return ImageOps.exif_transpose(image).convert("RGBA")


@pytest.mark.proof
def test_real_pictures(photographed: list[Path], tmp_path: Path) -> None:
    pictures: Pictures = [(path.name, upright(path), "auto") for path in photographed]
    assert compare(pictures, tmp_path)[0] > 100


@pytest.mark.proof
@pytest.mark.parametrize("effect", [*hard_pictures.EFFECTS, *hard_pictures.LIMITS])
def test_real_pictures_in_hard_light(effect: str, photographed: list[Path], tmp_path: Path) -> None:
    pictures: Pictures = []
    for number, path in list(enumerate(photographed))[::3]:
        random = np.random.default_rng([5, number])
        light = (hard_pictures.EFFECTS | hard_pictures.LIMITS)[effect]
        pictures.append((f"{path.name} {effect}", hard_pictures.camera(light(hard_pictures.ink_of(path), random), random), "auto"))
    assert compare(pictures, tmp_path)[0] > 80 / 3


@pytest.mark.proof
def test_a_large_photo_is_made_smaller_alike(tmp_path: Path) -> None:
    photo = upright(Path(__file__).resolve().parents[2] / "docs" / "photo.jpg")
    sizes = [(1999, 1500), (2600, 3100), (403, 397), (801, 30)]
    pictures: Pictures = [(f"photo of {size}", photo.resize(size, Image.Resampling.BICUBIC), "auto") for size in sizes]
    assert compare(pictures, tmp_path)[0] >= 3


@pytest.mark.slow
def test_a_wrong_filter_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison can fail: a page that scales with another filter is found out."""
    import pages

    whole = (pages.PAGE / "page.js").read_text("utf-8")
    changed = whole.replace("factor < 1 ? box : bicubic", "bicubic")
    assert changed != whole
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "page.js").write_text(changed, "utf-8")
    monkeypatch.setattr(pages, "PAGE", tmp_path / "page")
    with pytest.raises(AssertionError, match="grey levels"):
        compare(list(strokes(0, 40)), tmp_path)
