"""The parts of a JPEG, PNG or WebP: those that show the picture stay, those that tell of it go.

Nothing is decoded. A file is walked through from part to part, by reads of its headers alone; only
the scans of a JPEG, which have no length, are searched for their end, block by block.
"""

import re
import struct
import zlib
from collections.abc import Callable, Iterator

import exif

BLOCK = 256 * 1024  # bytes searched or copied at once, at most
# Of a file: more than real ones have, and walked through in a fraction of a second.
MAX_SEGMENTS = 10_000  # JPEG
MAX_CHUNKS = 100_000  # PNG, whose writers cut the picture into chunks of 8 KiB, and WebP
MAX_PIECES = 4096  # of a plan, which lies in memory

# JPEG (ITU-T T.81, table B.1)
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # no stuffed byte, fill byte or restart
_EOI, _SOS, _APP0, _APP1, _APP2, _APP14, _COM = 0xD9, 0xDA, 0xE0, 0xE1, 0xE2, 0xEE, 0xFE
# Frames, tables, DNL, DRI, DHP, EXP and scans. Not JPG (C8) and what is above APP15: it is JPEG-LS,
# whose scans end by other rules. Nor what is below frames: decoders look for a restart behind it.
_JPEG_KEPT = frozenset({*range(0xC0, 0xD0), *range(0xDA, 0xE0)} - {0xC8})
_JPEG_DROPPED = frozenset({*range(0xE0, 0xF0), _COM})

# PNG (third edition, 11)
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_KEPT = frozenset(
    b"tRNS gAMA cHRM sRGB iCCP sBIT bKGD pHYs cICP mDCV mDCv cLLI cLLi hIST sPLT acTL fcTL "
    b"fdAT".split()
)
_IEND = b"\0\0\0\0IEND\xaeB`\x82"

# WebP (RFC 9649, 2.7)
_WEBP_KEPT = frozenset({b"ICCP", b"ANIM", b"ANMF", b"ALPH", b"VP8 ", b"VP8L"})
_HAS_EXIF, _HAS_XMP = 0x08, 0x04

Piece = bytes | tuple[int, int]  # bytes to write, or from where to where the file is copied


class Broken(Exception):
    """This file is not what it begins like, or made of more parts than any real one."""


