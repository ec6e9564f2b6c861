"""A ZIP archive made while it is sent: its length known beforehand, its memory that of one block.

Files are stored, not compressed: pictures and films are compressed already. Each is read twice,
the first time for its CRC-32, which then stands before it: an archive that tells it afterwards
cannot be read by BusyBox, nor by what reads a ZIP from a stream (Java's ZipInputStream). The
standard library's zipfile writes only such ones into a stream, tells no length, and cannot leave
out a file that is gone when it is its turn.
"""

import re
import struct
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO

from errors import Busy

BLOCK = 256 * 1024  # bytes read at once
_MAX_32 = 0xFFFFFFFF  # says that the figure itself stands in a ZIP64 field
_WIDE = _MAX_32  # figures from here on do
_FLAGS = 0x0800  # names are UTF-8
_UNIX = 3 << 8
_MODE = 0o100644 << 16
_MAX_NAME = 240  # bytes; systems take 255, of which " (12)" and the like need some
_BAD = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]')
_DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A file for the archive.

    Args:
        key: what `open_file` of `Archive` knows it by.
        name: its name in the archive, as `safe_names` makes it.
        size: bytes.
        modified: aware UTC.
    """

    key: str
    name: str
    size: int
    modified: datetime


def safe_names(names: Iterable[str]) -> list[str]:
    """Names that every system takes, and that differ, also without regard to case: without
    folders, signs and words that Windows refuses; the second of a name ends in " (2)"."""
    taken: set[str] = set()
    found = []
    for raw in names:
        name = _BAD.sub("_", raw).strip().rstrip(". ") or "_"
        if _DEVICES.match(name) or name.startswith("."):
            name = f"_{name}"
        stem, suffix = _split(name)
        name, number = _fitting(stem, suffix), 1
        while name.casefold() in taken:
            number += 1
            name = _fitting(stem, f" ({number}){suffix}")
        taken.add(name.casefold())
        found.append(name)
    return found


def _split(name: str) -> tuple[str, str]:
    stem, _, suffix = name.rpartition(".")
    return (stem, f".{suffix}") if stem and len(suffix) <= 10 else (name, "")


def _fitting(stem: str, suffix: str) -> str:
    room = _MAX_NAME - len(suffix.encode())
    return stem.encode()[:room].decode("utf-8", "ignore") + suffix


class Archive:
    """An archive of files that may go while it is sent: such a one, or one of another size than
    was told, is left out, and as many zero bytes lie unreferenced in its place, so that the length
    stays what it is.

    Args:
        entries: the files, in their order; at most 65,000.
        open_file: opens one by its key; None when it is gone.
    """

    def __init__(self, entries: list[Entry], open_file: Callable[[str], BinaryIO | None]) -> None:
        assert len(entries) <= 65_000
        self._entries = entries
        self._open = open_file

    @property
    def length(self) -> int:
        """Its size in bytes."""
        offset, listed = 0, 0
        for entry in self._entries:
            listed += len(_central(entry, offset, 0))
            offset += _room(entry)
        return offset + listed + len(_end(0, offset, listed))

    def stream(self) -> Iterator[bytes]:
        """The archive, in blocks of some 256 KB."""
        parts: list[bytes] = []
        size = 0
        for part in self._parts():
            parts.append(part)
            size += len(part)
            if size >= BLOCK:
                yield parts[0] if len(parts) == 1 else b"".join(parts)
                parts, size = [], 0
        yield b"".join(parts)

    def _parts(self) -> Iterator[bytes]:
        offset, gap, central = 0, 0, []
        for entry in self._entries:
            file = self._open(entry.key)
            with file or nullcontext():
                crc = None if file is None else _crc(file, entry.size)
                if file is None or crc is None:
                    yield from _zeros(_room(entry))
                    gap += len(_central(entry, offset, 0))
                else:
                    yield _local(entry, crc)
                    file.seek(0)
                    while block := file.read(BLOCK):
                        yield block
                    central.append(_central(entry, offset, crc))
            offset += _room(entry)
        yield from _zeros(gap)  # the entries of the directory that fell away
        listed = sum(map(len, central))
        yield from central
        yield _end(len(central), offset + gap, listed)


def _crc(file: BinaryIO, size: int) -> int | None:
    """The CRC-32 of a file; None when it has not `size` bytes. A published file never changes."""
    crc, seen = 0, 0
    while block := file.read(BLOCK):
        crc = zlib.crc32(block, crc)
        seen += len(block)
    return crc if seen == size else None


def _zeros(count: int) -> Iterator[bytes]:
    while count:
        size = min(count, BLOCK)
        yield bytes(size)
        count -= size


def _is_large(entry: Entry) -> bool:
    return entry.size >= _WIDE


def _room(entry: Entry) -> int:
    """Bytes of an entry with all that surrounds it."""
    return len(_local(entry, 0)) + entry.size


def _moment(entry: Entry) -> tuple[int, int, bytes]:
    """Time and date of MS-DOS, whose clock knows no zone, and the extra field that does."""
    at = entry.modified
    year = min(max(at.year, 1980), 2107) - 1980
    time = at.hour << 11 | at.minute << 5 | at.second // 2
    date = year << 9 | at.month << 5 | at.day
    stamp = int(at.timestamp()) & _MAX_32
    return time, date, struct.pack("<HHBI", 0x5455, 5, 1, stamp)


def _local(entry: Entry, crc: int) -> bytes:
    time, date, extra = _moment(entry)
    size = entry.size
    if _is_large(entry):
        extra += struct.pack("<HHQQ", 1, 16, size, size)
        size = _MAX_32
    name, version = entry.name.encode(), 45 if _is_large(entry) else 20
    head = struct.pack(
        "<4s5H3I2H",
        b"PK\x03\x04", version, _FLAGS, 0, time, date, crc, size, size, len(name), len(extra),
    )  # fmt: skip
    return head + name + extra


def _central(entry: Entry, offset: int, crc: int) -> bytes:
    time, date, extra = _moment(entry)
    size, place, wide = entry.size, offset, b""
    if _is_large(entry):
        wide += struct.pack("<QQ", size, size)
        size = _MAX_32
    if offset >= _WIDE:
        wide += struct.pack("<Q", offset)
        place = _MAX_32
    if wide:
        extra += struct.pack("<HH", 1, len(wide)) + wide
    name, version = entry.name.encode(), 45 if wide else 20
    head = struct.pack(
        "<4s6H3I5H2I",
        b"PK\x01\x02", _UNIX | version, version, _FLAGS, 0, time, date, crc, size, size,
        len(name), len(extra), 0, 0, 0, _MODE, place,
    )  # fmt: skip
    return head + name + extra


def _end(count: int, offset: int, listed: int) -> bytes:
    """The end of the directory, which begins at `offset` and has `listed` bytes."""
    wide = b""
    if offset + listed >= _WIDE:
        wide = struct.pack(
            "<4sQHHIIQQQQ",
            b"PK\x06\x06", 44, _UNIX | 45, 45, 0, 0, count, count, listed, offset,
        )  # fmt: skip
        wide += struct.pack("<4sIQI", b"PK\x06\x07", 0, offset + listed, 1)
    low = (_MAX_32, _MAX_32) if wide else (listed, offset)
    return wide + struct.pack("<4s4HIIH", b"PK\x05\x06", 0, 0, count, count, *low, 0)


class Slots:
    """Few archives at once in this process: each holds a thread for as long as its client takes.

    Args:
        most: of all clients.
        each: of one client.
    """

    def __init__(self, most: int, each: int) -> None:
        self._most = most
        self._each = each
        self._taken: list[str] = []
        self._lock = threading.Lock()

    def take(self, client: str) -> Callable[[], None]:
        """A slot for a client, by its address.

        Returns:
            what gives the slot back; calling it again does nothing.

        Raises:
            Busy: there is none.
        """
        with self._lock:
            if len(self._taken) >= self._most or self._taken.count(client) >= self._each:
                raise Busy("Other albums are being downloaded; try again soon.", retry_after=10)
            self._taken.append(client)
        once = iter([client])

        def give_back() -> None:
            with self._lock:
                for name in once:
                    self._taken.remove(name)

        return give_back
