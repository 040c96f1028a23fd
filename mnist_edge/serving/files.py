"""A server for a few files that are in memory, on this machine and for this machine only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from mnist_edge.common.errors import UsageError

HOST = "127.0.0.1"

#: What the page needs and nothing else. ``frame-ancestors`` only works in a header, not in the page's own policy.
_POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_KINDS = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "json": "application/json",
    "wasm": "application/wasm",
    "md": "text/plain; charset=utf-8",
}


def serve(files: Mapping[str, bytes], port: int, ready: Callable[[str], None]) -> None:
    """Serve files by name until KeyboardInterrupt; ``/`` is ``index.html``. `ready` gets the address, such as ``http://127.0.0.1:8000/``.

    Nothing else on the disk can be reached, because nothing is read from it. Raises UsageError if the port cannot be used.
    """
    try:
        server = _Server(port, files)
    except OSError as error:
        raise UsageError(f"port {port} cannot be used: {error.strerror or error}; choose another with --port, or leave it out") from error
    with server:
        ready(f"http://{HOST}:{server.server_port}/")
        server.serve_forever()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port: int, files: Mapping[str, bytes]) -> None:
        self.files = files
        super().__init__((HOST, port), _Handler)

    def server_bind(self) -> None:
        """Take the port, without asking the network for this machine's name as HTTPServer does."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, self.server_address[1]


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "mnist-edge", ""
    timeout = 60

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def _answer(self) -> None:
        if not self._is_ours():
            self._send(HTTPStatus.MISDIRECTED_REQUEST, b"this server answers requests from this machine only\n", "text/plain")
            return
        name = unquote(urlsplit(self.path).path).removeprefix("/") or "index.html"
        content = self.server.files.get(name)
        if content is None:
            self._send(HTTPStatus.NOT_FOUND, b"no such file\n", "text/plain")
        else:
            self._send(HTTPStatus.OK, content, _KINDS.get(name.rpartition(".")[2], "application/octet-stream"))

    def _is_ours(self) -> bool:
        """Say whether the request names this machine. Another name is one that a website has pointed here."""
        host = self.headers.get("Host", "")
        return host in {f"{name}:{self.server.server_port}" for name in (HOST, "localhost")}

    def _send(self, status: HTTPStatus, content: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Security-Policy", _POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.send_header("Cache-Control", "no-cache")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what is not understood, such as POST, in one line and with the same headers."""
        self.close_connection = True
        status = HTTPStatus.METHOD_NOT_ALLOWED if code == HTTPStatus.NOT_IMPLEMENTED else HTTPStatus(code)
        self._send(status, f"{status.phrase}\n".encode(), "text/plain")

    def log_message(self, format: str, *arguments: Any) -> None:
        """Stay silent: standard error is for what a person should read."""
