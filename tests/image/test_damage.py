"""Damaged pictures: refused, or read with a warning, or read as the whole picture is; where nothing can tell, that is said here."""

import io
import json
import os
import struct
import sys
import threading
import warnings
import zlib
from functools import cache
from pathlib import Path

import fuzz
import numpy as np
import pytest
from PIL import Image, ImageFile, ImageOps

from mnist_edge import Predictor, image
from mnist_edge.common.errors import PictureError
from mnist_edge.dataset import drawn

PHOTO = Path(__file__).resolve().parents[2] / "docs" / "photo.jpg"


@pytest.fixture(scope="module")
def reference() -> Predictor:
    return Predictor.load(fuzz.LENET)


@cache
def pictures() -> tuple[Image.Image, ...]:
    """A photo, drawn digits as one would scan them, and real pictures where there are some."""
    with Image.open(PHOTO) as photo:
        found = [ImageOps.exif_transpose(photo).resize((200, 150))]
    for pixels in drawn.draw("test", 2).images[:, 0]:
        large = Image.fromarray(255 - pixels).resize((84, 84), Image.Resampling.BICUBIC)
        found.append(ImageOps.expand(large, 10, 255).convert("RGB"))
    if "MNIST_EDGE_TEST_PICTURES" in os.environ:
        paths = [path for path in Path(os.environ["MNIST_EDGE_TEST_PICTURES"]).rglob("*") if path.suffix in image.SUFFIXES]
        for path in sorted(paths)[::8]:
            with Image.open(path) as opened:
                found.append(opened.convert("RGB"))
    return tuple(found)


def sideways(value: int = 6) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


def interlaced(picture: Image.Image) -> bytes:
    """A PNG in seven passes, which Pillow does not write; grey, each row unfiltered."""
    pixels = np.asarray(picture.convert("L"))
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
    rows = b"".join(b"\0" + row.tobytes() for y, x, down, across in passes for row in pixels[y::down, x::across])
    header = struct.pack(">IIBBBBB", picture.width, picture.height, 8, 0, 0, 0, 1)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


#: Every kind of file that is read.
FILES = {name: lambda picture, name=name: fuzz.encode(picture, name) for name in fuzz.FORMATS} | {
    "PNG, interlaced": interlaced,
    "PNG, sideways": lambda picture: fuzz.encode(picture, "PNG", exif=sideways()),
    "JPEG, sideways": lambda picture: fuzz.encode(picture, "JPEG", exif=sideways()),
    "JPEG, restarts": lambda picture: fuzz.encode(picture, "JPEG", restart_marker_blocks=4),
    "JPEG, grey": lambda picture: fuzz.encode(picture.convert("L"), "JPEG"),
    "WebP, sideways": lambda picture: fuzz.encode(picture, "WebP", exif=sideways()),
}


@cache
def whole_files(kind: str) -> tuple[tuple[bytes, fuzz.Reading | None], ...]:
    """Each picture as a file of a kind, and how that is read."""
    predictor = Predictor.load(fuzz.LENET)
    return tuple((file, fuzz.read(predictor, file)) for file in (FILES[kind](picture) for picture in pictures()))


def readings(predictor: Predictor, kind: str, damage: str, count: int) -> list[tuple[str, str]]:
    random = np.random.default_rng([zlib.crc32(kind.encode()), zlib.crc32(damage.encode())])
    files = whole_files(kind)
    assert any(reading for _, reading in files)
    found = []
    for i in range(count):
        file, reading = files[i % len(files)]
        if reading is not None:
            damaged = fuzz.DAMAGES[damage](file, int(random.integers(len(file))), random)
            assert damaged != file
            found.append(fuzz.outcomes(reading, fuzz.read(predictor, damaged)))
    return found


@pytest.mark.parametrize("kind", [kind for kind in FILES if kind.startswith("PNG")])
@pytest.mark.parametrize("damage", fuzz.DAMAGES)
def test_a_damaged_png_is_never_read_otherwise(kind: str, damage: str, reference: Predictor) -> None:
    """It has checksums: whatever happened, it is refused."""
    assert {pixels for pixels, _ in readings(reference, kind, damage, 40)} == {"refused"}


