"""A file, bytes, an image or an array → a picture: upright, opaque, grey or RGB, and not larger than needed."""

from __future__ import annotations

import io
import os
import re
import stat
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from struct import error as StructError
from struct import unpack_from
from types import FunctionType
from typing import IO, TYPE_CHECKING, Any, NamedTuple, TypeAlias
from zlib import crc32

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from mnist_edge.common.errors import PictureError, printable
from mnist_edge.image.intact import DamagedError, Probe, doubt, examine

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

#: The formats that are read, with the names of their files. For others (EPS, PDF, SVG…) Pillow would start other programs.
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP")
SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp")

#: Pictures beyond this are refused before anything is decoded: 64 MiB as RGBA.
MAX_PIXELS = 4096 * 4096

#: Files beyond this are refused before anything is read.
MAX_BYTES = 64 * 1024 * 1024

#: A picture of a digit has at least this length on its longer side, and this width on its shorter one, in pixels.
MIN_LENGTH, MIN_WIDTH = 8, 4

#: Pictures are worked on with their longer side at most this many pixels: twenty times what the network sees.
WORKING_SIDE = 400

#: How large a picture may be that is worked on; None means a longer side of at most `WORKING_SIDE`, a number so many pixels in all.
Room: TypeAlias = "int | None"

#: A path, a picture file's bytes, an open binary file, a Pillow image, or an array: H×W grey or H×W×3 colour.
Picture: TypeAlias = "str | Path | bytes | IO[bytes] | Image.Image | NDArray[Any]"


class Decoded(NamedTuple):
    """An upright, opaque picture.

    Attributes:
        name: what messages call it.
        pixels: uint8, H×W grey or H×W×3 RGB, no larger than there is room for.
        size: width and height of the upright picture before it was made smaller.
        warnings: what a person should know about the file.
    """

    name: str
    pixels: NDArray[np.uint8]
    size: tuple[int, int]
    warnings: tuple[str, ...] = ()


def decode(picture: Picture, max_pixels: int = MAX_PIXELS, room: Room = None) -> Decoded:
    """Decode a picture of at most `max_pixels`, and make it so small that there is `room` for it.

    Raises PictureError, in one line that names the picture, if it cannot be read.
    """
    if isinstance(picture, np.ndarray):
        return _decode_array(picture, room)
    if isinstance(picture, Image.Image):
        with _reasons("image"):
            _check_size(picture.size, "image", max_pixels)
            _load(picture)
            return _upright(picture.copy(), picture.size, picture.info, (), "image", room)
    if isinstance(picture, (str, Path)):
        name = printable(picture)
        with _reasons(name), _open_regular(picture) as file:
            return _decode_bytes(file.read(), name, max_pixels, room)
    if isinstance(picture, (bytes, bytearray, memoryview)):
        return _decode_bytes(bytes(picture), "bytes", max_pixels, room)
    if hasattr(picture, "read"):
        name = printable(getattr(picture, "name", None) or "file")
        with _reasons(name):
            return _decode_bytes(picture.read(MAX_BYTES + 1), name, max_pixels, room)
    raise PictureError(f"cannot read a picture from {type(picture).__name__}: give a path, bytes, a file, a Pillow image or an array")


@contextmanager
def _reasons(name: str) -> Iterator[None]:
    """Turn whatever decoding raises into one line that names the picture."""
    try:
        yield
    except PictureError:
        raise
    except FileNotFoundError:
        raise PictureError(f"{name}: no such file") from None
    except DamagedError as error:
        raise PictureError(f"{name}: {error}") from None
    except UnidentifiedImageError:
        raise PictureError(f"{name}: not a picture in a supported format ({', '.join(FORMATS)})") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise PictureError(f"{name}: too many pixels; {_AT_MOST}") from None
    except OSError as error:
        raise PictureError(f"{name}: {' '.join(str(error.strerror or error).split())}") from error
    except Exception as error:  # a damaged file makes Pillow's readers raise nearly anything
        raise PictureError(f"{name}: damaged ({' '.join(f'{type(error).__name__}: {error}'.split())[:120]})") from error


_AT_MOST = f"at most {MAX_PIXELS:,}, such as 4096×4096, are read"


