"""The bytes of an upload that comes in pieces: one file, written by one request at a time."""

import fcntl
import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from errors import Locked, NotFound
from storage import Incoming, LocalStorage

PATIENCE = 5.0  # seconds in which the request before must end, once it is asked to
_REMEMBERED = 256  # uploads whose hash this process goes on with
_BLOCK = 1024 * 1024  # bytes read at once where the hash is not known
_FLAGS = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
_GONE = "The bytes of this upload are gone; send it anew."


class _Unknown:
    """The hash of bytes that this process has not seen all of."""

    def update(self, data: bytes) -> None:
        """Nothing: they are read again at the end."""


_UNKNOWN = _Unknown()
_turns = threading.Condition()
_held: dict[str, "Partial"] = {}
_hashes: OrderedDict[str, tuple[int, Any]] = OrderedDict()  # by name: of so many bytes


class Partial(Incoming):
    """The file of one upload, opened to go on with it. Use as a context manager; unlike any other
    incoming file it stays when it is left.

    A client whose connection has died comes back while the request before still waits for bytes:
    that one is asked to end. A request in another process is not, and ends when it has waited long
    enough.

    Args:
        store: where it lies.
        name: its name there, from `LocalStorage.reserve_name`.
        interrupt: ends the reading of this request, called from another thread.

    Raises:
        NotFound: the file is gone.
        Locked: another request goes on with it.
    """

    def __init__(
        self, store: LocalStorage, name: str, interrupt: Callable[[], None] = lambda: None
    ) -> None:
        self._store = store
        self._hash: Any = _UNKNOWN
        self._checked = 0
        self.size = 0
        self.fd = -1
        self.folder, self.temporary = store.resumable, name
        self.interrupt = interrupt
        with _turns:
            if name in _held:
                _held[name].interrupt()
                if not _turns.wait_for(lambda: name not in _held, PATIENCE):
                    raise Locked("Another request sends this upload just now; try again soon.")
            _held[name] = self
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

    def go_to(self, offset: int) -> None:
        """Go on behind the first `offset` bytes. What lies beyond was never acknowledged: a crash
        or a wrong checksum left it there.

        Raises:
            NotFound: there are not so many.
        """
        if os.fstat(self.fd).st_size < offset:
            raise NotFound(_GONE)
        os.ftruncate(self.fd, offset)
        os.lseek(self.fd, offset, os.SEEK_SET)
        known, digest = _hashes.pop(self.temporary, (0, None))
        self._hash = digest if digest and known == offset else _UNKNOWN
        if offset == 0:
            self._hash = hashlib.sha256()
        self.size = self._checked = offset

    def write(self, data: bytes) -> None:
        """Append `data`.

        Raises:
            NoSpace: the disk is full, or the reserve would be touched.
        """
        try:
            super().write(data)
        except BaseException:
            self._hash = _UNKNOWN  # nobody knows how much of it was written
            raise

    def save(self) -> None:
        """Bring what was written so far to disk.

        Raises:
            OSError: the disk refused; nothing of it may be acknowledged.
        """
        if self._store.durable:
            os.fsync(self.fd)

    def seal(self) -> None:
        """Bring the bytes to disk, and know their hash. After this nothing is written.

        Raises:
            OSError: the disk refused; the file must not be published.
        """
        if self._hash is _UNKNOWN:
            self._hash = self._read_again()
        super().seal()

    def close(self) -> None:
        """Leave it to the next request. May be called again."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
        with _turns:
            if _held.get(self.temporary) is self:
                if self._hash is not _UNKNOWN:
                    _hashes[self.temporary] = self.size, self._hash
                    if len(_hashes) > _REMEMBERED:
                        _hashes.popitem(last=False)
                del _held[self.temporary]
                _turns.notify_all()

    def _read_again(self) -> Any:
        digest = hashlib.sha256()
        place = 0
        while block := os.pread(self.fd, _BLOCK, place):
            digest.update(block)
            place += len(block)
        return digest
