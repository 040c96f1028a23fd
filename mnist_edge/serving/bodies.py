"""A request's body → what the client meant to send: unpacked, but never to more than the limit; one file of a form."""

from __future__ import annotations

import logging
import zlib
from typing import Any

from mnist_edge.serving.refusals import RefusalError

#: Parts of a form, of which one is the file; a body of 8 MiB could have half a million.
_PARTS = 100

# it writes of damaged forms to standard error; this server answers with what is wrong
logging.getLogger("python_multipart").addHandler(logging.NullHandler())
logging.getLogger("python_multipart").propagate = False


def too_large(limit: int) -> RefusalError:
    """Return the refusal of a body that is larger than `limit` bytes."""
    return RefusalError(413, f"the body is larger than {limit:,} bytes, which is this server's limit")


def unpack(body: bytes, encoding: bytes, limit: int) -> bytes:
    """Return a body without its Content-Encoding. Raises RefusalError: 415 for other encodings, 413 beyond `limit` bytes, 400 if it is damaged."""
    encoding = encoding.strip().lower()
    if encoding in (b"", b"identity"):
        return body
    if encoding not in (b"gzip", b"x-gzip", b"deflate"):
        raise RefusalError(415, "Content-Encoding has to be gzip, deflate or identity", (b"accept-encoding", b"gzip, deflate"))
    if encoding == b"deflate":  # with zlib's header (RFC 9110, 8.4.1.2), which some clients leave out
        window = zlib.MAX_WBITS if len(body) > 1 and body[0] & 15 == 8 and (body[0] << 8 | body[1]) % 31 == 0 else -zlib.MAX_WBITS
    else:
        window = zlib.MAX_WBITS | 16
    unpacker = zlib.decompressobj(window)
    try:
        unpacked = unpacker.decompress(body, limit + 1)
    except zlib.error as error:
        raise RefusalError(400, f"the body is not {encoding.decode()}: {error}") from None
    if len(unpacked) > limit:
        raise too_large(limit)
    if not unpacker.eof:
        raise RefusalError(400, f"the body is not {encoding.decode()}: it ends too soon")
    if unpacker.unused_data:
        raise RefusalError(400, f"the body is not {encoding.decode()}: {len(unpacker.unused_data):,} bytes follow its end")
    return unpacked


def picture_of(body: bytes, content_type: bytes) -> tuple[str, bytes]:
    """Return the name and bytes of a picture: the one file of a multipart form, or else the whole body. Raises RefusalError, 400."""
    if not content_type.lower().startswith(b"multipart/form-data"):
        return "-", body
    from python_multipart.exceptions import FormParserError
    from python_multipart.multipart import MultipartParser, parse_options_header

    boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
    reader = _Files()
    try:
        parser = MultipartParser(boundary, reader.callbacks())
        parser.write(body)
        parser.finalize()
    except (FormParserError, ValueError) as error:
        raise RefusalError(400, f"the form is damaged: {' '.join(str(error).split())[:100]}") from None
    if not reader.ended:
        raise RefusalError(400, "the form ends too soon")
    if not reader.files:
        raise RefusalError(400, "the form has to hold one file, and holds none; curl -F picture=@img.png sends one")
    return reader.files[0]


class _Files:
    """Collects the files of a form, and skips its other fields."""

    def __init__(self) -> None:
        self.files: list[tuple[str, bytes]] = []
        self.ended = False
        self._parts = 0

    def callbacks(self) -> Any:
        """Return what the parser calls."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._field.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._header,
            "on_part_data": lambda data, start, end: self._content.append(data[start:end]),
            "on_part_end": self._end,
            "on_end": self._finish,
        }

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > _PARTS:
            raise RefusalError(400, f"the form has more than {_PARTS} parts; curl -F picture=@img.png sends one file")
        self._name: str | None = None
        self._field, self._value = bytearray(), bytearray()
        self._content: list[bytes] = []

    def _header(self) -> None:
        from python_multipart.multipart import parse_options_header

        if bytes(self._field).lower() == b"content-disposition":
            name = parse_options_header(bytes(self._value))[1].get(b"filename")
            self._name = None if name is None else name.decode("utf-8", "replace")
        self._field, self._value = bytearray(), bytearray()

    def _end(self) -> None:
        if self._name is not None:
            if self.files:  # the rest is not read
                raise RefusalError(400, "the form has to hold one file, and holds more; curl -F picture=@img.png sends one")
            self.files.append((self._name, b"".join(self._content)))

    def _finish(self) -> None:
        self.ended = True
