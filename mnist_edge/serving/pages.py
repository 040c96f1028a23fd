"""The files of the page to draw on, with the headers that a browser needs."""

from __future__ import annotations

from importlib import resources

#: What a page of this server may do. ``frame-ancestors`` only works in a header.
_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def read(name: str) -> bytes:
    """Return a file of the page."""
    return (resources.files("mnist_edge.serving") / "page" / name).read_bytes()


def headers(kind: bytes) -> list[tuple[bytes, bytes]]:
    """Return the headers of what a browser shows."""
    return [
        (b"content-type", kind),
        (b"content-security-policy", _POLICY),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        (b"cross-origin-resource-policy", b"same-origin"),
        (b"cache-control", b"no-cache"),
    ]
