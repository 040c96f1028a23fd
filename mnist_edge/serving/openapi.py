"""The OpenAPI document of the server's routes, and a page of it."""

from __future__ import annotations

from html import escape
from typing import Any

from mnist_edge.common.version import __version__
from mnist_edge.serving.routes import ROUTES, Route

_TEXT, _NUMBER, _WHOLE, _FLAG = {"type": "string"}, {"type": "number"}, {"type": "integer"}, {"type": "boolean"}

#: What each status means, whatever the path.
ERRORS = {
    400: "The request is not valid; the error says why.",
    401: "The token is missing or wrong.",
    404: "There is no such path, model or version.",
    405: "The path does not support this method.",
    408: "Headers or body came too slowly.",
    413: "The body is too large.",
    415: "The body's Content-Encoding is neither gzip nor deflate.",
    421: "The Host header names another machine.",
    431: "The headers are too large.",
    500: "The model failed.",
    503: "Too much to do, or no answer in time; try again.",
}


def _list(of: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": of}


def _object(required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": required.split(), "properties": properties}


_TENSOR = {
    "name": _TEXT,
    "datatype": _TEXT,
    "shape": _list(_WHOLE),
    "parameters": {"type": "object"},
    "data": {"type": "array", "items": {}},
}
_PORT = _object("name datatype shape", name=_TEXT, datatype=_TEXT, shape=_list(_WHOLE))

SCHEMAS = {
    "Error": _object("error", error=_TEXT),
    "Live": _object("live", live=_FLAG),
    "Ready": _object("ready live", ready=_FLAG, live=_FLAG),
    "ServerMetadata": _object("name version extensions", name=_TEXT, version=_TEXT, extensions=_list(_TEXT)),
    "ModelMetadata": _object(
        "name versions platform inputs outputs",
        name=_TEXT,
        versions=_list(_TEXT),
        platform=_TEXT,
        inputs=_list(_PORT),
        outputs=_list(_PORT),
    ),
    "ModelReady": _object("name ready", name=_TEXT, ready=_FLAG),
    "RepositoryIndex": _list(_object("name version state reason", name=_TEXT, version=_TEXT, state=_TEXT, reason=_TEXT)),
    "InferenceRequest": _object(
        "inputs",
        id=_TEXT,
        parameters={"type": "object", "properties": {"binary_data_output": _FLAG}},
        inputs=_list(_object("name datatype shape", **_TENSOR)),
        outputs=_list(_object("name", name=_TEXT, parameters={"type": "object", "properties": {"binary_data": _FLAG}})),
    ),
    "InferenceResponse": _object(
        "model_name outputs", model_name=_TEXT, model_version=_TEXT, id=_TEXT, outputs=_list(_object("name datatype shape", **_TENSOR))
    ),
    "Prediction": _object(
        "digit confidence probabilities warnings",
        path=_TEXT,
        digit=_WHOLE,
        confidence=_NUMBER,
        probabilities=_list(_NUMBER),
        warnings=_list(_TEXT),
        ink={"type": "string", "enum": ["dark", "light"]},
        box=_list(_WHOLE),
        milliseconds=_NUMBER,
        model=_TEXT,
        version=_TEXT,
    ),
    "Page": _object(
        "text rows warnings",
        path=_TEXT,
        text=_TEXT,
        rows=_list(_list(_object("digit confidence box", digit=_WHOLE, confidence=_NUMBER, box=_list(_WHOLE), warnings=_list(_TEXT)))),
        ink={"enum": ["dark", "light", None]},
        turned=_WHOLE,
        warnings=_list(_TEXT),
        milliseconds=_NUMBER,
        model=_TEXT,
        version=_TEXT,
    ),
}


def document(with_token: bool) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document; `with_token` says whether this server asks for one."""
    paths: dict[str, Any] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, with_token)
    components: dict[str, Any] = {"schemas": SCHEMAS}
    if with_token:
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    about = {"title": "mnist-edge", "version": __version__, "description": "Open Inference Protocol, version 2, and pictures of digits."}
    return {"openapi": "3.1.0", "info": about, "paths": paths, "components": components}


def page(with_token: bool) -> str:
    """Return the document as a page of HTML without scripts."""
    rows = "".join(_row(route) for route in ROUTES)
    errors = "".join(f"<tr><td>{code}</td><td>{escape(text)}</td></tr>" for code, text in ERRORS.items())
    token = "<p>Requests need the header <code>Authorization: Bearer TOKEN</code>, except for those marked open.</p>" if with_token else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        '<title>mnist-edge: paths</title><link rel="icon" href="data:,"><link rel="stylesheet" href="/page.css"></head><body class="docs"><h1>Paths of this server</h1>'
        f'<p>Version {escape(__version__)}. <a href="/openapi.json">openapi.json</a> is the same for programs.</p>{token}'
        f'<table class="paths"><thead><tr><th>path</th><th>what it is for</th><th>takes</th><th>answers</th></tr></thead><tbody>{rows}</tbody></table>'
        f"<h2>Errors</h2><p>Each is <code>{{&quot;error&quot;: &quot;…&quot;}}</code>.</p><table><tbody>{errors}</tbody></table></body></html>"
    )


def _operation(route: Route, with_token: bool) -> dict[str, Any]:
    codes = {
        str(code): {"description": text, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}}
        for code, text in ERRORS.items()
    }
    operation: dict[str, Any] = {
        "operationId": f"{route.does}{route.path}".replace("/", "_").replace("{", "").replace("}", "").replace(".", "_"),
        "summary": route.summary,
        "responses": {"200": {"description": "Done.", "content": _content(route.answers)}} | codes,
    }
    parameters = [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in route.pattern.groupindex]
    for where, given in (("query", route.query), ("header", route.headers)):
        parameters += [{"name": name, "in": where, "description": words, "schema": schema} for name, (schema, words) in given.items()]
    if parameters:
        operation["parameters"] = parameters
    if route.takes:
        operation["requestBody"] = {"required": True, "content": _content(route.takes)}
    if with_token and not route.open:
        operation["security"] = [{"token": []}]
    return operation


def _content(types: dict[str, Any]) -> dict[str, Any]:
    return {kind: {"schema": schema} for kind, schema in types.items()}


def _row(route: Route) -> str:
    query = "".join(f"<br><code>?{escape(name)}=</code> {escape(words)}" for name, (_, words) in route.query.items())
    headers = "".join(f"<br><code>{escape(name)}</code>: {escape(words)}" for name, (_, words) in route.headers.items())
    note = " (open)" if route.open else ""
    return (
        f"<tr><td><code>{route.method} {escape(route.path)}</code>{note}</td><td>{escape(route.summary)}{query}{headers}</td>"
        f'<td data-what="takes">{escape(", ".join(route.takes))}</td><td data-what="answers">{escape(", ".join(route.answers))}</td></tr>'
    )
