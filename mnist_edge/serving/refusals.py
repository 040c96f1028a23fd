"""Why a request is not answered: a status and one line."""

from __future__ import annotations

import json


class GoneError(Exception):
    """The client is not there any more, or its request was given up."""


class RefusalError(Exception):
    """A request that gets `status` and ``{"error": …}``; `headers` are added to the answer's.

    What the client sent stands in `shown`, and the message has ``{}`` for each: the answer shows it, and the log, by `logged`, does not.
    """

    def __init__(self, status: int, message: str, *headers: tuple[bytes, bytes], shown: tuple[str, ...] = ()) -> None:
        words = message.split("{}", len(shown)) if shown else [message]
        super().__init__("".join(word + one for word, one in zip(words, (*shown, ""), strict=True)))
        self.status, self.headers, self.logged = status, headers, "…".join(words)


def body(message: str) -> bytes:
    """Return an error as every path of the server writes it: ``{"error": …}``."""
    return json.dumps({"error": message}).encode()