@pytest.mark.parametrize("kind", [kind for kind in FILES if not kind.startswith("PNG")])
def test_what_is_cut_off_lost_or_doubled_is_seen_without_a_checksum(kind: str, reference: Predictor) -> None:
    """Only a JPEG does not say how long its pixels' data is, so a lost byte need not be seen. A GIF's last byte ends nothing but the file."""
    assert {pixels for pixels, _ in readings(reference, kind, "cut", 24)} <= ({"refused", "same"} if kind == "GIF" else {"refused"})
    if not kind.startswith("JPEG"):
        assert {pixels for pixels, _ in readings(reference, kind, "drop", 24)} == {"refused"}
        assert "silent" not in {pixels for pixels, _ in readings(reference, kind, "double", 24)}


@pytest.mark.parametrize("kind", ["WebP", "WebP, sideways"])
def test_most_changed_bytes_of_a_lossy_webp_are_seen(kind: str, reference: Predictor) -> None:
    """By what is left over of its data: before, two of three that were read otherwise were so in silence."""
    found = [pixels for pixels, _ in readings(reference, kind, "byte", 100)]
    assert found.count("silent") < 0.1 * len(found)


def doubts(file: bytes) -> list[str]:
    """What is said against a file; nothing if it only shows no digit."""
    try:
        return [warning for warning in image.prepare(file).warnings if "damaged" in warning]
    except PictureError as error:
        return [] if "found" in str(error) else [str(error)]


@pytest.mark.parametrize("kind", FILES)
def test_no_whole_file_is_doubted(kind: str) -> None:
    """Of any size, so that the blocks of the formats end anywhere."""
    with Image.open(PHOTO) as photo:
        sizes = [photo.resize((width, height)) for width, height in ((200, 150), (65, 97), (48, 32), (31, 33))]
    for picture in [*pictures(), *sizes]:
        assert doubts(FILES[kind](picture)) == []


@pytest.mark.parametrize("quality", [1, 90, *(pytest.param(quality, marks=pytest.mark.proof) for quality in (20, 60, 100))])
def test_no_whole_file_of_any_quality_is_doubted(quality: int) -> None:
    for picture in pictures():
        for name, more in (("JPEG", {}), ("JPEG", {"subsampling": 0}), ("JPEG, progressive", {}), ("WebP", {"method": quality % 7})):
            assert doubts(fuzz.encode(picture, name, quality=quality, **more)) == []


def scan_of(jpeg: bytes) -> int:
    """Where the data of a JPEG's only scan begins."""
    at = jpeg.index(b"\xff\xda")
    return at + 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")


def gif_of(picture: Image.Image) -> tuple[bytes, int]:
    """A GIF, and where its picture's description begins."""
    gif = fuzz.encode(picture, "GIF")
    return gif, 13 + (3 << (gif[10] & 7) + 1)


def few_rows() -> bytes:
    """A PNG with right checksums and the upper half of its rows."""
    header = struct.pack(">IIBBBBB", 40, 40, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes(20 * 41))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def broken() -> dict[str, tuple[bytes, str]]:
    """Files that are damaged in one way each, and what is said of it."""
    picture = pictures()[0]
    png, jpeg, bmp = (fuzz.encode(picture, name) for name in ("PNG", "JPEG", "BMP"))
    turned = fuzz.encode(picture, "PNG", exif=sideways())
    exif = turned.index(b"eXIf") + 10
    scan = scan_of(jpeg)
    half = scan + (len(jpeg) - scan) // 2
    restarts = fuzz.encode(picture, "JPEG", restart_marker_blocks=4)
    gif, at = gif_of(picture)
    return {
        "a chunk after the pixels": (png[:-12] + b"\0\0\0\1tEXtx\0\0\0\0" + png[-12:], "checksum of its part 'tEXt'"),
        "EXIF of a PNG": (turned[:exif] + b"\7" + turned[exif + 1 :], "checksum of its part 'eXIf'"),
        "no IEND": (png[:-12], "truncated"),
        "half of a PNG's rows": (few_rows(), "fewer rows than its header"),
        "half of a JPEG's scan, and its end": (jpeg[:half].rstrip(b"\xff") + b"\xff\xd9", "its pixels need more data than it has"),
        "a restart too many": (restarts.replace(b"\xff\xd1", b"\xff\xd4", 1), "restart markers are out of order"),
        "a marker that is none": (jpeg[:half].rstrip(b"\xff") + b"\xff\x17" + jpeg[half:], "marker 0x17"),
        "a JPEG without a scan": (jpeg[: jpeg.index(b"\xff\xda")] + b"\xff\xd9", "no picture"),
        "a GIF's last block": (gif[:-2], "truncated"),
        "a block of a GIF": (gif[:at] + b"\x2d" + gif[at + 1 :], "a block begins with 0x2d"),
        "a row more in a GIF": (gif[: at + 7] + struct.pack("<H", 151) + gif[at + 9 :], "truncated"),
        "a BMP's pixels in its header": (bmp[:10] + b"\x20" + bmp[11:], "begin within its header"),
        "a BMP's last byte": (bmp[:-1], "truncated"),
    }


