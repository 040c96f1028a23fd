"""What is no picture, or a broken one: always one line that names it, soon, and in little memory."""

import io
import json
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from conftest import Command
from PIL import Image

from mnist_edge import image
from mnist_edge.common.errors import PictureError


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, *extra: bytes) -> bytes:
    """A PNG of one bit a pixel, all black, as small as a file can be for its size."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    rows = zlib.compress(bytes(height * (1 + (width + 7) // 8)), 9)
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def whole() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.kron(np.eye(8, dtype=np.uint8) * 255, np.ones((20, 20), np.uint8))).save(buffer, "PNG")
    return buffer.getvalue()


BAD = {
    "bomb.png": (png(13000, 13000), "too many pixels"),
    "large.png": (png(9400, 9400), "too many pixels"),
    "text-bomb.png": (png(20, 20, chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(100_000_000), 9))), "text-bomb.png"),
    "truncated.png": (whole()[:120], "truncated.png"),
    "empty.png": (b"", "not a picture in a supported format"),
    "text.png": (b"this is no picture\n" * 9, "not a picture in a supported format"),
    "drawing.svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture in a supported format"),
    "paper.pdf": (b"%PDF-1.7\n", "not a picture in a supported format"),
    "script.eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "not a picture in a supported format"),
    "dot.png": (png(1, 1), "too few for a digit"),
    "line.png": (png(1, 10000), "too few for a digit"),
    "black.png": (png(50, 50), "no ink found"),
    "line\nbreak.png": (b"", "not a picture in a supported format"),
}


# a process's own peak; ru_maxrss would be that of the process that it was forked from
PEAK = """
def peak_kilobytes():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
"""

CLI = """
import sys
from mnist_edge.cli import cli
try:
    cli.main(args=sys.argv[1:])
finally:
    sys.stderr.write(f"{peak_kilobytes()}\\n")
"""

needs_proc = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is told by /proc")


@needs_proc
def test_each_is_one_line_and_the_rest_is_still_read(models: Path, seven: np.ndarray, tmp_path: Path) -> None:
    """All of them in one call of the installed command, with a good picture last."""
    folder = tmp_path / "bad"
    folder.mkdir()
    for name, (content, _) in BAD.items():
        (folder / name).write_bytes(content)
    expected = dict(sorted({name: message for name, (_, message) in BAD.items()}.items()))
    os.mkfifo(folder / "pipe.png")
    (folder / "folder.png").mkdir()
    (folder / "loop.png").symlink_to("loop.png")
    with (folder / "heavy.png").open("wb") as heavy:
        heavy.truncate(image.MAX_BYTES + 1)
    not_utf8 = os.fsencode(folder) + b"/\xff\xfe.png"
    with open(not_utf8, "wb") as file:  # noqa: PTH123 - a name that pathlib would decode
        file.write(b"nothing")
    names = [*expected, "pipe.png", "folder.png", "loop.png", "heavy.png", "missing.png"]
    expected |= {
        "pipe.png": "not a regular file",
        "folder.png": "no pictures in this folder",
        "loop.png": "symbolic links",
        "heavy.png": "at most 64 MiB",
        "missing.png": "no such file",
    }
    Image.fromarray(seven).save(folder / "good.png")
    pictures = [os.fsencode(folder / name) for name in names] + [not_utf8, os.fsencode(folder / "good.png")]
    command = [sys.executable, "-c", PEAK + CLI, "predict", "--models-dir", models, "--json", *pictures]
    done = subprocess.run(command, capture_output=True, check=False, timeout=60, text=True)
    assert done.returncode == 1
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    _, *errors, kilobytes = done.stderr.splitlines()
    assert int(kilobytes) < 200_000
    assert len(lines) == len(pictures)
    assert len(errors) == len(pictures) - 1
    for name, line, error in zip(names, lines, errors, strict=False):
        assert line["path"] == str(folder / name)
        assert expected[name] in line["error"], name
        assert line["milliseconds"] < 5000
        assert error.startswith("error: ")
        assert name.replace("\n", "\\n") in error
    assert os.fsencode(lines[-2]["path"]) == not_utf8
    assert "\\xff\\xfe.png" in errors[-1]
    assert lines[-1]["digit"] in range(10)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(whole())
    (tmp_path / "secret.png").chmod(0)
    with pytest.raises(PictureError, match=r"secret\.png: Permission denied"):
        image.read(tmp_path / "secret.png")


@needs_proc
@pytest.mark.slow
def test_single_bytes_changed_at_random_never_break_the_reader() -> None:
    """Thousands of broken files, in a process whose memory can be told."""
    fuzz = Path(__file__).resolve().parents[2] / "benchmarks" / "fuzz.py"
    done = subprocess.run([sys.executable, fuzz, "--count", "150", "--seed", "1"], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    result = json.loads(done.stdout)
    for name, counts in result["counts"].items():
        assert sum(counts["pixels"].values()) == 150
        assert counts["pixels"]["refused"]
        assert not name.startswith("PNG") or counts["pixels"]["refused"] == 150
        assert name.startswith("PNG") or counts["pixels"]["same"]
    assert result["slowest_seconds"] < 5  # not minutes
    assert result["peak_kilobytes"] < 200_000


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((28, 28, 4), np.uint8), "H×W×3 in colour"),
        (np.zeros((0, 28), np.uint8), "H×W"),
        (np.zeros((1, 1, 28, 28), np.uint8), "H×W"),
        (np.full((28, 28), 256, np.int32), "integers are 0 to 255, except for uint16"),
        (np.zeros((28, 28), np.complex64), "bool, integers or floats"),
        (np.full((28, 28), np.nan), "NaN or infinity"),
        (np.full((28, 28), np.inf), "NaN or infinity"),
        (np.full((28, 28), -1.0), "0 to 1, or 0 to 255"),
        (np.full((28, 28), 300.0), "0 to 1, or 0 to 255"),
        (np.zeros((2, 28), np.uint8), "too few for a digit"),
        (np.zeros((5000, 5000), np.bool_), "too many pixels"),
    ],
)
def test_arrays_that_are_no_picture_say_what_is_taken(array: np.ndarray, message: str) -> None:
    with pytest.raises(PictureError, match=message) as error:
        image.read(array)
    assert str(error.value).startswith("array of ")


def test_other_objects_say_what_is_taken() -> None:
    for wrong in (7, None, ["x.png"]):
        with pytest.raises(PictureError, match="give a path, bytes, a file, a Pillow image or an array"):
            image.read(wrong)  # type: ignore[arg-type]
    with pytest.raises(PictureError, match="binary mode"):
        image.read(io.StringIO("text"))  # type: ignore[arg-type]
    with pytest.raises(PictureError, match="bytes: not a picture"):
        image.read(b"")


def test_standard_input_that_is_too_long_is_refused(run_command: Command, models: Path, tmp_path: Path) -> None:
    with (tmp_path / "long").open("wb") as long:
        long.truncate(image.MAX_BYTES + 1)
    with (tmp_path / "long").open("rb") as long:
        done = run_command("predict", "-", "--models-dir", models, check=1, stdin=long)
    assert "standard input: more than 64 MiB" in done.stderr
