"""A picture in a request's body → its digit, or with ``several=1`` the digits of a page: as JSON, or drawn."""

from __future__ import annotations

import io
import json
import time
from bisect import bisect_left
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qs

import numpy as np

from mnist_edge import image
from mnist_edge.common.errors import PictureError
from mnist_edge.image.digit import READS_ALL
from mnist_edge.proof.confidence import softmax
from mnist_edge.serving import bodies
from mnist_edge.serving.metrics import CONFIDENCES, Tally
from mnist_edge.serving.refusals import RefusalError

if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from PIL.Image import Image

    from mnist_edge.serving.models import Served
    from mnist_edge.serving.settings import Settings

_PARAMETERS = ("model", "ink", "explain", "several")

#: A body, and the headers that say what it is.
Content = tuple[bytes, list[tuple[bytes, bytes]]]


class Asked(NamedTuple):
    """What the query of a request asks for.

    Attributes:
        model: the model's name; empty for the only one.
        ink: as in `Predictor.predict`.
        explain: whether to answer with a picture.
        several: whether to read all digits of a page.
    """

    model: str
    ink: str
    explain: bool
    several: bool


def asked(query_string: bytes) -> Asked:
    """Read a query. Raises RefusalError, 400."""
    query = parse_qs(query_string.decode("latin-1"), keep_blank_values=True)
    if unknown := sorted(set(query) - set(_PARAMETERS)):
        raise RefusalError(400, f"unknown parameter {{}}; known: {', '.join(_PARAMETERS)}", shown=(repr(unknown[0][:50]),))
    ink = query.get("ink", ["auto"])[-1]
    if ink not in image.INKS:
        raise RefusalError(400, f"ink has to be one of {', '.join(image.INKS)}")
    flags = {name: query.get(name, ["0"])[-1] for name in ("explain", "several")}
    for name, value in flags.items():
        if value not in ("0", "1"):
            raise RefusalError(400, f"{name} has to be 0 or 1")
    return Asked(query.get("model", [""])[-1], ink, flags["explain"] == "1", flags["several"] == "1")


def answer(
    model: Served, body: bytes, headers: Mapping[bytes, bytes], what: Asked, settings: Settings, given_up: threading.Event | None = None
) -> tuple[Content, Tally]:
    """Answer a picture: the file that the body is, or the one file of a form. Raises RefusalError, GoneError."""
    started = time.perf_counter()
    body = bodies.unpack(body, headers.get(b"content-encoding", b""), settings.max_body)
    name, content = bodies.picture_of(body, headers.get(b"content-type", b""))
    try:
        found, drawn, digits = (_page if what.several else _digit)(model, content, what, settings, given_up)
    except PictureError as error:
        raise RefusalError(400, str(error).replace("bytes: ", "the picture: ", 1)) from None
    tally = Tally(
        [(digit, 1) for digit, _ in digits], [(bisect_left(CONFIDENCES, sure), 1) for _, sure in digits], sum(s for _, s in digits)
    )
    if drawn is not None:
        buffer = io.BytesIO()
        drawn.save(buffer, "PNG")
        return (buffer.getvalue(), [(b"content-type", b"image/png")]), tally
    document = {"path": name} | found | {"milliseconds": round(1000 * (time.perf_counter() - started), 3)}
    document |= {"model": model.name, "version": model.version}
    return (json.dumps(document).encode(), [(b"content-type", b"application/json")]), tally


#: What is found, as JSON values; the drawing, if it is asked for; each digit with its confidence.
_Found = tuple[dict[str, Any], "Image | None", list[tuple[int, float]]]


def _digit(model: Served, content: bytes, what: Asked, settings: Settings, given_up: threading.Event | None) -> _Found:
    prepared = image.prepare(content, what.ink, max_pixels=settings.max_pixels)
    (prediction,) = model.predictor.predictions(model.logits(prepared.pixels[None, None], given_up))
    noticed = tuple(warning.replace(READS_ALL, "?several=1 reads all") for warning in prepared.warnings)
    prediction = prediction._replace(warnings=noticed + prediction.warnings)
    found = prediction.to_json() | {"ink": prepared.ink, "box": list(prepared.box)}
    drawn = None
    if what.explain:
        from mnist_edge.image import drawing

        drawn = drawing.explain(prepared, prediction.probabilities, prediction.warnings)
    return found, drawn, [(prediction.digit, prediction.confidence)]


def _page(model: Served, content: bytes, what: Asked, settings: Settings, given_up: threading.Event | None) -> _Found:
    from mnist_edge import reading

    def probabilities(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
        parts = np.split(pixels, len(pixels)) if model.predictor.one_by_one else [pixels]
        return softmax(np.concatenate([model.logits(part, given_up) for part in parts]))

    page = reading.read(content, probabilities, what.ink, threshold=model.predictor.threshold, max_pixels=settings.max_pixels)
    drawn = None
    if what.explain:
        from mnist_edge.reading import drawing

        drawn = drawing.explain(page)
    return page.to_json(), drawn, [(one.digit, one.confidence) for one in page.digits]