@pytest.mark.parametrize("truncated_is_let_pass", [False, True])
@pytest.mark.parametrize(("name", "file", "message"), [(name, *how) for name, how in broken().items()], ids=list(broken()))
def test_each_damage_is_refused(name: str, file: bytes, message: str, truncated_is_let_pass: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in a program that has told Pillow to read truncated pictures; its switch stays as it is."""
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", truncated_is_let_pass)
    with pytest.raises(PictureError, match=message):
        image.prepare(file)
    assert ImageFile.LOAD_TRUNCATED_IMAGES is truncated_is_let_pass


def doubtful() -> dict[str, tuple[bytes, str]]:
    """Files that can be read, with what is said of them."""
    picture = pictures()[1]
    bmp, webp = fuzz.encode(picture, "BMP"), fuzz.encode(picture, "WebP", exif=sideways(1))
    jpeg = fuzz.encode(picture, "JPEG", exif=sideways(1))
    tiff = jpeg.index(b"Exif\0\0") + 6
    gif, at = gif_of(picture)
    return {
        "a row less in a GIF": (gif[: at + 7] + struct.pack("<H", picture.height - 1) + gif[at + 9 :], "more data than its pixels need"),
        "no trailer in a GIF": (gif[:-1], "its end is missing"),
        "a byte more in a BMP": (bmp + b"\0", "1 bytes more"),
        "a BMP's height": (bmp[:22] + struct.pack("<i", picture.height - 1) + bmp[26:], "sizes in its header"),
        "a WebP's flags": (webp[:20] + b"\0" + webp[21:], "its parts do not match its header"),
        "bytes after a WebP": (webp + b"\0" * 9, "9 bytes more"),
        "EXIF of a JPEG": (jpeg[:tiff] + b"XX" + jpeg[tiff + 2 :], "may lie on its side"),
        "bytes between a JPEG's parts": (jpeg[: tiff - 10] + b"\0\0\0" + jpeg[tiff - 10 :], "3 bytes belong to none"),
    }


@pytest.mark.parametrize(("name", "file", "message"), [(name, *how) for name, how in doubtful().items()], ids=list(doubtful()))
def test_each_doubt_is_a_warning(name: str, file: bytes, message: str) -> None:
    assert any(message in warning for warning in image.prepare(file).warnings), image.prepare(file).warnings


def test_a_picture_that_pillow_has_opened_is_refused_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow complains of a broken stream once, and takes the half that it has for the picture."""
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", False)
    png = bytearray(fuzz.encode(pictures()[0], "PNG"))
    png[len(png) // 2] ^= 0x55
    opened = Image.open(io.BytesIO(png))
    for _ in range(3):
        with pytest.raises(PictureError):
            image.prepare(opened)
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    for name in ("PNG", "JPEG", "GIF", "BMP"):
        file = fuzz.encode(pictures()[0], name)
        with pytest.raises(PictureError):
            image.prepare(Image.open(io.BytesIO(file[: len(file) // 2])))


@pytest.mark.parametrize("value", range(9))
def test_every_orientation_in_every_place_is_read_as_pillow_reads_it(value: int) -> None:
    picture = pictures()[1]
    xmp = f'<x:xmpmeta tiff:Orientation="{value}"/>'.encode()
    files = [fuzz.encode(picture, name, exif=sideways(value)) for name in ("PNG", "JPEG", "WebP")]
    files += [fuzz.encode(picture, name, xmp=xmp) for name in ("JPEG", "WebP")]
    for file in files:
        with Image.open(io.BytesIO(file)) as opened:
            assert opened.getexif()[0x0112] == value
            upright = ImageOps.exif_transpose(opened).convert("RGB")
        prepared = image.prepare(file)
        assert (prepared.picture == np.asarray(upright)).all()
        assert not any("damaged" in warning for warning in prepared.warnings)


def test_threads_leave_the_filters_of_warnings_as_they_were() -> None:
    """Which belong to the process: to change them for a while is not safe with threads."""
    file, before, interval = fuzz.encode(pictures()[1], "PNG"), list(warnings.filters), sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=lambda: [image.prepare(file) for _ in range(25)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert list(warnings.filters) == before
    finally:
        sys.setswitchinterval(interval)
        warnings.filters[:] = before  # type: ignore[index]


def test_pillow_has_nothing_to_warn_of() -> None:
    """Of odd metadata it would, on standard error, without the picture's name."""
    picture = pictures()[1]
    jpeg = fuzz.encode(picture, "JPEG", exif=sideways(1), dpi=(0, 0))
    short = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x1a\x01\x05\0\x01\0\0\0\xff\xff\0\0"
    two_pictures = b"MPF\0II*\0\x08\0\0\0\x01\0\x01\xb0\x07\0\x04\0\0\0" + bytes(8)
    at = jpeg.index(b"\xff\xdb")
    odd = jpeg[:2] + b"".join(
        b"\xff" + kind + struct.pack(">H", len(body) + 2) + body for kind, body in ((b"\xe1", short), (b"\xe2", two_pictures))
    )
    png = fuzz.encode(picture, "PNG")
    control = chunk(b"acTL", bytes(8))
    moving = png[:33] + control + control + png[33:]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for file in (odd + jpeg[at:], moving):
            assert image.prepare(file).warnings == ()


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", "uint32", "uint64", ">i4"])
def test_arrays_of_any_integers_are_taken_as_bytes(dtype: str) -> None:
    pixels = np.asarray(pictures()[1].convert("L"))
    pixels = pixels // 2 if dtype == "int8" else pixels
    assert (image.read(pixels.astype(dtype)) == image.read(pixels)).all()
    if dtype == "int8":
        return
    for wrong in (256, -1) if dtype[0] != "u" else (256,):
        array = pixels.astype(dtype)
        array[0, 0] = wrong
        with pytest.raises(PictureError, match=r"array of .* integers are 0 to 255, except for uint16"):
            image.read(array)


def test_the_benchmark_counts_what_is_read_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a folder of pictures; a reader that is silent about a damaged PNG makes it fail."""
    pictures()[1].save(tmp_path / "one.png")
    monkeypatch.setattr(sys, "argv", ["fuzz.py", "--pictures", str(tmp_path), "--count", "6"])
    fuzz.main()
    counts = json.loads(capsys.readouterr().out)["counts"]
    assert counts["png as they are"]["pixels"] == {"refused": 6, "same": 0, "warned": 0, "silent": 0}
    assert all(sum(by.values()) == 6 for one in counts.values() for by in one.values())
    blind = fuzz.Reading(bytes(784), 0, frozenset())
    monkeypatch.setattr(fuzz, "read", lambda predictor, file, several: blind._replace(digit=len(file) % 7, pixels=file))
    with pytest.raises(SystemExit, match="damaged PNGs were read otherwise in silence"):
        fuzz.main()


def test_a_jpeg_that_pillow_has_opened_keeps_its_size() -> None:
    """A large file is decoded at a part of its size; a picture of the user's is not."""
    file = fuzz.encode(pictures()[0].resize((1700, 1300)), "JPEG")
    opened = Image.open(io.BytesIO(file))
    image.prepare(opened)
    assert opened.size == (1700, 1300)
    assert opened.load() is not None