class Source:
    """A file that is read here and there.

    Args:
        read_at: gives up to so many bytes from an offset on.
        size: bytes of all of it.
    """

    def __init__(self, read_at: Callable[[int, int], bytes], size: int) -> None:
        self._read_at = read_at
        self.size = size

    def read(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes; fewer at the end of the file."""
        return self._read_at(length, offset) if length > 0 else b""


class Plan:
    """What a stripped file is made of, in order."""

    def __init__(self, source: Source) -> None:
        self.pieces: list[Piece] = []
        self._source = source
        self._parts = 0

    def count(self, most: int) -> None:
        """One more part was seen, of `most` that there may be."""
        self._parts += 1
        if self._parts > most:
            raise Broken

    def keep(self, start: int, end: int) -> None:
        """Copy from `start` up to `end`, or to the end of a file cut short."""
        end = min(end, self._source.size)
        last = self.pieces[-1] if self.pieces else b""
        if isinstance(last, tuple) and last[1] == start:
            self.pieces[-1] = (last[0], end)
        elif start < end:
            self.write((start, end))

    def write(self, piece: Piece) -> None:
        """Add a piece."""
        if len(self.pieces) >= MAX_PIECES:
            raise Broken
        self.pieces.append(piece)

    def reaches_end(self) -> bool:
        """Whether the last bytes of the file stay."""
        return isinstance(last := self.pieces[-1], tuple) and last[1] == self._source.size

    def changes(self) -> bool:
        """Whether following the plan gives another file."""
        offset = 0
        for piece in self.pieces:
            if isinstance(piece, bytes):
                if self._source.read(offset, len(piece)) != piece:
                    return True
                offset += len(piece)
            elif piece[0] != offset:
                return True
            else:
                offset = piece[1]
        return offset != self._source.size


def plan(source: Source) -> Plan | None:
    """What is left of a picture without its metadata.

    The kind is told by the first bytes. A file that is cut short is planned as far as it goes.

    Returns:
        the plan, or None for a file of another kind.

    Raises:
        Broken: it cannot be read as its kind.
        OSError: it cannot be read at all.
    """
    head = source.read(0, 12)
    made = Plan(source)
    if head.startswith(b"\xff\xd8\xff"):
        _plan_jpeg(source, made)
    elif head.startswith(_PNG):
        _plan_png(source, made)
    elif head[:4] == b"RIFF" and head[8:] == b"WEBP":
        _plan_webp(source, made, int.from_bytes(head[4:8], "little"))
    else:
        return None
    return made


def _plan_jpeg(source: Source, made: Plan) -> None:
    """SOI, segments, scans with segments between them, EOI. What follows is no part of the
    picture: films, further pictures and their metadata."""
    made.keep(0, 2)
    offset = 2
    has_scan = has_exif = False
    # Whatever lies between segments is skipped, as decoders do it.
    while (start := _next_marker(source, offset)) < source.size:
        made.count(MAX_SEGMENTS)
        head = source.read(start, 4)
        marker, length = head[1], int.from_bytes(head[2:], "big")
        if marker == _EOI:
            made.keep(start, start + 2)
            break
        if marker not in _JPEG_KEPT | _JPEG_DROPPED or (len(head) == 4 and length < 2):
            raise Broken
        offset = start + 2 + length
        if marker == _SOS:
            has_scan = has_scan or offset < source.size
            offset = _next_marker(source, offset)
        is_profile = marker == _APP2 and source.read(start + 4, 12) == b"ICC_PROFILE\0"
        if marker in _JPEG_KEPT or is_profile:
            made.keep(start, offset)
        elif marker == _APP1 and not has_exif and source.read(start + 4, 6) == b"Exif\0\0":
            has_exif = True
            # Browsers look for it before the first scan only.
            if not has_scan and (
                found := exif.find_orientation(source.read(start + 10, length - 8))
            ):
                _write_segment(made, _APP1, b"Exif\0\0" + exif.make(found))
        elif marker in (_APP0, _APP14):
            _plan_colours(source, made, marker, start + 4, length - 2)
    else:
        # Cut short. A scan that stops at what goes now must stop there without it too.
        if not made.reaches_end():
            made.write(b"\xff\xd9")
    if not has_scan:
        raise Broken


def _plan_colours(source: Source, made: Plan, marker: int, start: int, length: int) -> None:
    """JFIF and Adobe say how the colours are meant: they stay, but for thumbnails and tails."""
    if marker == _APP0 and length >= 14:
        body = source.read(start, 14)
        if body.startswith(b"JFIF\0"):
            _write_segment(made, marker, body[:12] + b"\0\0")
    elif marker == _APP14 and length >= 12:
        body = source.read(start, 12)
        if body.startswith(b"Adobe"):
            _write_segment(made, marker, body)


def _write_segment(made: Plan, marker: int, body: bytes) -> None:
    made.write(struct.pack(">BBH", 0xFF, marker, 2 + len(body)) + body)


def _next_marker(source: Source, offset: int) -> int:
    """Where the next marker is, that of a restart aside; the file's size when there is none."""
    size = 1024  # the next segment mostly begins right here; a scan is long
    while offset < source.size:
        block = source.read(offset, size)
        if match := _MARKER.search(block):
            return offset + match.start()
        if len(block) < 2:
            break
        offset += len(block) - 1  # a marker may lie across the border
        size = min(8 * size, BLOCK)
    return source.size


def _plan_png(source: Source, made: Plan) -> None:
    """A signature, then chunks: length, type, data, checksum. IEND is the last."""
    made.keep(0, 8)
    has_picture = has_exif = False
    for start, end, kind in _png_chunks(source):
        made.count(MAX_CHUNKS)
        if kind == b"IEND":
            made.write(_IEND)
            break
        has_picture = has_picture or kind == b"IDAT"
        if kind == b"eXIf" and not has_exif:
            has_exif = True
            block = source.read(start + 8, min(end - start - 12, exif.LIMIT))
            if found := exif.find_orientation(block):
                body = b"eXIf" + exif.make(found)
                checksum = zlib.crc32(body)
                made.write(struct.pack(">I", len(body) - 4) + body + struct.pack(">I", checksum))
        elif kind in _PNG_KEPT or kind[:1].isupper():  # upper case: nothing is shown without it
            made.keep(start, end)
    if not has_picture:
        raise Broken


def _png_chunks(source: Source) -> Iterator[tuple[int, int, bytes]]:
    """Where each chunk begins and ends, and its type; the last may be cut short."""
    offset = 8
    while len(head := source.read(offset, 8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if length >= 1 << 31 or not kind.isalpha() or (offset == 8) != (kind == b"IHDR"):
            raise Broken
        yield offset, offset + 12 + length, kind
        offset += 12 + length


def _plan_webp(source: Source, made: Plan, size: int) -> None:
    """RIFF, its size, WEBP; then chunks: type, length, data, padding to an even length.

    Args:
        size: what the file says of itself: bytes after that number.
    """
    made.write(b"")  # the head, whose size is known at the end
    flags_at = flags = 0  # where among the pieces the flags of VP8X are
    has_picture = has_exif = False
    offset, limit, total = 12, 8 + size + size % 2, 4
    while offset + 8 <= limit and len(head := source.read(offset, 8)) == 8:
        made.count(MAX_CHUNKS)
        kind, length = struct.unpack("<4sI", head)
        if offset + 8 + length > limit:
            raise Broken
        end = min(offset + 8 + length + length % 2, limit)
        if kind in _WEBP_KEPT:
            has_picture = has_picture or kind in (b"VP8 ", b"VP8L", b"ANMF")
            made.keep(offset, end)
            total += end - offset
        elif kind == b"VP8X" and offset == 12 and length >= 10:
            flags = (source.read(20, 1) or b"\0")[0] & ~(_HAS_EXIF | _HAS_XMP)
            flags_at = len(made.pieces)
            made.write(b"")
            made.keep(21, end)
            total += end - offset
        elif kind == b"EXIF" and flags_at and not has_exif:
            has_exif = True
            block = source.read(offset + 8, min(length, exif.LIMIT))
            if found := exif.find_orientation(block):
                body = exif.make(found)
                made.write(struct.pack("<4sI", kind, len(body)) + body)
                total += 8 + len(body)
                flags |= _HAS_EXIF
        offset = end
    if not has_picture:
        raise Broken
    # Some leave the last padding out of the size; a file that is clean stays as it is.
    size = size if total == size + size % 2 else total
    made.pieces[0] = struct.pack("<4sI4s", b"RIFF", size, b"WEBP")
    if flags_at:
        made.pieces[flags_at] = source.read(12, 8) + bytes([flags])
