"""uvicorn with limits that it does not have: slow and endless headers, slow bodies, clients that do not read, too many connections.

Its errors are JSON. A worker that stops answers each open connection once more, and says that it closes it; so no client loses a request to a
connection that was closed under its hands.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from mnist_edge.serving import refusals

if TYPE_CHECKING:
    from mnist_edge.serving.app import App
    from mnist_edge.serving.settings import Settings

#: A worker that stops keeps connections without a request for so long: a client that is about to use one gets its answer.
_LINGER_SECONDS = 1.0

#: A client may send so many requests before the first is answered; each takes some kB.
_WAITING = 64

# uvicorn logs for people; what they should know, this server says itself
logging.getLogger("uvicorn").addHandler(logging.NullHandler())
logging.getLogger("uvicorn").propagate = False


class Connection(HttpToolsProtocol):
    """A client's connection."""

    settings: Settings
    shed: Callable[[], None]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a client, or refuse it if there are too many."""
        self.since = self.loop.time()
        self.in_headers = self.in_body = self.is_stopping = self.are_headers_split = False
        self.header_bytes = self.skipped = self.begun = 0
        self.refusal: tuple[int, str] | None = None
        super().connection_made(transport)
        if len(self.connections) > self.settings.max_connections:
            self.shed()
            self.refuse(503, "there are too many connections; try again")

    # ---- a request's parts, as they come

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self.since, self.in_headers = self.loop.time(), True
        self.begun += 1

    def on_headers_complete(self) -> None:
        """Start to answer."""
        if self.parser.should_upgrade():  # `_feed` comes again without it
            return
        self.in_headers, self.in_body, self.skipped = False, True, 0
        if self.are_headers_split or self.header_bytes > self.settings.max_headers:  # a body may have come with them
            self.are_headers_split = False
            self.header_bytes = len(self.url) + sum([len(name) + len(value) + 4 for name, value in self.headers])
            if self.header_bytes > self.settings.max_headers:
                self.refusal = 431, self._too_large()
                raise ValueError
        if len(self.pipeline) >= _WAITING:
            self.refusal = 503, f"more than {_WAITING} requests wait on this connection"
            raise ValueError
        super().on_headers_complete()
        if self.is_stopping:
            self.cycle.keep_alive = False
        self.scope["mnist_edge.send"] = partial(self._send, self.cycle)  # type: ignore[typeddict-unknown-key]

    async def _send(self, cycle: RequestResponseCycle, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> None:
        """Send a whole answer in one write. With ASGI's two messages uvicorn writes twice, which costs a fifth of a request."""
        if self.flow.write_paused and not cycle.disconnected:
            await self.flow.drain()
        if cycle.disconnected:
            return
        parts = [STATUS_LINE[status]]
        for name, value in (*self.server_state.default_headers, *headers):
            parts += (name, b": ", value, b"\r\n")
        parts.append(b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n")
        if cycle.scope["method"] != "HEAD":
            parts.append(body)
        self.transport.write(b"".join(parts))
        cycle.response_started = cycle.response_complete = True
        cycle.message_event.set()
        if not cycle.keep_alive:
            self.transport.close()
        cycle.on_response()

    def on_body(self, body: bytes) -> None:
        """Take a part of the body; one that was refused already is skipped, up to a limit."""
        if self.cycle.response_complete:
            self.skipped += len(body)
            if self.skipped > self.settings.max_body:
                self.transport.abort()
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request."""
        if self.in_headers:  # one that asks for another protocol
            return
        self.in_body = False
        super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        """Take bytes."""
        if self.transport.is_closing():
            return
        self.header_bytes += len(data)
        before = int(self.in_headers or self.in_body)
        self.begun = 0
        self._feed(data)
        if not self.in_headers:
            self.header_bytes = 0
        elif before + self.begun > 1:  # behind what belongs to other requests
            self.header_bytes, self.are_headers_split = 0, True
        elif self.header_bytes > self.settings.max_headers and not self.transport.is_closing():
            self.refuse(431, self._too_large())

    def _feed(self, data: bytes) -> None:
        """Parse bytes. A request that asks for another protocol, such as HTTP/2, is answered in this one, as RFC 9110, 7.8, allows.

        The parser ends such a request behind its headers, so another parser reads it once more, without the header Upgrade.
        """
        while True:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                method = self.parser.get_method()
                if method == b"CONNECT" or not self.in_headers:
                    self.refuse(400, "this server is no proxy")
                    return
                lines = [b"%s: %s\r\n" % header for header in self.headers if header[0] != b"upgrade"]
                head = b"%s %s HTTP/%s\r\n%s\r\n" % (method, self.url, self.parser.get_http_version().encode(), b"".join(lines))
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
                data = head + data[upgrade.args[0] :]
                continue
            except httptools.HttpParserError:
                self.send_400_response("")
            return

    def on_response_complete(self) -> None:
        """Go on with the next request. uvicorn would set a timer here, and stop it at the next request; `check` does without."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.since = self.loop.time()
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())

    def _too_large(self) -> str:
        return f"the headers are larger than {self.settings.max_headers:,} bytes, which is this server's limit"

    # ---- refusing

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP."""
        self.refuse(*self.refusal or (400, "this is not an HTTP/1.1 request"))

    def refuse(self, status: int, message: str) -> None:
        """Answer with an error and close, unless an answer is on its way; then only close."""
        if not self.pipeline and (self.cycle is None or self.cycle.response_complete or not self.cycle.response_started):
            self.transport.write(_error(status, message))
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.scope["mnist_edge.refused"] = status  # type: ignore[typeddict-unknown-key]  # for the log
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.pipeline.clear()
        self.transport.close()

    def check(self, now: float) -> None:
        """Refuse a client that is too slow; called a few times a second."""
        settings, waited = self.settings, now - self.since
        if self.transport.is_closing():
            if waited > settings.body_seconds:  # it does not read what it asked for
                self.transport.abort()
        elif self.in_headers or self.cycle is None:
            if waited > settings.header_seconds:
                self.refuse(408, f"the headers did not come within {settings.header_seconds:g} s")
        elif self.in_body:
            if waited > settings.body_seconds:
                self.refuse(408, f"the body did not come within {settings.body_seconds:g} s")
        elif waited > settings.body_seconds and self.transport.get_write_buffer_size():
            self.transport.abort()
        elif self.cycle.response_complete and waited > settings.idle_seconds:
            self.transport.close()

    # ---- stopping

    def shutdown(self) -> None:
        """Answer what is in progress, or one request more, and close."""
        self.is_stopping = True
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False
        else:
            self.loop.call_later(_LINGER_SECONDS, self._close_if_idle)

    def _close_if_idle(self) -> None:
        if not self.in_headers and (self.cycle is None or self.cycle.response_complete):
            self.transport.close()


def _error(status: int, message: str) -> bytes:
    body = refusals.body(message)
    again = b"retry-after: 1\r\n" if status == 503 else b""
    head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n"
    return head.encode() + again + b"\r\n" + body


class Server(uvicorn.Server):
    """A worker's server. It calls `ready` when it takes requests."""

    def __init__(self, app: App, settings: Settings, ready: Callable[[], None]) -> None:
        connection = type("Connection", (Connection,), {"settings": settings, "shed": staticmethod(app.row.shed)})
        config = uvicorn.Config(
            app,
            http=connection,
            ws="none",
            loop="asyncio",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=settings.stop_seconds,  # type: ignore[arg-type]
        )
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: Any = None) -> None:
        """Take requests from now on."""
        await super().startup(sockets)
        self._ready()

    async def on_tick(self, counter: int) -> bool:
        """Look at the connections a few times a second, or stop."""
        if counter % 5 == 0:
            now = asyncio.get_running_loop().time()
            for connection in list(self.server_state.connections):
                connection.check(now)  # type: ignore[union-attr]
        return await super().on_tick(counter)

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Stop at SIGTERM. uvicorn would send itself the signal again at the end, and so not exit with 0."""
        signal.signal(signal.SIGTERM, lambda *_: self.stop())
        yield

    def stop(self) -> None:
        """Stop taking requests, and end when those in progress are answered."""
        self.should_exit = True
