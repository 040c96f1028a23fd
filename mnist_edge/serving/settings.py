"""What a server is told: where it listens, what it serves, and how much of everything it takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Settings:
    """A server's settings. Every limit holds for one worker.

    Attributes:
        models: names, folders or files, as `store.resolve` takes them; empty for the one that `predict` would take.
        every: serve every model of the models folder instead.
        is_folder_typed: `models_dir` was typed, so nothing else takes its place if it is not there.
        workers: processes that share the port.
        token: what a client has to send as ``Authorization: Bearer``; None lets everybody in.
        max_body: bytes of a request's body, before and after it is decompressed.
        max_buffered: bytes of all bodies that are being received or answered.
        max_headers: bytes of a request's headers.
        max_pixels: pixels of a picture.
        max_requests: requests that wait for an answer or are being answered; further ones get 503.
        max_connections: open connections; further ones get 503.
        max_leaving: connections that have had their last answer, and stay open for a moment so that the client can read it.
        header_seconds, body_seconds: until a client has sent all headers, or the whole body.
        request_seconds: until an answer is there.
        idle_seconds: until a connection without a request is closed.
        stop_seconds: for what is in progress, once the server is told to stop.
        log: whether to write a line for each request.
    """

    models: tuple[str, ...] = ()
    every: bool = False
    models_dir: Path | None = None
    is_folder_typed: bool = False
    runtime: str = "ort"
    options: Mapping[str, Any] = field(default_factory=dict)
    threads: int = 1
    require_proof: bool = False
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    token: str | None = None
    max_body: int = 8 * 2**20
    max_buffered: int = 64 * 2**20
    max_headers: int = 16 * 2**10
    max_pixels: int = 4096 * 4096
    max_requests: int = 64
    max_connections: int = 512
    max_leaving: int = 64
    header_seconds: float = 10
    body_seconds: float = 30
    request_seconds: float = 10
    idle_seconds: float = 30
    stop_seconds: float = 10
    log: bool = True
