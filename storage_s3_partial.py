"""The bytes of an upload that comes in pieces, in a bucket: one object for each some of them."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

import media
from bucket import Bucket
from errors import Invalid, NotFound, ServiceError, Unavailable, Unsure
from names import random_name
from storage import MIB, Incoming, Partial, Status
from storage_s3_files import PART, S3File
from turns import Turn

MOST = 20_000  # objects of one upload; 160 GB at their full size
_BLOCK = MIB  # bytes copied at once at the end
_GONE = "The bytes of this upload are gone; send it anew."
_HEADERS = {"ContentType": media.OCTETS, "CacheControl": "private, no-store"}


class S3Partial(Partial):
    """One upload, gone on with: what comes is stored in objects of up to one part, under names of
    their own. Which of them count stands in the upload's row alone, so that any host goes on where
    another one ended, and of two at once one wins; the objects of the other are dropped.

    Args:
        where: the bucket.
        prefix: what the keys of this upload begin with.
        open_incoming: opens a place for the whole file, told what the client calls it.
        turn: of this request.
    """

    save_every = PART

    def __init__(
        self, where: Bucket, prefix: str, open_incoming: Callable[[str], Incoming], turn: Turn
    ) -> None:
        self._bucket, self._prefix = where, prefix
        self._open_incoming, self._turn = open_incoming, turn
        self._saved: list[tuple[str, int]] = []  # names, with their bytes
        self._fresh: list[tuple[str, int]] = []
        self._buffer = bytearray()
        self.size = 0

    def go_to(self, offset: int, parts: str | None) -> None:
        self._saved = [(str(name), int(size)) for name, size in json.loads(parts or "[]")]
        if sum(size for _, size in self._saved) != offset:
            raise NotFound(_GONE)
        self.size = offset

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            if len(self._buffer) == PART:
                self._store()
            room = PART - len(self._buffer)
            self._buffer += view[:room]
            view = view[room:]
        self.size += len(data)

    def _store(self) -> None:
        if len(self._saved) + len(self._fresh) >= MOST:
            raise Invalid("The upload came in too many pieces; begin again with larger ones.")
        name, size = random_name(16), len(self._buffer)
        self._fresh.append((name, size))  # first: whether a put that failed has left one, who knows
        self._bucket.put(self._prefix + name, self._buffer, _HEADERS, only_new=False)
        self._buffer.clear()

    def save(self, acknowledge: Callable[[int, str | None], None]) -> None:
        if self._buffer:
            self._store()
        counted = self._saved + self._fresh
        try:
            acknowledge(self.size, json.dumps(counted, separators=(",", ":")))
        except BaseException as error:
            if isinstance(error, Unsure) or not isinstance(error, ServiceError):
                self._fresh.clear()  # it may be acknowledged all the same
            raise
        self._saved = counted
        self._fresh = []

    @contextmanager
    def whole(self, client_name: str) -> Iterator[Incoming]:
        with self._open_incoming(client_name) as incoming:
            for name, size in self._saved + self._fresh:
                self._copy(name, size, incoming)
            for start in range(0, len(self._buffer), _BLOCK):
                incoming.write(bytes(self._buffer[start : start + _BLOCK]))
            self._buffer = bytearray()
            yield incoming

    def _copy(self, name: str, size: int, incoming: Incoming) -> None:
        status = Status(size=size, modified=datetime.now(UTC))
        try:
            with S3File(self._bucket, self._prefix + name, status) as file:
                while block := file.read(_BLOCK):
                    incoming.write(block)
        except FileNotFoundError:
            raise NotFound(_GONE) from None

    def close(self) -> None:
        fresh, self._fresh = self._fresh, []
        self._buffer = bytearray()
        try:
            with suppress(Unavailable):  # they go with the upload
                self._bucket.delete(self._prefix + name for name, _ in fresh)
        finally:
            self._turn.end()
