"""Checks that a picture file is whole, with checks of each format's structure that Pillow does not make.

Only PNG has checksums: every damage to a PNG is seen. The other formats give the lengths of their parts and mark their end, so a file
that was cut, or that lost or gained bytes, is seen in most of them. A changed byte in the pixels' data is seen only where it changes
how many pixels there are, or how much data they use. Pillow does not report that; decoding a second file, made from the first,
shows it (`Probe`).
"""

from __future__ import annotations

import re
from math import prod
from struct import error as StructError
from struct import pack, unpack_from
from typing import NamedTuple
from zlib import crc32, decompressobj
from zlib import error as ZlibError


class DamagedError(Exception):
    """The file is not whole; the message says why."""


class Probe(NamedTuple):
    """A second file, made from a picture file, that shows whether the first is whole.

    Attributes:
        data: the second file.
        against: the file to compare it with; None means the first.
        same: whether both must decode to the same pixels; None means that the second must not decode at all.
        complaint: what is wrong with the first file if that does not hold.
        certain: True if the first file is then refused, False if it gets a warning.
    """

    data: bytes
    against: bytes | None
    same: bool | None
    complaint: str
    certain: bool


class File(NamedTuple):
    """A picture file whose structure is sound.

    Attributes:
        data: what the decoder gets: the file without the parts that do not affect the pixels of its first picture.
        doubts: warnings about a file that can be read.
        metadata: ``exif`` and ``xmp`` where they were taken out of `data`; None where the decoder finds them.
        animated: whether the file holds more pictures; None where the decoder knows.
        probe: a second file to decode, where the format has one.
    """

    data: bytes
    doubts: tuple[str, ...] = ()
    metadata: dict[str, bytes] | None = None
    animated: bool | None = False
    probe: Probe | None = None


def examine(form: str, data: bytes) -> File:
    """Check the structure of a file of the format `form`, one of `image.FORMATS`. Raises DamagedError."""
    try:
        return _EXAMINERS[form](data)
    except (StructError, IndexError):
        raise _truncated() from None


def _truncated() -> DamagedError:
    return DamagedError("truncated: the file ends too soon")


def doubt(what: str) -> str:
    """Return a warning about the file."""
    return f"the file may be damaged: {what}"


def _surplus(size: int) -> str:
    return doubt(f"it has {size:,} bytes more than its header says")


def _png(data: bytes) -> File:
    """Check every chunk up to the last, IEND (PNG specification, section 5.3); ignore what follows it."""
    view, at, kind = memoryview(data), 8, b""
    still, rows = [view[:8]], []  # all chunks except those of an animation, whose faults Pillow would warn of; and the pixels' data
    frames, first_is_frame = 0, False
    while kind != b"IEND":
        length, kind = unpack_from(">I4s", data, at)
        end = at + 12 + length
        if crc32(view[at + 4 : end - 4]) != unpack_from(">I", data, end - 4)[0]:
            raise DamagedError(f"damaged: the checksum of its part {kind.decode('latin-1')!a} is wrong")
        if kind == b"IDAT":
            rows.append(view[at + 8 : end - 4])
        if kind == b"acTL":
            (frames,) = unpack_from(">I", data, at + 8)
        elif kind == b"fcTL":
            first_is_frame = first_is_frame or not rows
        elif kind != b"fdAT":
            still.append(view[at:end])
        at = end
    _check_rows(data, rows)
    return File(b"".join(still), animated=frames > 1 or (frames == 1 and not first_is_frame))


