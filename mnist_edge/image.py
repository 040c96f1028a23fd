"""A picture → 28×28 bytes, ink bright on a dark ground: the one place where pictures become pixels.

For now a picture is MNIST-like: 28×28, or any size with the digit centred and filling most of it.
"""

import io
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from mnist_edge.errors import PictureError

#: Formats that are read, and how their files are called. Others (EPS, PDF, SVG…) need programs that Pillow would start.
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP")
SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp")

#: Sides beyond this are refused before anything is decoded: 4096×4096 grey bytes are 16 MiB.
MAX_SIDE = 4096

#: A picture whose brightest and darkest byte differ by less holds no ink.
MIN_CONTRAST = 16

SIZE = 28

#: What `read` takes: a path, a picture file's bytes, an open binary file, a Pillow image, or a grey array.
Picture = str | Path | bytes | IO[bytes] | Image.Image | NDArray[Any]


def read(picture: Picture) -> NDArray[np.uint8]:
    """Return `picture` as uint8, 28×28, ink bright on a dark ground.

    A picture of 28×28 with a dark border comes back as its own bytes. One with a bright border is inverted; one of
    another size is padded to a square with its ground and scaled.

    Raises PictureError, in one line that names the picture, if it cannot be read.
    """
    grey = _grey_array(picture) if isinstance(picture, np.ndarray) else _grey_picture(picture)
    if int(grey.max()) - int(grey.min()) < MIN_CONTRAST:
        raise PictureError(f"{_name(picture)}: no ink found, all of it is as bright or as dark")
    border = np.concatenate([grey[0], grey[-1], grey[1:-1, 0], grey[1:-1, -1]])
    if np.median(border) > 127:  # the ground touches the border, the ink as a rule does not
        grey = 255 - grey
    return grey if grey.shape == (SIZE, SIZE) else _resize(grey)


def _name(picture: Picture) -> str:
    return str(picture) if isinstance(picture, (str, Path)) else str(getattr(picture, "name", None) or type(picture).__name__)


def _resize(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = grey.shape
    side = max(height, width)
    square = np.full((side, side), np.median(grey[[0, -1]]), np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = grey
    scaled = Image.fromarray(square).resize((SIZE, SIZE), Image.Resampling.BOX if side > SIZE else Image.Resampling.BILINEAR)
    return np.asarray(scaled, np.uint8)


def _grey_array(array: NDArray[Any]) -> NDArray[np.uint8]:
    if array.ndim != 2 or array.dtype != np.uint8 or 0 in array.shape:
        raise PictureError(f"array of {array.dtype}, shape {array.shape}: a grey picture is uint8 with two dimensions, H×W")
    return array


def _grey_picture(picture: str | Path | bytes | IO[bytes] | Image.Image) -> NDArray[np.uint8]:
    if isinstance(picture, Image.Image):
        return _decode(picture, "image")
    if isinstance(picture, (str, Path)):
        name = str(picture)
        if Path(picture).is_dir():
            raise PictureError(f"{name}: a folder, not a picture")
        if Path(picture).exists() and not Path(picture).is_file():
            raise PictureError(f"{name}: not a regular file")
        source: Any = picture
    elif isinstance(picture, bytes):
        name, source = "bytes", io.BytesIO(picture)
    elif hasattr(picture, "read"):
        name, source = str(getattr(picture, "name", "standard input")), picture
    else:
        raise PictureError(f"cannot read a picture from {type(picture).__name__}: give a path, bytes, a file, a Pillow image or an array")
    try:
        with Image.open(source, formats=FORMATS) as opened:
            return _decode(opened, name)
    except FileNotFoundError:
        raise PictureError(f"{name}: no such file") from None
    except UnidentifiedImageError:
        raise PictureError(f"{name}: not a picture in a format that is read here ({', '.join(FORMATS)})") from None
    except Image.DecompressionBombError:
        raise PictureError(f"{name}: too many pixels; at most {MAX_SIDE}×{MAX_SIDE} are read") from None
    except (OSError, ValueError, SyntaxError) as error:
        reason = getattr(error, "strerror", None) or error
        raise PictureError(f"{name}: {reason}") from error


def _on_ground(transparent: Image.Image) -> Image.Image:
    """Put a transparent picture on a ground opposite to its ink: drawing programs save black ink on nothing."""
    grey, opacity = np.asarray(transparent.convert("L"), np.float64), np.asarray(transparent.getchannel("A"), np.float64)
    ink = float((grey * opacity).sum() / max(1.0, opacity.sum()))
    ground = Image.new("RGBA", transparent.size, "white" if ink < 128 else "black")
    return Image.alpha_composite(ground, transparent)


def _decode(opened: Image.Image, name: str) -> NDArray[np.uint8]:
    if max(opened.size) > MAX_SIDE:
        raise PictureError(f"{name}: {opened.width}×{opened.height} pixels; at most {MAX_SIDE}×{MAX_SIDE} are read")
    if opened.has_transparency_data:
        opened = _on_ground(opened.convert("RGBA"))
    if opened.mode.startswith("I;16"):
        return (np.asarray(opened) // 257).astype(np.uint8)  # Pillow's own conversion clips at 255
    return np.asarray(opened.convert("L"), np.uint8)
