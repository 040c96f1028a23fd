"""From a picture to 28×28: what a user's picture has to come out as, whatever it is made of."""

import csv
import os
from pathlib import Path

import hard_pictures
import numpy as np
import pytest
from once import lacking
from PIL import Image

from mnist_edge import Predictor, image
from mnist_edge.common.errors import PictureError, UsageError
from mnist_edge.dataset import Dataset, drawn

REFERENCE = Path(__file__).resolve().parents[2] / "models" / "lenet"


@pytest.fixture(scope="module")
def reference() -> Predictor:
    return Predictor.load(REFERENCE)


def enlarged(pixels: np.ndarray, factor: int = 8, margin: int = 40) -> np.ndarray:
    """A drawing as a picture of its own: smooth, with room around it; ink bright."""
    large = Image.fromarray(pixels).resize((28 * factor, 28 * factor), Image.Resampling.BICUBIC)
    return np.pad(np.asarray(large), margin)


def close(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two 28×28 show the same drawing: scaled up and down again, edges differ. Two drawings of a digit differ by 30 and more."""
    return float(np.abs(a.astype(float) - b).mean()) < 15


@pytest.mark.slow
def test_mnist_comes_back_bit_for_bit(mnist_test: Dataset) -> None:
    for pixels in mnist_test.images[:, 0]:
        assert (image.read(pixels) == pixels).all()


def test_mnist_in_dark_ink_and_as_rgb_comes_back_too(mnist_test: Dataset) -> None:
    for pixels in mnist_test.images[:200, 0]:
        assert (image.read(255 - pixels) == pixels).all()
        assert (image.read(Image.fromarray(pixels).convert("RGB")) == pixels).all()


def test_an_enlarged_mnist_image_in_a_corner_comes_back_nearly(mnist_test: Dataset, reference: Predictor) -> None:
    """Size, place and polarity are undone: the same answers, but for a few that were doubtful."""
    few = mnist_test.first(300)
    prepared = []
    for i, pixels in enumerate(few.images[:, 0]):
        large = np.pad(enlarged(pixels, factor=5, margin=0), ((10, 80), (10, 120)))
        prepared.append(image.read(255 - large if i % 2 else large))
    assert np.mean([close(a, b) for a, b in zip(prepared, few.images[:, 0], strict=True)]) > 0.9
    same = reference.logits(np.stack(prepared)[:, None]).argmax(1) == reference.logits(few.images).argmax(1)
    assert same.mean() >= 0.99


def test_every_kind_of_array_and_image_gives_the_same_digit(seven: np.ndarray) -> None:
    large = enlarged(seven)
    expected = image.read(large)
    assert close(expected, seven)
    for same in (
        large[..., None],
        np.stack([large] * 3, axis=2),
        large.astype(np.uint16) * 257,
        large.astype(np.float32) / 255,
        large.astype(np.float64),
        np.asfortranarray(large),
        Image.fromarray(large),
        Image.fromarray(large).convert("RGB"),
        Image.fromarray(large).convert("P"),
        Image.fromarray(large).convert("CMYK"),
        Image.fromarray(large.astype(np.uint16) * 257),
        large.astype(">u2") * 257,
        large.astype(np.uint16),
        large.astype(np.uint16) * 4,
        Image.fromarray(large).convert("I"),
        Image.fromarray(large).convert("F"),
        Image.fromarray(large).convert("LA"),
    ):
        assert np.abs(image.read(same).astype(int) - expected).max() <= 2
    for nearly in (large > 127, Image.fromarray(large).convert("1")):
        assert close(image.read(nearly), expected)


def test_a_picture_of_the_users_is_left_as_it_was(seven: np.ndarray) -> None:
    given = Image.fromarray(enlarged(seven))
    before = given.tobytes()
    image.read(given)
    assert given.tobytes() == before


def test_the_orientation_in_the_metadata_is_applied(seven: np.ndarray, tmp_path: Path) -> None:
    upright = Image.fromarray(255 - enlarged(seven)).convert("RGB")
    expected = image.read(upright)
    way_back = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    for value, undo in way_back.items():
        exif = Image.Exif()
        exif[0x0112] = value
        upright.transpose(undo).save(tmp_path / "turned.png", exif=exif)
        prepared = image.prepare(tmp_path / "turned.png")
        assert np.abs(prepared.pixels.astype(int) - expected).max() <= 2
        assert prepared.size == upright.size


@pytest.mark.parametrize("ink", [0, 255])
def test_ink_on_a_transparent_ground_is_read(seven: np.ndarray, ink: int) -> None:
    large = enlarged(seven)
    picture = Image.merge("LA", (Image.new("L", large.shape[::-1], ink), Image.fromarray(large)))
    assert close(image.read(picture), seven)


def test_a_transparent_margin_is_no_ink(seven: np.ndarray) -> None:
    large = Image.fromarray(255 - enlarged(seven)).convert("RGBA")
    framed = Image.new("RGBA", (large.width + 60, large.height), (0, 0, 0, 0))
    framed.paste(large, (30, 0))
    assert close(image.read(framed), seven)


def test_the_ink_can_be_told(seven: np.ndarray) -> None:
    large = enlarged(seven)
    assert image.prepare(large).ink == "light"
    assert image.prepare(255 - large).ink == "dark"
    assert (image.read(255 - large, "dark") == image.read(255 - large)).all()
    with pytest.raises(UsageError, match="unknown ink 'blue'"):
        image.read(large, "blue")


def test_the_box_is_where_the_digit_is(seven: np.ndarray) -> None:
    sheet = np.full((3000, 4000), 255, np.uint8)
    large = 255 - enlarged(seven, factor=30, margin=0)
    sheet[1500 : 1500 + 840, 2200 : 2200 + 840] = large
    rows, columns = np.flatnonzero((sheet < 128).any(axis=1)), np.flatnonzero((sheet < 128).any(axis=0))
    prepared = image.prepare(sheet)
    assert prepared.size == (4000, 3000)
    np.testing.assert_allclose(prepared.box, (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1), atol=25)
    assert max(prepared.picture.shape) <= 400
    assert close(prepared.pixels, seven)


@pytest.mark.parametrize("width", [1, 3, 8, 40])
def test_thin_and_thick_pens_come_out_alike(width: int, reference: Predictor) -> None:
    """A 7 drawn by one line on a sheet of 400×400, a pixel wide or as with a marker."""
    from PIL import ImageDraw

    sheet = Image.new("L", (400, 400), 255)
    ImageDraw.Draw(sheet).line([(120, 90), (280, 90), (190, 320)], fill=0, width=width, joint="curve")
    prepared = image.prepare(sheet)
    prediction = reference.predict_prepared([prepared])[0]
    assert (prediction.digit, prediction.warnings) == (7, ())
    assert prepared.pixels.max() == 255
    assert (
        np.count_nonzero(prepared.pixels > 127) >= 36
    )  # the line is 36 pixels long; a pixel-wide pen leaves nothing above 127 where it is scaled down plainly


def written(strokes: list[list[tuple[float, float]]], pen: float, side: int) -> np.ndarray:
    """A black digit on white; points and pen as shares of the side."""
    from PIL import ImageDraw

    sheet = Image.new("L", (8 * side, 8 * side), 255)
    for stroke in strokes:
        points = [(8 * side * x, 8 * side * y) for x, y in stroke]
        ImageDraw.Draw(sheet).line(points, fill=0, width=round(8 * side * pen), joint="curve")
    return np.asarray(sheet.resize((side, side), Image.Resampling.BOX))


@pytest.mark.parametrize("side", [24, 48, 400])
@pytest.mark.parametrize("invert", [False, True])
def test_a_broad_pen_leaves_no_hollow_outline(side: int, invert: bool) -> None:
    """A 1 broader than a quarter of the picture: paper is what lies around it, not its own middle."""
    one = written([[(0.5, 0.1), (0.5, 0.9)]], 0.26, side)
    prepared = image.prepare(255 - one if invert else one)
    assert prepared.ink == ("light" if invert else "dark")
    bar = prepared.pixels[5:23, 12:17]
    assert bar.min() > 200
    assert prepared.pixels[:, :9].max() == prepared.pixels[:, 20:].max() == 0


@pytest.mark.parametrize(("radius", "pen"), [(0.12, 0.12), (0.12, 0.14), (0.14, 0.12), (0.14, 0.16)])
def test_an_eight_of_a_broad_pen_is_not_read_as_the_paper_between_its_strokes(radius: float, pen: float, reference: Predictor) -> None:
    around = [(0.5 + radius * np.sin(t), 0.5 - radius * np.cos(t)) for t in np.linspace(0, 2 * np.pi, 40)]
    eight = written([[(x, y - radius) for x, y in around], [(x, y + radius) for x, y in around]], pen, 48)
    prepared = image.prepare(eight)
    assert (prepared.ink, prepared.warnings) == ("dark", ())
    assert reference.predict_prepared([prepared])[0].digit == 8


def test_a_cut_out_digit_of_a_broad_pen_may_touch_the_border() -> None:
    one = written([[(0.5, 0.0), (0.5, 1.0)]], 0.34, 32)
    prepared = image.prepare(one)
    assert prepared.ink == "dark" and prepared.pixels[5:23, 11:17].min() > 200


def test_a_table_beside_the_sheet_is_no_ink(seven: np.ndarray) -> None:
    """As black as the ink, with a hard edge: but it comes in from the border."""
    sheet = 255 - enlarged(seven)
    beside = np.concatenate([np.zeros((sheet.shape[0], 130), np.uint8), sheet], axis=1)
    assert close(image.read(beside), image.read(sheet))


@pytest.mark.parametrize("size", [(8, 8), (9, 14), (12, 40), (28, 28), (40, 12), (64, 64), (500, 200), (120, 900)])
def test_any_size_and_aspect_is_read(size: tuple[int, int], seven: np.ndarray) -> None:
    height, width = size
    side = min(height, width)
    sheet = np.full(size, 255, np.uint8)
    scaled = np.asarray(Image.fromarray(255 - seven).resize((side, side), Image.Resampling.BOX))
    top, left = (height - side) // 2, (width - side) // 2
    sheet[top : top + side, left : left + side] = scaled
    prepared = image.prepare(sheet)
    assert prepared.pixels.shape == (28, 28)
    x0, y0, x1, y1 = prepared.box
    assert 0 <= x0 < x1 <= width
    assert 0 <= y0 < y1 <= height
    assert min(size) < 20 or close(prepared.pixels, seven)


@pytest.mark.parametrize("effect", hard_pictures.EFFECTS)
def test_light_paper_and_ink_of_every_sort_are_read(effect: str, reference: Predictor) -> None:
    """Drawn digits under each of the benchmark's effects; what the reference reads plain, it reads here."""
    digits = drawn.draw("test", 400)
    plain = reference.logits(digits.images).argmax(axis=1)
    clear = [i for i in range(400) if plain[i] == digits.labels[i]][:12]
    right = 0
    for i in clear:
        random = np.random.default_rng([7, i])
        ink = np.asarray(Image.fromarray(digits.images[i, 0]).resize((280, 280), Image.Resampling.BICUBIC), np.float64) / 255
        picture = hard_pictures.camera(hard_pictures.EFFECTS[effect](ink, random), random)
        right += reference.predict(picture).digit == digits.labels[i]
    assert right >= len(clear) - 1


def test_two_digits_are_doubted_and_one_is_not(seven: np.ndarray) -> None:
    one = 255 - enlarged(seven)
    assert image.prepare(one).warnings == ()
    two = np.concatenate([one, one], axis=1)
    assert image.prepare(two).warnings == ("more than one digit? the most central is read; --several reads all",)


def test_what_encloses_much_is_doubted() -> None:
    """A face: no digit has more than two holes."""
    from PIL import ImageDraw

    sheet = Image.new("L", (400, 400), 255)
    pen = ImageDraw.Draw(sheet)
    for box in ((100, 100, 300, 300), (100, 100, 200, 200), (200, 100, 300, 200)):
        pen.rectangle(box, outline=0, width=8)
    assert image.prepare(sheet).warnings == ("probably not a digit: its lines enclose 3 areas",)


def test_an_animation_is_said_to_be_one(seven: np.ndarray, tmp_path: Path) -> None:
    frames = [Image.fromarray(enlarged(seven)), Image.new("L", (304, 304))]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    prepared = image.prepare(tmp_path / "moving.gif")
    assert close(prepared.pixels, seven)
    assert prepared.warnings == ("an animation: only its first picture is read",)


def photographs() -> dict[str, np.ndarray]:
    """Pictures of nothing, as a camera or a program makes them."""
    random = np.random.default_rng(3)
    sheet = (360, 300)
    paper = np.broadcast_to(np.asarray(hard_pictures.WHITE), (*sheet, 3))
    lights = {
        "gradient": hard_pictures.gradient(sheet, random),
        "vignette": hard_pictures.vignette(sheet, random),
        "shadow": hard_pictures.shadow(sheet, random, 0.05),
        "hand": hard_pictures.hand(sheet, random),
    }
    pictures = {name: np.asarray(hard_pictures.camera(paper * light[..., None], random)) for name, light in lights.items()}
    pictures["ruled paper"] = (hard_pictures.ruled(sheet, random, squared=False) * 255).astype(np.uint8)
    pictures["dirt"] = np.asarray(
        hard_pictures.camera(hard_pictures.compose(hard_pictures.dirt(np.zeros(sheet), random), paper, (0, 0, 0)), random)
    )
    pictures["line"] = np.where(np.abs(np.arange(300)[:, None] - 150) < 3, 0, 255 * np.ones((300, 300))).astype(np.uint8)
    pictures["disc"] = np.where(np.hypot(*np.mgrid[-150:150, -150:150]) < 100, 0, 255).astype(np.uint8)
    inner = np.zeros((28, 28), np.uint8)  # placed as MNIST places
    inner[4:24, 4:24] = random.integers(0, 256, (20, 20))
    pictures["noise in the box"] = inner
    pictures["full box"] = np.pad(np.full((20, 20), 255, np.uint8), 4)
    for seed in range(6):
        pictures[f"noise of 8 by 8, {seed}"] = np.random.default_rng(seed).integers(0, 256, (8, 8)).astype(np.uint8)
    pictures["squared paper"] = np.asarray(hard_pictures.camera(hard_pictures.ruled(sheet, random, squared=True), random))
    pictures["finger"] = np.asarray(hard_pictures.camera(hard_pictures.finger(paper, random), random))
    for side in (8, 28, 100, 400, 1000):
        pictures[f"noise {side}"] = random.integers(0, 256, (side, side)).astype(np.uint8)
        pictures[f"colour noise {side}"] = random.integers(0, 256, (side, side, 3)).astype(np.uint8)
        pictures[f"faint noise {side}"] = np.clip(random.normal(128, 6, (side, side)), 0, 255).astype(np.uint8)
    for share in (0.01, 0.05, 0.2, 0.5):
        pictures[f"specks {share}"] = np.where(random.random((200, 200)) < share, 0, 255).astype(np.uint8)
    for value in (0, 128, 255):
        pictures[f"all {value}"] = np.full((50, 50), value, np.uint8)
    return pictures


@pytest.mark.parametrize(("name", "picture"), photographs().items(), ids=list(photographs()))
def test_nothing_is_no_digit(name: str, picture: np.ndarray) -> None:
    with pytest.raises(PictureError, match="no (ink|digit) found"):
        image.read(picture)


def test_real_pictures_are_read(reference: Predictor) -> None:
    if "MNIST_EDGE_TEST_PICTURES" not in os.environ:
        lacking("set MNIST_EDGE_TEST_PICTURES to a folder with labels.csv")
    folder = Path(os.environ["MNIST_EDGE_TEST_PICTURES"])
    right: dict[str, list[bool]] = {}
    with (folder / "labels.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            right.setdefault(row["kind"], []).append(reference.predict(folder / row["file"]).digit == int(row["label"]))
    everything = [answer for answers in right.values() for answer in answers]
    assert np.mean(everything) >= 0.99
    for kind, answers in right.items():
        assert np.mean(answers) >= 0.97, kind