@contextmanager
def _open_regular(path: str | Path) -> Iterator[IO[bytes]]:
    """Open a file, without waiting for one that is a pipe. Raises PictureError for what is no regular file."""
    name = printable(path)
    # O_NONBLOCK and O_BINARY are not on every system
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(descriptor, "rb") as file:
        state = os.fstat(descriptor)
        if stat.S_ISDIR(state.st_mode):
            raise PictureError(f"{name}: a folder, not a picture")
        if not stat.S_ISREG(state.st_mode):
            raise PictureError(f"{name}: not a regular file")
        if state.st_size > MAX_BYTES:
            raise PictureError(f"{name}: {state.st_size / 2**20:,.0f} MiB; at most {MAX_BYTES // 2**20} MiB are read")
        yield file


def _decode_bytes(data: Any, name: str, max_pixels: int, room: Room) -> Decoded:
    if not isinstance(data, bytes):
        raise PictureError(f"{name}: gives {type(data).__name__}, not bytes; open it in binary mode")
    if len(data) > MAX_BYTES:
        raise PictureError(f"{name}: more than {MAX_BYTES // 2**20} MiB")
    with _reasons(name):
        form = _form(data)
        file = examine(form, data)
        with _open(form, file.data) as opened:
            size = _decode_pixels(opened, name, max_pixels, room)
            notes = file.doubts + (_ask(file.probe, form, opened, room) if file.probe else ())
            # Pillow finds what `examine` cannot
            animated = getattr(opened, "is_animated", False) if file.animated is None else file.animated
            metadata = opened.info if file.metadata is None else file.metadata
            if animated:
                notes = ("an animation: only its first picture is read", *notes)
            return _upright(opened, size, metadata, notes, name, room)


#: How a file of each format begins, and Pillow's module and class that read it. `Image.open(file, formats=[…])` does not do here:
#: it imports five such modules for a PNG (2 ms), and all of them, forty, for a WebP (16 ms and 3 MB); for a picture of many pixels
#: it gives a Python warning before we can refuse it; and damage in a header becomes "cannot identify".
_READERS = {
    "PNG": (rb"\x89PNG\r\n\x1a\n", "PngImagePlugin", "PngImageFile"),
    "JPEG": (rb"\xff\xd8\xff", "JpegImagePlugin", "JpegImageFile"),
    "GIF": (rb"GIF8[79]a", "GifImagePlugin", "GifImageFile"),
    "BMP": (rb"BM", "BmpImagePlugin", "BmpImageFile"),
    "WEBP": (rb"(?s:RIFF....WEBP)", "WebPImagePlugin", "WebPImageFile"),
}


def is_picture(path: Path) -> bool:
    """Say whether a file begins as a picture of a format that is read here; False for a file that cannot be read."""
    try:
        with path.open("rb") as file:
            first = file.read(16)
    except OSError:
        return False
    return any(re.match(pattern, first) for pattern, _, _ in _READERS.values())


def _form(data: bytes) -> str:
    for form, (pattern, _, _) in _READERS.items():
        if re.match(pattern, data):
            return form
    raise UnidentifiedImageError


def _open(form: str, data: bytes) -> Image.Image:
    _, module, reader = _READERS[form]
    opened: Image.Image = getattr(import_module(f"PIL.{module}"), reader)(io.BytesIO(data))
    return opened


def _decode_pixels(opened: Image.Image, name: str, max_pixels: int, room: Room) -> tuple[int, int]:
    """Decode the pixels, if they are neither too many nor too few. Return width and height before a JPEG was made smaller."""
    size = opened.size
    _check_size(size, name, max_pixels)
    opened.draft(None, _draft_size(size, room))  # lets a JPEG be decoded at a half, a quarter or an eighth of its size
    _load(opened)
    return size


def _ask(probe: Probe, form: str, opened: Image.Image, room: Room) -> tuple[str, ...]:
    """Decode the second file; return a warning where it shows damage. Raises DamagedError where the damage is certain."""
    other = _look(form, probe.data, room)
    if probe.same is None:
        sound = other is None
    else:
        against = crc32(opened.tobytes()) if probe.against is None else _look(form, probe.against, room)
        sound = (other == against) == probe.same
    if sound:
        return ()
    if probe.certain:
        raise DamagedError(probe.complaint)
    return (doubt(probe.complaint),)


def _look(form: str, data: bytes, room: Room) -> int | None:
    """Return a checksum of a file's pixels; None if it cannot be decoded."""
    with suppress(Exception), _open(form, data) as opened:
        opened.draft(None, _draft_size(opened.size, room))
        _load(opened)
        return crc32(opened.tobytes())
    return None


