"""The server as an ASGI application: one table of paths, one place where a request is admitted, answered, counted and logged.

There is no framework in it. Its routing and request objects took 14 of 46 µs a request and half of the start, and a second way to write an
error; what is left is a dictionary.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import re
import threading
import time
from bisect import bisect_left
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mnist_edge.common.errors import one_line
from mnist_edge.proof.confidence import softmax
from mnist_edge.serving import bodies, openapi, pages, pictures, protocol, refusals
from mnist_edge.serving.access import Access
from mnist_edge.serving.log import Lines
from mnist_edge.serving.metrics import CONFIDENCES, Tally
from mnist_edge.serving.refusals import GoneError, RefusalError
from mnist_edge.serving.routes import ROUTES, Route

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from numpy.typing import NDArray

    from mnist_edge.serving.metrics import Metrics, Row
    from mnist_edge.serving.models import Served
    from mnist_edge.serving.settings import Settings

#: What takes at most so many seconds is done at once, without a thread. To hand work to a thread took 240 µs more on a machine where
#: LeNet alone took 80 µs; and for a millisecond nobody else notices that they wait.
INLINE_SECONDS = 0.001

#: To read a byte of JSON, in seconds.
_JSON_SECONDS = 16e-9

_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}\Z")
_MODEL_PATH = re.compile(r"/v2/models/([^/]+)(?:/versions/([^/]+))?(?:/|\Z)")

_JSON_TYPE = (b"content-type", b"application/json")
_TRY_AGAIN = (b"retry-after", b"1")


class Reply(NamedTuple):
    """An answer, ready to send."""

    status: int
    body: bytes
    headers: list[tuple[bytes, bytes]]


class _Request:
    """A request, and what is found out about it on the way."""

    __slots__ = ("body_size", "error", "headers", "held", "id", "kind", "model", "receive", "scope", "tally")

    def __init__(self, scope: Mapping[str, Any], receive: Callable[[], Awaitable[Any]]) -> None:
        self.scope, self.receive = scope, receive
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.id = b""
        self.kind, self.model, self.error = "other", "", ""
        self.body_size = self.held = 0
        self.tally: Tally | None = None


class App:
    """Answers requests with the models given, counts in a row of the metrics, and gives each log line to `log`.

    `counts` has where the answers of each model are counted; None where there is no room.
    `hosts` are the names by which clients may call it, as `access.names` gives them; empty for any.
    """

    def __init__(
        self,
        models: Mapping[str, Served],
        settings: Settings,
        metrics: Metrics,
        row: Row,
        log: Callable[[bytes], object],
        hosts: set[bytes] | None = None,
    ) -> None:
        self.models, self.settings, self.metrics, self.row = models, settings, metrics, row
        self._log = log
        self._held = self._busy = self._number = 0
        self._prefix = os.urandom(4).hex()
        # one thread: a picture of the largest size takes 100 MB while it is decoded; more workers give more threads
        self._thread = ThreadPoolExecutor(1, "answers")
        self.counts = {name: row.model(name, one.version, one.classes) for name, one in models.items()}
        self._access = Access(hosts or set(), settings.token)
        self._table = self._paths()
        self._lines = Lines(self._table)

    def _paths(self) -> dict[str, dict[str, tuple[Route, Any, Served | None]]]:
        """Return what answers each path and method: every path of every model is there, so that none has to be taken apart."""
        table: dict[str, dict[str, tuple[Route, Any, Served | None]]] = {}
        for route in ROUTES:
            does = getattr(self, f"_{route.does}")
            for model in self.models.values() if "{model}" in route.path else (None,):
                path = route.path if model is None else route.path.format(model=model.name, version=model.version)
                methods = table.setdefault(path, {})
                methods[route.method] = route, does, model
                if route.method == "GET":
                    methods["HEAD"] = methods["GET"]
        return table

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request, as ASGI calls it."""
        if scope["type"] != "http":
            return
        started = time.perf_counter()
        self.row.begun()
        request = _Request(scope, receive)
        self._number += 1
        given = request.headers.get(b"x-request-id")
        request.id = given if given is not None and _ID.match(given) else f"{self._prefix}-{self._number:x}".encode()
        status, size = 499, 0
        try:
            reply = await self._reply(request)
            status, size = reply.status, len(reply.body)
            headers = [*reply.headers, (b"content-length", str(size).encode()), (b"x-request-id", request.id)]
            whole = scope.get("mnist_edge.send")  # where our own connections are below
            if whole is not None:
                await whole(status, headers, reply.body)
            else:
                await send({"type": "http.response.start", "status": status, "headers": headers})
                await send({"type": "http.response.body", "body": reply.body})
            if request.tally is not None and (counts := self.counts[request.model]):
                counts.add(request.tally)
        except GoneError:
            status, size = scope.get("mnist_edge.refused", 499), 0
        except asyncio.CancelledError:  # the server ends, and the client does not read what it is sent
            status, size = 499, 0
            raise
        finally:
            self._held -= request.held
            seconds = time.perf_counter() - started
            self.row.ended(request.kind, status, seconds)
            if self.settings.log:
                self._log(self._lines.line(request, status, size, seconds))

    async def _reply(self, request: _Request) -> Reply:
        try:
            path, method = request.scope["path"], request.scope["method"]
            methods = self._table.get(path)
            found = methods.get(method) if methods else None
            if found is None:
                raise self._no_such(request, methods)
            route, does, model = found
            request.kind = route.kind
            self._access.admit(request.headers, route.open)
            reply: Reply = await does(request, model)
            return reply
        except RefusalError as refusal:
            request.error = refusal.logged
            return Reply(refusal.status, refusals.body(str(refusal)), [_JSON_TYPE, *refusal.headers])
        except GoneError:
            raise
        except asyncio.CancelledError:
            if "mnist_edge.send" not in request.scope:  # it is for the other server to say
                raise
            request.error = "the server is shutting down"
            return Reply(
                503, refusals.body("the server is shutting down, and there was no answer in time; try again"), [_JSON_TYPE, _TRY_AGAIN]
            )
        except Exception as error:  # a model that fails, or a bug: the client is told that it is not its fault
            request.error = one_line(error)
            return Reply(500, refusals.body("the server failed; its log says why, under this request's id"), [_JSON_TYPE])

    # ---- what is not there

    def _no_such(self, request: _Request, methods: Mapping[str, tuple[Route, Any, Served | None]] | None) -> RefusalError:
        """Return why nothing answers a path or a method. Raises RefusalError for those who may not even know that: 401, 421."""
        path, method = request.scope["path"], request.scope["method"]
        self._access.admit(request.headers, methods is not None and all(route.open for route, _, _ in methods.values()))
        if methods:
            allowed = ", ".join(methods)
            return RefusalError(405, f"{path} takes {allowed}, not {method}", (b"allow", allowed.encode()))
        return RefusalError(404, self._why_not(path))

    def _why_not(self, path: str) -> str:
        named = _MODEL_PATH.match(path)
        if named is None:
            return "there is no such path; /docs lists all"
        model = self.models.get(named[1])
        if model is None:
            return f"no model {named[1][:100]!r} is served here; there: {', '.join(self.models)}"
        if named[2] and named[2] != model.version:
            return f"model {model.name} is served in version {model.version}, not {named[2][:100]!r}"
        return "there is no such path; /docs lists all"

    # ---- bodies

    async def _body(self, request: _Request) -> bytes:
        """Return the whole body as it was sent. Raises RefusalError: 413, 503."""
        limit = self.settings.max_body
        if int(request.headers.get(b"content-length", b"0")) > limit:
            raise bodies.too_large(limit)
        parts = []
        while True:
            message = await request.receive()
            if message["type"] != "http.request":
                raise GoneError
            part = message["body"]
            request.body_size += len(part)
            if request.body_size > limit:
                raise bodies.too_large(limit)
            self._hold(request, len(part))
            parts.append(part)
            if not message["more_body"]:
                return parts[0] if len(parts) == 1 else b"".join(parts)

    def _hold(self, request: _Request, size: int) -> None:
        request.held += size
        self._held += size
        if self._held > self.settings.max_buffered:
            raise RefusalError(503, "the requests in progress take too much memory for another one; try again", _TRY_AGAIN)

    async def _work(self, request: _Request, seconds: float, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function that takes about so many seconds: at once, or in the thread, and there with an event that says that it is given up.

        Raises RefusalError, 503, if there is too much to do, or no answer in time; GoneError if the client goes away.
        """
        if seconds <= INLINE_SECONDS:
            return function(*arguments)
        if self._busy >= self.settings.max_requests:
            raise RefusalError(503, f"{self._busy} requests are being answered already; try again", _TRY_AGAIN)
        loop = asyncio.get_running_loop()
        self._busy += 1

        def free(_: Future[Any]) -> None:  # not when a client is told that it took too long: the thread is still busy with it
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._freed)

        given_up = threading.Event()
        future = self._thread.submit(function, *arguments, given_up)
        future.add_done_callback(free)
        answer, gone = asyncio.wrap_future(future), asyncio.ensure_future(_leaves(request.receive))
        try:
            await asyncio.wait((answer, gone), timeout=self.settings.request_seconds, return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                return answer.result()
            if gone.done():
                raise GoneError
            raise RefusalError(503, f"there was no answer within {self.settings.request_seconds:g} s; try again", _TRY_AGAIN)
        finally:
            gone.cancel()
            if not answer.done():
                given_up.set()
                answer.cancel()

    def _freed(self) -> None:
        self._busy -= 1

    # ---- the protocol

    async def _live(self, request: _Request, model: None) -> Reply:
        return _json({"live": True})

    async def _ready(self, request: _Request, model: None) -> Reply:
        return _json({"ready": True, "live": True})  # the text prints "live" for both, and KServe's client reads "ready"

    async def _server(self, request: _Request, model: None) -> Reply:
        return _json(protocol.server_metadata())

    async def _model(self, request: _Request, model: Served) -> Reply:
        return _json(protocol.model_metadata(model))

    async def _model_ready(self, request: _Request, model: Served) -> Reply:
        return _json({"name": model.name, "ready": True})

    async def _index(self, request: _Request, model: None) -> Reply:
        return _json([{"name": one.name, "version": one.version, "state": "READY", "reason": ""} for one in self.models.values()])

    async def _infer(self, request: _Request, model: Served) -> Reply:
        request.model = model.name
        body = await self._body(request)
        encoding = request.headers.get(b"content-encoding", b"")
        json_length = request.headers.get(protocol.JSON_LENGTH)
        # a body holds at most an image in 784 bytes; a small one that is packed may be large
        seconds = len(body) * max(model.seconds / 784, _JSON_SECONDS) if not encoding else math.inf
        (content, headers), request.tally = await self._work(request, seconds, self._inferred, model, body, encoding, json_length)
        return Reply(200, content, headers)

    def _inferred(
        self, model: Served, body: bytes, encoding: bytes, json_length: bytes | None, given_up: threading.Event | None = None
    ) -> tuple[tuple[bytes, list[tuple[bytes, bytes]]], Tally]:
        if encoding:
            body = bodies.unpack(body, encoding, self.settings.max_body)
        question = protocol.parse(body, json_length)
        logits = model.logits(question.pixels, given_up)
        return protocol.answer(model, question, logits), _tally(logits)

    # ---- pictures

    async def _predict(self, request: _Request, model: None) -> Reply:
        what = pictures.asked(request.scope["query_string"])
        chosen = self._chosen(what.model)
        request.model = chosen.name
        body = await self._body(request)
        if not body:
            raise RefusalError(400, "the body is empty; send a picture: curl --data-binary @img.png")
        arguments = chosen, body, request.headers, what, self.settings
        (content, headers), request.tally = await self._work(request, math.inf, pictures.answer, *arguments)
        return Reply(200, content, headers)

    def _chosen(self, name: str) -> Served:
        if not name and len(self.models) == 1:
            return next(iter(self.models.values()))
        if name not in self.models:
            known = f"name one: ?model={'|'.join(self.models)}"
            if name:
                raise RefusalError(404, f"no model {{}} is served here; {known}", shown=(repr(name[:100]),))
            raise RefusalError(400, f"several models are served; {known}")
        return self.models[name]

    # ---- for people and programs that look after it

    async def _metrics(self, request: _Request, model: None) -> Reply:
        return Reply(200, self.metrics.text().encode(), [(b"content-type", b"text/plain; version=0.0.4; charset=utf-8")])

    async def _page(self, request: _Request, model: None) -> Reply:
        return Reply(200, pages.read("index.html"), pages.headers(b"text/html; charset=utf-8"))

    async def _script(self, request: _Request, model: None) -> Reply:
        return Reply(200, pages.read("page.js"), pages.headers(b"text/javascript; charset=utf-8"))

    async def _style(self, request: _Request, model: None) -> Reply:
        return Reply(200, pages.read("page.css"), pages.headers(b"text/css; charset=utf-8"))

    @cached_property
    def _document_text(self) -> bytes:
        return json.dumps(openapi.document(self.settings.token is not None), indent=1).encode()

    async def _document(self, request: _Request, model: None) -> Reply:
        return Reply(200, self._document_text, [_JSON_TYPE])

    async def _docs(self, request: _Request, model: None) -> Reply:
        return Reply(200, openapi.page(self.settings.token is not None).encode(), pages.headers(b"text/html; charset=utf-8"))

    def refused(self, scope: Mapping[str, Any] | None, client: str, status: int, error: str) -> None:
        """Count and log what a connection has refused before it came here: a request, or what is none."""
        self.row.begun()
        self.row.ended("other", status, 0.0)
        if self.settings.log:
            about = {"headers": (), "client": (client, 0), "method": "", "path": ""} | dict(scope or {})
            request = _Request(about, _no_more)
            request.error = error
            self._log(self._lines.line(request, status, 0, 0.0))


async def _leaves(receive: Callable[[], Awaitable[Any]]) -> None:
    """Wait until the client goes away."""
    try:
        while (await receive())["type"] != "http.disconnect":
            pass
    except Exception:  # another server, which does not tell
        await asyncio.get_running_loop().create_future()


async def _no_more() -> dict[str, str]:
    return {"type": "http.disconnect"}


def _tally(logits: NDArray[np.float32]) -> Tally:
    """Return which classes were answered, and how surely."""
    if len(logits) == 1:
        values = logits[0].tolist()
        top = max(values)
        confidence = 1 / sum([math.exp(value - top) for value in values])
        return Tally([(values.index(top), 1)], [(bisect_left(CONFIDENCES, confidence), 1)], confidence)
    shares = softmax(logits)
    confidences = shares.max(axis=1)
    buckets = np.searchsorted(CONFIDENCES, confidences)
    digits, found = (list(enumerate(np.bincount(of).tolist())) for of in (shares.argmax(axis=1), buckets))
    return Tally(digits, found, float(confidences.sum()))


def _json(document: Any) -> Reply:
    return Reply(200, json.dumps(document).encode(), [_JSON_TYPE])
