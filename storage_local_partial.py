"""The bytes of an upload that comes in pieces: one file, written by one request at a time."""

import fcntl
import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from errors import Locked, NotFound
from storage import MIB, Incoming, Partial
from storage_local_files import Disk, LocalIncoming
from turns import Turn

_REMEMBERED = 256  # uploads whose hash this process goes on with
_BLOCK = MIB  # bytes read at once where the hash is not known
_FLAGS = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
_GONE = "The bytes of this upload are gone; send it anew."


class _Unknown:
    """The hash of bytes that this process has not seen all of."""

    def update(self, data: bytes) -> None:
        """Nothing: they are read again at the end."""


_UNKNOWN = _Unknown()
_hashes: OrderedDict[str, tuple[int, Any]] = OrderedDict()  # by name: of so many bytes
_lock = threading.Lock()


class LocalPartial(LocalIncoming, Partial):
    """The file of one upload, which no process writes to beside this one. Unlike any other incoming
    file it stays when it is left.

    Args:
        disk: its store.
        folder: a descriptor of its folder.
        name: its name there, from `reserve_name`.
        interrupt: ends the reading of this request, called from another thread.

    Raises:
        NotFound: the file is gone.
        Locked: another request goes on with it. One in this process is asked to end; one in another
            ends when it has waited long enough.
    """

    save_every = 64 * MIB

    def __init__(self, disk: Disk, folder: int, name: str, interrupt: Callable[[], None]) -> None:
        super().__init__(disk, folder, -1, name)
        self._hash = _UNKNOWN
        self._turn = Turn(name, interrupt)
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        try:
            self.fd = os.open(self.temporary, _FLAGS, dir_fd=self.folder)
        except FileNotFoundError:
            raise NotFound(_GONE) from None
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Locked("Another process receives this upload; try again soon.") from None

    def go_to(self, offset: int, parts: str | None) -> None:
        if os.fstat(self.fd).st_size < offset:
            raise NotFound(_GONE)
        os.ftruncate(self.fd, offset)
        os.lseek(self.fd, offset, os.SEEK_SET)
        with _lock:
            known, digest = _hashes.pop(self.temporary, (0, None))
        self._hash = digest if digest and known == offset else _UNKNOWN
        if offset == 0:
            self._hash = hashlib.sha256()
        self.size = self._checked = offset

    def write(self, data: bytes) -> None:
        try:
            super().write(data)
        except BaseException:
            self._hash = _UNKNOWN  # nobody knows how much of it was written
            raise

    def save(self, acknowledge: Callable[[int, str | None], None]) -> None:
        if self._disk.durable:
            os.fsync(self.fd)
        acknowledge(self.size, None)

    def whole(self, client_name: str) -> AbstractContextManager[Incoming]:
        return nullcontext(self)

    def seal(self) -> None:
        if self._hash is _UNKNOWN:
            self._hash = self._read_again()
        super().seal()

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
            if self._hash is not _UNKNOWN:
                with _lock:
                    _hashes[self.temporary] = self.size, self._hash
                    if len(_hashes) > _REMEMBERED:
                        _hashes.popitem(last=False)
                self._hash = _UNKNOWN
        self._turn.end()

    def _read_again(self) -> Any:
        digest = hashlib.sha256()
        place = 0
        while block := os.pread(self.fd, _BLOCK, place):
            digest.update(block)
            place += len(block)
        return digest
