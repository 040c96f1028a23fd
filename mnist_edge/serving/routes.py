"""Every path of the server, once: what answers it, and what the OpenAPI document says of it."""

from __future__ import annotations

import re
from typing import Any, NamedTuple


class Route(NamedTuple):
    """A path of the server.

    Attributes:
        method: GET or POST; GET paths take HEAD, too.
        path: as OpenAPI writes it, with ``{model}`` and ``{version}``.
        does: the name of the function in `app` that answers.
        kind: what metrics count it under.
        summary: what it is for.
        open: True if it needs no token.
        answers: the content types of its answer, each with its JSON schema's name or a schema.
        takes: the same for its body.
        query: names of what can follow a ``?``, each with its schema and words.
        headers: the same for headers that matter.
    """

    method: str
    path: str
    does: str
    kind: str
    summary: str
    open: bool = False
    answers: dict[str, Any] = {"application/json": {"type": "object"}}  # noqa: RUF012 - never changed
    takes: dict[str, Any] = {}  # noqa: RUF012 - never changed
    query: dict[str, Any] = {}  # noqa: RUF012 - never changed
    headers: dict[str, Any] = {}  # noqa: RUF012 - never changed

    @property
    def pattern(self) -> re.Pattern[str]:
        """A pattern for the paths that it answers."""
        return re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(self.path)) + r"\Z")


def _schema(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


_BINARY = {"type": "string", "format": "binary"}
_HTML = {"text/html": {"type": "string"}}
_TEXT = {"text/plain": {"type": "string"}}
_MODEL = {"application/json": _schema("ModelMetadata")}
_READY = {"application/json": _schema("ModelReady")}
_INFER: dict[str, Any] = {
    "takes": {"application/json": _schema("InferenceRequest"), "application/octet-stream": _BINARY},
    "answers": {"application/json": _schema("InferenceResponse"), "application/octet-stream": _BINARY},
    "headers": {
        "Inference-Header-Content-Length": (
            {"type": "integer", "minimum": 0},
            "How many bytes of the body are JSON; the pixels follow. 0: the body is N×784 bytes of pixels and nothing else.",
        )
    },
}
_PICTURES = {"image/png": _BINARY, "image/jpeg": _BINARY, "image/gif": _BINARY, "image/bmp": _BINARY, "image/webp": _BINARY}

ROUTES = (
    Route("GET", "/v2/health/live", "live", "health", "The server is running.", open=True, answers={"application/json": _schema("Live")}),
    Route(
        "GET",
        "/v2/health/ready",
        "ready",
        "health",
        "The server answers: each model passed its self-test.",
        open=True,
        answers={"application/json": _schema("Ready")},
    ),
    Route(
        "GET",
        "/v2",
        "server",
        "metadata",
        "The server's name, version and extensions.",
        answers={"application/json": _schema("ServerMetadata")},
    ),
    Route("GET", "/v2/", "server", "metadata", "The same.", answers={"application/json": _schema("ServerMetadata")}),
    Route("GET", "/v2/models/{model}", "model", "metadata", "A model's inputs and outputs.", answers=_MODEL),
    Route("GET", "/v2/models/{model}/versions/{version}", "model", "metadata", "The same, for one version.", answers=_MODEL),
    Route("GET", "/v2/models/{model}/ready", "model_ready", "health", "The model answers.", answers=_READY),
    Route("GET", "/v2/models/{model}/versions/{version}/ready", "model_ready", "health", "The same, for one version.", answers=_READY),
    Route("POST", "/v2/models/{model}/infer", "infer", "infer", "Pixels in, logits out.", **_INFER),
    Route("POST", "/v2/models/{model}/versions/{version}/infer", "infer", "infer", "The same, for one version.", **_INFER),
    Route(
        "POST",
        "/v2/repository/index",
        "index",
        "index",
        "The models that are served.",
        answers={"application/json": _schema("RepositoryIndex")},
    ),
    Route(
        "POST",
        "/predict",
        "predict",
        "predict",
        "Read the digit in any picture or, with several=1, all digits of a page. The picture is the body, or the one file of a form.",
        takes=_PICTURES | {"multipart/form-data": {"type": "object", "properties": {"picture": _BINARY}}},
        answers={"application/json": {"oneOf": [_schema("Prediction"), _schema("Page")]}, "image/png": _BINARY},
        query={
            "model": ({"type": "string"}, "The model; needed where several are served."),
            "ink": (
                {"type": "string", "enum": ["auto", "dark", "light"], "default": "auto"},
                "Whether the ink is darker or lighter than the paper.",
            ),
            "several": (
                {"type": "string", "enum": ["0", "1"], "default": "0"},
                "1: read all digits of a page, in rows from top to bottom.",
            ),
            "explain": (
                {"type": "string", "enum": ["0", "1"], "default": "0"},
                "1: answer with a PNG that shows what was found, seen and answered.",
            ),
        },
    ),
    Route("GET", "/metrics", "metrics", "metrics", "Metrics of all workers, for Prometheus.", answers=_TEXT),
    Route("GET", "/", "page", "page", "A page to draw on.", open=True, answers=_HTML),
    Route("GET", "/page.js", "script", "page", "The page's script.", open=True, answers={"text/javascript": {"type": "string"}}),
    Route("GET", "/page.css", "style", "page", "The page's style.", open=True, answers={"text/css": {"type": "string"}}),
    Route("GET", "/openapi.json", "document", "docs", "This document.", open=True),
    Route("GET", "/docs", "docs", "docs", "This document as a page.", open=True, answers=_HTML),
)