#: The passes of an interlaced PNG: the first pixel's place, and how far apart they are, across and down (section 8.2).
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def _check_rows(data: bytes, parts: list[memoryview]) -> None:
    """Compare the amount of data in the compressed `parts` with the size in the header. (Pillow leaves missing rows black.)"""
    name, width, height, depth, colour, _, _, interlaced = unpack_from(">4sIIBBBBB", data, 12)
    if name != b"IHDR":
        raise DamagedError("damaged: it does not begin with its header")
    bits = depth * {2: 3, 4: 2, 6: 4}.get(colour, 1)
    needed = 0
    for left, top, across, down in _PASSES if interlaced else ((0, 0, 1, 1),):
        columns, rows = (width - left + across - 1) // across, (height - top + down - 1) // down
        needed += rows * (1 + (columns * bits + 7) // 8) if columns > 0 else 0
    if needed > 1 << 28:  # more pixels than are read
        return
    inflate = decompressobj()
    try:
        for part in parts:
            piece: bytes | memoryview = part
            while piece and needed > 0:
                needed -= len(inflate.decompress(piece, 1 << 16))
                piece = inflate.unconsumed_tail
        while needed > 0 and (more := inflate.decompress(b"", 1 << 16)):
            needed -= len(more)
    except ZlibError:
        raise DamagedError("damaged: the compressed data of its pixels is broken") from None
    if needed > 0:
        raise DamagedError("truncated: it has fewer rows than its header says")


#: A marker in a scan or after it; a stuffed zero is no marker.
_MARKER = re.compile(rb"\xff+([^\x00\xff])")

#: Bits that no whole scan needs, because they come after its end; a decoder that wants more takes zeros or these.
_FILLING = bytes(range(17, 101, 7))


def _jpeg(data: bytes) -> File:
    """Go from marker to marker up to the last, EOI (ITU-T T.81, annex B); ignore what follows it, such as previews.

    EXIF, XMP, colour profiles and comments are left out: Pillow would warn of what is wrong in them.
    """
    kept, metadata, lost = [data[:2]], {"exif": b"", "xmp": b""}, 0
    filled = kept.copy()  # the same file with these bits at the end of every scan
    at, scans, huffman = 2, 0, False
    while True:
        start = data.find(b"\xff", at)
        if start < 0:
            raise _truncated()
        lost += start - at
        at = start
        while data[at + 1] == 0xFF:  # markers may be filled up with these
            at += 1
        marker = data[at + 1]
        if marker == 0xD9:
            break
        if marker < 0xC0 or marker in (0xC8, *range(0xD0, 0xD9)) or 0xF0 <= marker < 0xFE:
            raise DamagedError(f"damaged: marker 0x{marker:02x} where none is allowed")
        (length,) = unpack_from(">H", data, at + 2)
        end = at + 2 + length
        if end > len(data):
            raise _truncated()
        if length < 2:
            raise DamagedError("damaged: one of its parts has no length")
        if marker == 0xE1 and data.startswith(b"Exif\0\0", at + 4):
            metadata["exif"] += data[at + 10 : end]
        elif marker == 0xE1 and data.startswith(b"http://ns.adobe.com/xap/1.0/\0", at + 4):
            metadata["xmp"] += data[at + 33 : end]
        if not (0xE0 <= marker < 0xF0 or marker == 0xFE) or marker in (0xE0, 0xEE):  # these two name the colour space
            kept.append(data[at:end])
            filled.append(data[at:end])
        huffman = huffman or marker in (0xC0, 0xC1, 0xC2)
        at = end
        if marker == 0xDA:
            scans += 1
            at = _scan(data, at, kept, filled)
    if not scans:
        raise DamagedError("damaged: it holds no picture")
    kept.append(data[at : at + 2])
    filled.append(data[at : at + 2])
    # arithmetic coding may leave out zeros at the end
    probe = Probe(b"".join(filled), None, True, "damaged: its pixels need more data than it has", True) if huffman else None
    doubts = (doubt(f"{lost:,} bytes belong to none of its parts"),) if lost else ()
    return File(b"".join(kept), doubts, metadata, probe=probe)


def _scan(data: bytes, at: int, kept: list[bytes], filled: list[bytes]) -> int:
    """Go to the end of a scan, from restart marker to restart marker; return where that is."""
    restarts = 0
    while True:
        found = _MARKER.search(data, at)
        if found is None:
            raise _truncated()
        kept.append(data[at : found.start()])
        filled += [kept[-1], _FILLING]
        marker = found[1][0]
        if not 0xD0 <= marker <= 0xD7:
            return found.start()
        if marker != 0xD0 + restarts % 8:
            raise DamagedError("damaged: its restart markers are out of order")
        restarts += 1
        kept.append(found[0])
        filled.append(found[0])
        at = found.end()


def _gif(data: bytes) -> File:
    """Go from block to block up to the trailer (GIF89a specification, appendix A); ignore what follows it."""
    at = 13 + _palette(data[10])
    first, end, pictures, doubts = 0, 0, 0, []
    try:
        while data[at] != 0x3B:
            if data[at] == 0x21:
                if data[at + 1] not in (0x01, 0xF9, 0xFE, 0xFF) or (data[at + 1] == 0xF9 and data[at + 2] != 4):
                    doubts.append(doubt("it has a block of an unknown kind"))
                at = _after_blocks(data, at + 2)
            elif data[at] == 0x2C:
                first = first or at
                at = _after_blocks(data, at + 11 + _palette(data[at + 9]))
                end = end or at
                pictures += 1
            else:
                raise DamagedError(f"damaged: a block begins with 0x{data[at]:02x}, which is not a valid start")
    except IndexError:
        if not end:
            raise
        doubts.append(doubt("its end is missing"))  # some programs leave the trailer out
    if not pictures:
        raise DamagedError("damaged: it holds no picture")
    only = data[:end] + b";"
    return File(only, tuple(doubts[:1]), animated=pictures > 1, probe=_with_one_pixel_more(only, first))


def _palette(flags: int) -> int:
    """Return the length of a palette from the flags of the screen or of a picture."""
    return 3 << (flags & 7) + 1 if flags & 128 else 0


def _with_one_pixel_more(data: bytes, at: int) -> Probe:
    """Return a GIF whose picture, at `at`, has the same data but one pixel more, or, if there are more than 65,535, a few more."""
    pixels = prod(unpack_from("<HH", data, at + 5)) + 1
    width = -(-pixels // 0xFFFF)
    shape = pack("<HHHHB", 0, 0, width, -(-pixels // width), data[at + 9] & ~64)  # not interlaced
    more = data[:6] + pack("<HH", 1, 1) + data[10 : at + 1] + shape + data[at + 10 :]
    return Probe(more, None, None, "it has more data than its pixels need", False)


def _after_blocks(data: bytes, at: int) -> int:
    """Return the end of a row of blocks. Each block begins with its length."""
    while data[at]:
        at += 1 + data[at]
    return at + 1


def _bmp(data: bytes) -> File:
    """Compare the sizes in the header with each other and with the file's."""
    declared, _, start, header = unpack_from("<IIII", data, 2)
    if header == 12:
        width, height, _, bits = unpack_from("<HHHH", data, 18)
        compression = size = colours = 0
    else:
        width, height, _, bits, compression, size, _, _, colours = unpack_from("<iiHHIIiiI", data, 18)
    palette = 0
    if bits <= 8:
        palette = (colours or 2**bits) * (3 if header == 12 else 4)
    if start in (0, 14 + header):
        start = 14 + header + palette
    if start < 14 + header + palette:
        raise DamagedError("damaged: its pixels begin within its header")
    needed = (width * bits + 31) // 32 * 4 * abs(height)
    if compression not in (0, 3):  # run lengths: Pillow refuses too few pixels
        needed = size
    if len(data) < max(start + needed, declared):
        raise _truncated()
    if size and not needed <= size <= needed + 3:
        return File(data, (doubt("the sizes in its header do not fit each other"),))
    surplus = len(data) - start - needed
    is_filling = surplus <= 3 and len(data) == declared
    may_be_profile = header == 124  # with the longest header, a colour profile may follow
    if surplus and not is_filling and not may_be_profile:
        return File(data, (_surplus(surplus),))
    return File(data)


_WEBP_PARTS = {b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP", b"EXIF", b"XMP "}


def _webp(data: bytes) -> File:
    """Compare the lengths of the chunks with the file's (RFC 9649, section 2)."""
    end = unpack_from("<I", data, 4)[0] + 8
    if end > len(data):
        raise _truncated()
    at, kinds, lossy = 12, set(), b""
    while at < end:
        kind, length = unpack_from("<4sI", data, at)
        kinds.add(kind)
        if kind == b"VP8 " and not lossy:
            lossy = data[at + 8 : at + 8 + length]
        at += 8 + length + length % 2
    if at not in (end, end + 1):  # some programs do not count the last padding byte
        raise DamagedError("damaged: the lengths of its parts do not add up to its own")
    doubts = []
    if len(data) > max(at, end):
        doubts.append(_surplus(len(data) - end))
    flags = data[20] if data[12:16] == b"VP8X" else 0
    says_exif, says_alpha = bool(flags & 8), bool(flags & 16)
    if kinds - _WEBP_PARTS or says_exif != (b"EXIF" in kinds) or (b"ALPH" in kinds and not says_alpha):
        doubts.append(doubt("its parts do not match its header"))
    return File(data, tuple(doubts), animated=None, probe=_with_another_end(lossy) if len(lossy) >= 64 else None)


def _with_another_end(frame: bytes) -> Probe:
    """Compare a lossy frame with one whose last bytes are changed: of an arithmetic coder's output, all but the last three count.

    The sizes are rounded up to the blocks of 16 that are coded, so that what these bytes say can be seen (RFC 6386, section 9.1).
    """
    sizes = [min(0x3FFF, ((size & 0x3FFF) + 15) // 16 * 16) for size in unpack_from("<HH", frame, 6)]
    full = frame[:6] + pack("<HH", *sizes) + frame[10:]
    other = full[:-8] + bytes(byte ^ 0xA5 for byte in full[-8:])
    return Probe(_riff(other), _riff(full), False, "its picture does not need its last bytes", False)


def _riff(frame: bytes) -> bytes:
    padded = frame + bytes(len(frame) % 2)
    return b"RIFF" + pack("<I4s4sI", 12 + len(padded), b"WEBP", b"VP8 ", len(frame)) + padded


_EXAMINERS = {"PNG": _png, "JPEG": _jpeg, "GIF": _gif, "BMP": _bmp, "WEBP": _webp}
