"""Why a request is not answered: a status and one line."""

from __future__ import annotations

import json


class RefusalError(Exception):
    """A request that gets `status` and ``{"error": …}``; `headers` are added to the answer's."""

    def __init__(self, status: int, message: str, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(message)
        self.status, self.headers = status, headers


def body(message: str) -> bytes:
    """Return an error as every path of the server writes it: ``{"error": …}``."""
    return json.dumps({"error": message}).encode()