def _upright(
    opened: Image.Image, size: tuple[int, int], metadata: Mapping[Any, Any], notes: tuple[str, ...], name: str, room: Room
) -> Decoded:
    small = _opaque(opened, room) if opened.has_transparency_data or opened.mode in ("La", "RGBa") else _plain(opened, room)
    try:
        turn = _TURNS.get(_orientation(metadata))
    except ValueError:  # not a reason to refuse a picture whose pixels are sound
        turn = None
        notes += (doubt("its EXIF cannot be read, so it may lie on its side"),)
    if turn is not None:
        small = small.transpose(turn)
        if turn in _SIDEWAYS:
            size = size[::-1]
    return Decoded(name, np.asarray(small, np.uint8), size, notes)


def _load(image: Image.Image) -> None:
    """Decode the pixels. Raises OSError, each time, where they are damaged or end too soon."""
    load, tiles = image.load, getattr(image, "tile", None)
    if ImageFile.LOAD_TRUNCATED_IMAGES and type(image).load is ImageFile.ImageFile.load:
        # the program around us lets half a picture pass. That switch is a global of Pillow's, which other threads read too: so we
        # leave it alone and run Pillow's code with globals of its own
        code = ImageFile.ImageFile.load
        load = FunctionType(code.__code__, vars(ImageFile) | {"LOAD_TRUNCATED_IMAGES": False}, closure=code.__closure__).__get__(image)
    try:
        load()
    except Exception:
        if tiles is not None:  # else Pillow takes a damaged picture for loaded, and is silent the next time
            image.tile = tiles  # type: ignore[attr-defined]
        raise


def _check_size(size: tuple[int, int], name: str, max_pixels: int) -> None:
    if size[0] * size[1] > max_pixels:
        at_most = _AT_MOST if max_pixels == MAX_PIXELS else f"at most {max_pixels:,} are read here"
        raise PictureError(f"{name}: too many pixels ({size[0]}×{size[1]}); {at_most}")
    if max(size) < MIN_LENGTH or min(size) < MIN_WIDTH:
        raise PictureError(f"{name}: {size[0]}×{size[1]} pixels are too few for a digit; at least {MIN_WIDTH}×{MIN_LENGTH}")


#: How a picture with each value of EXIF's Orientation (tag 0x0112; JEITA CP-3451, 4.6.4) is turned upright.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = {Image.Transpose.TRANSPOSE, Image.Transpose.ROTATE_270, Image.Transpose.TRANSVERSE, Image.Transpose.ROTATE_90}


def _orientation(metadata: Mapping[Any, Any]) -> int:
    """Return a picture's orientation, 1 to 8, from its EXIF or else its XMP; 1 if neither names one. Raises ValueError for damaged EXIF.

    Pillow's own reader would load a PNG again, import its TIFF reader and warn.
    """
    exif, xmp = metadata.get("exif"), metadata.get("xmp") or metadata.get("XML:com.adobe.xmp")
    if exif is None and isinstance(raw := metadata.get("Raw profile type exif"), str):  # where ImageMagick puts it in a PNG
        exif = bytes.fromhex("".join(raw.split("\n")[3:]))
    value = _exif_orientation(exif) if isinstance(exif, bytes) and exif else None
    if isinstance(xmp, str):
        xmp = xmp.encode()
    if value is None and isinstance(xmp, bytes) and (found := re.search(rb'tiff:Orientation(?:="|>)([0-9])', xmp)):
        value = int(found[1])
    return value or 1  # some cameras write 0


def _exif_orientation(exif: bytes) -> int | None:
    """Return Orientation from the first directory of EXIF's TIFF structure (TIFF 6.0, section 2), None if it is not there."""
    while exif.startswith(b"Exif\0\0"):
        exif = exif[6:]
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        raise ValueError("no TIFF structure")
    try:
        (start,) = unpack_from(f"{order}I", exif, 4)
        (entries,) = unpack_from(f"{order}H", exif, start)
        for entry in range(start + 2, start + 2 + 12 * entries, 12):
            tag, kind, values = unpack_from(f"{order}HHI", exif, entry)
            if tag == 0x0112:
                (value,) = unpack_from(order + {1: "B", 3: "H", 4: "I"}.get(kind, "H"), exif, entry + 8)
                if values != 1 or value > 8:
                    raise ValueError("no such orientation")
                return int(value)
    except StructError as error:
        raise ValueError("it ends too soon") from error
    return None


def _shrunk(size: tuple[int, int], room: Room) -> tuple[int, int]:
    """Return the size that there is room for, not above `size`, its aspect kept."""
    most, given = (WORKING_SIDE, max(size)) if room is None else (room**0.5, (size[0] * size[1]) ** 0.5)
    return size if given <= most else (max(1, round(size[0] * most / given)), max(1, round(size[1] * most / given)))


