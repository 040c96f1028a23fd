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
from mnist_edge.serving.refusals import GoneError

if TYPE_CHECKING:
    from mnist_edge.serving.app import App
    from mnist_edge.serving.settings import Settings

#: A worker that stops keeps connections without a request for so long: a client that is about to use one gets its answer.
_LINGER_SECONDS = 1.0

#: A client may send so many requests before the first is answered; each takes some kB.
_WAITING = 64

#: After an error, what the client still sends is read and dropped, so that the error is not lost with it: for so many seconds, up to so many
#: times the largest body, on `Settings.max_leaving` connections at a time.
_LEAVE_SECONDS, _LEAVE_BODIES = 2.0, 8

# uvicorn logs for people; what they should know, this server says itself
logging.getLogger("uvicorn").addHandler(logging.NullHandler())
logging.getLogger("uvicorn").propagate = False


class Connection(HttpToolsProtocol):
    """A client's connection.

    A subclass for each server has its settings, what counts a connection too many, what logs a refused request (its scope if there is one, the
    client's address, status, error), and those connections that have had their last answer.
    """

    settings: Settings
    shed: Callable[[], None]
    refused: Callable[[Any, str, int, str], None]
    leaving: set[Connection]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a client, or refuse it if there are too many."""
        self.since = self.loop.time()
        self.in_headers = self.in_body = self.is_stopping = self.are_headers_split = False
        self.header_bytes = self.skipped = self.begun = 0
        self.refusal: tuple[int, str] | None = None
        self.answering: RequestResponseCycle | None = None
        self.last_words, self.is_leaving = b"", False
        super().connection_made(transport)
        if len(self.connections) > self.settings.max_connections:
            self.shed()
            self._leave(_error(503, "there are too many connections; try again"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell all that wait for this client; uvicorn tells only the request that came last."""
        self.leaving.discard(self)
        if self.answering is not None and not self.answering.response_complete:
            self.answering.disconnected = True
            self.answering.message_event.set()
        for cycle, _ in self.pipeline:
            self.refused(cycle.scope, self._address(), 499, "")
        self.pipeline.clear()
        super().connection_lost(exc)

    def _address(self) -> str:
        return self.client[0] if self.client else ""

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
        self.in_headers, self.in_body, self.skipped = False, True, 0
        if self.answering is None or self.answering.response_complete:
            self.answering = self.cycle
        if self.is_stopping:
            self.cycle.keep_alive = False
        self.scope["mnist_edge.send"] = partial(self._send, self.cycle)  # type: ignore[typeddict-unknown-key]

    async def _send(self, cycle: RequestResponseCycle, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> None:
        """Send a whole answer in one write. With ASGI's two messages uvicorn writes twice, which costs a fifth of a request."""
        if self.flow.write_paused and not cycle.disconnected:
            await self.flow.drain()
        if cycle.disconnected:
            raise GoneError
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
            if self.in_body and cycle is self.cycle:
                self._leave()
            else:
                self.transport.close()
        cycle.on_response()

    def on_body(self, body: bytes) -> None:
        """Take a part of the body; one that was refused already is skipped, up to a limit."""
        if self.cycle.response_complete:
            self._skip(len(body))
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request."""
        if self.in_headers:  # one that asks for another protocol
            return
        self.in_body = False
        super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        """Take bytes."""
        if self.transport.is_closing() or self.last_words or self.is_leaving:
            self._skip(len(data))
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
        if self.transport.is_closing() or self.is_leaving:
            return
        self.since = self.loop.time()
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self.answering = cycle
            self._start_asgi_task(cycle, app)
        elif self.last_words:
            self._leave(self.last_words)

    def _too_large(self) -> str:
        return f"the headers are larger than {self.settings.max_headers:,} bytes, which is this server's limit"

    # ---- refusing

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP."""
        self.refuse(*self.refusal or (400, "this is not an HTTP/1.1 request"))

    def refuse(self, status: int, message: str) -> None:
        """Answer with an error and close. Requests that were whole before are answered first; one that is still coming is given up."""
        if self.is_leaving or self.last_words:
            return
        cycle, is_logged = self.cycle, False
        if self.in_body:
            if cycle.response_complete:  # it has had its answer, and what follows cannot be told from its body
                self._leave()
                return
            if cycle is self.answering:
                cycle.scope["mnist_edge.refused"] = status  # type: ignore[typeddict-unknown-key]  # the application logs it
                cycle.disconnected = is_logged = True
                cycle.waiting_for_100_continue = False
                cycle.message_event.set()
            else:
                self.pipeline.popleft()
        if not is_logged:
            self.refused(cycle.scope if self.in_body else None, self._address(), status, message)
        words, waits_for = _error(status, message), self.answering
        if waits_for is None or waits_for.response_complete or waits_for.disconnected:
            self._leave(words)
        else:
            self.last_words = words

    def _leave(self, words: bytes = b"") -> None:
        """Send the last that the client gets here, and close once it has had time to read it: a connection with unread input is reset."""
        self.transport.write(words)
        self.is_leaving, self.since, self.skipped = True, self.loop.time(), 0
        if self.transport.is_closing() or len(self.leaving) >= self.settings.max_leaving:
            self.transport.close()
            return
        self.flow.resume_reading()
        self.transport.write_eof()
        self.connections.discard(self)
        self.leaving.add(self)

    def _skip(self, size: int) -> None:
        """Drop what a client sends that has had its answer; up to a limit."""
        self.skipped += size
        if self.skipped > _LEAVE_BODIES * self.settings.max_body:
            self.transport.abort()

    def check(self, now: float) -> None:
        """Refuse a client that is too slow; called a few times a second."""
        settings, waited = self.settings, now - self.since
        if self.transport.is_closing():
            if waited > settings.body_seconds:  # it does not read what it asked for
                self.transport.abort()
        elif self.is_leaving:
            if waited > _LEAVE_SECONDS:
                self.transport.close()
        elif (self.in_headers or self.cycle is None) and not self.last_words:
            if waited > settings.header_seconds:
                self.refuse(408, f"the headers did not come within {settings.header_seconds:g} s")
        elif self.in_body and not self.last_words:
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
        self._leaving: set[Connection] = set()
        own = {"settings": settings, "shed": staticmethod(app.row.shed), "refused": staticmethod(app.refused), "leaving": self._leaving}
        connection = type("Connection", (Connection,), own)
        config = uvicorn.Config(
            app,
            http=connection,
            ws="none",
            loop="auto",  # uvloop where it is installed
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
            for connection in [*self.server_state.connections, *self._leaving]:
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