def _draft_size(size: tuple[int, int], room: Room) -> tuple[int, int]:
    """Return the size that a JPEG's decoder is asked for; what it gives is this or larger."""
    return (WORKING_SIDE, WORKING_SIDE) if room is None else _shrunk(size, room)


def _smaller(image: Image.Image, room: Room) -> Image.Image:
    """Return the image no larger than there is room for, each new pixel the mean of the pixels that it replaces."""
    size = _shrunk(image.size, room)
    return image if size == image.size else image.resize(size, Image.Resampling.BOX, reducing_gap=2.0)


def _plain(image: Image.Image, room: Room) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":  # 16 bits or more; Pillow's own conversion clips at 255
        deep = np.asarray(image)
        name = f"image of mode {image.mode}"
        return _smaller(Image.fromarray(_bytes(deep if image.mode == "F" else deep.clip(0, 65535).astype(np.uint16), name)), room)
    if image.mode == "1":  # grey may be dithered into dots; the mean of 2×2 blurs them
        image = image.convert("L")
        image = image.reduce(2) if min(image.size) >= 100 else image
    elif image.mode in ("P", "CMYK", "YCbCr", "LAB", "HSV"):
        image = image.convert("RGB")
    image = _smaller(image, room)
    return image if image.mode in ("L", "RGB") else image.convert("RGB")


def _opaque(image: Image.Image, room: Room) -> Image.Image:
    """Put a transparent picture on a ground.

    Where most of it is transparent, that is the paper: it becomes as unlike the ink as it can, since drawing programs save black
    ink on nothing. Where little is, it is a margin, and takes the colour of the rest.
    """
    if image.mode in ("La", "RGBa"):  # premultiplied; these convert to one mode only
        image = image.convert("LA" if image.mode == "La" else "RGBA")
    rgba = _smaller(image.convert("RGBA"), room)
    pixels = np.asarray(rgba)
    opacity = pixels[..., 3].astype(np.float64)
    if opacity.min() == 255:
        return rgba.convert("RGB")
    if np.median(opacity) < 128:
        ink = float((pixels[..., :3].mean(axis=2) * opacity).sum() / max(1.0, opacity.sum()))
        ground: tuple[int, ...] = (255, 255, 255) if ink < 128 else (0, 0, 0)
    else:
        ground = tuple(int(value) for value in np.median(pixels[opacity >= 128][:, :3], axis=0))
    return Image.alpha_composite(Image.new("RGBA", rgba.size, (*ground, 255)), rgba).convert("RGB")


def _decode_array(array: NDArray[Any], room: Room) -> Decoded:
    """Take H×W, H×W×1 or H×W×3: bool, uint16, other integers from 0 to 255, or floats from 0 to 1 or 0 to 255."""
    name = f"array of {array.dtype}, shape {'×'.join(map(str, array.shape))}"
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3)) or 0 in array.shape:
        raise PictureError(f"{name}: a picture is H×W, or H×W×3 in colour")
    _check_size((array.shape[1], array.shape[0]), name, MAX_PIXELS)
    image = Image.fromarray(np.ascontiguousarray(_bytes(array[..., 0] if array.shape[2:] == (1,) else array, name)))
    return Decoded(name, np.asarray(_smaller(image, room), np.uint8), image.size)


def _bytes(array: NDArray[Any], name: str) -> NDArray[np.uint8]:
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * np.uint8(255)
    if np.issubdtype(array.dtype, np.uint16):  # of either byte order
        used = max(8, int(array.max()).bit_length())  # scanners leave the upper bits empty
        return np.asarray(array >> (used - 8), np.uint8)
    whole = np.issubdtype(array.dtype, np.integer)
    if not whole and not np.issubdtype(array.dtype, np.floating):
        raise PictureError(f"{name}: values are bool, integers or floats")
    if not np.isfinite(array).all():
        raise PictureError(f"{name}: holds NaN or infinity")
    low, high = array.min(), array.max()
    if whole:
        if low < 0 or high > 255:
            raise PictureError(f"{name}: values from {low} to {high}; integers are 0 to 255, except for uint16")
        return array.astype(np.uint8)
    if low < 0 or high > 255:
        raise PictureError(f"{name}: values from {low:g} to {high:g}; floats are 0 to 1, or 0 to 255")
    return np.asarray(np.rint(array * 255 if high <= 1 else array), np.uint8)
