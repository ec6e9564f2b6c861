"""One file of a folder, being received."""

import hashlib
import os
from functools import cache
from typing import Any, Protocol

from errors import NoSpace
from storage import FULL, FULL_MESSAGE, MIB, Incoming

_SPACE_CHECK_EVERY = 16 * MIB  # bytes received between two looks at the free space
_WRITE = 2  # SYNC_FILE_RANGE_WRITE of sync_file_range(2)


class Disk(Protocol):
    """What a file asks of the store that it is in.

    Attributes:
        durable: False skips every fsync.
        has_umask: whether the process' umask would take rights from a file made here.
    """

    durable: bool
    has_umask: bool

    def require_space(self, size: int = 0) -> None:
        """See that `size` more bytes leave the reserve free."""


class LocalIncoming(Incoming):
    """A file being received.

    Args:
        disk: its store.
        folder: a descriptor of its folder.
        fd: its own, to write to.
        temporary: its name there; empty where the filesystem knows files without one.
    """

    def __init__(self, disk: Disk, folder: int, fd: int, temporary: str) -> None:
        self._disk = disk
        self._hash: Any = hashlib.sha256()
        self._checked = 0
        self.size = 0
        self.folder, self.fd, self.temporary = folder, fd, temporary

    def write(self, data: bytes) -> None:
        self._hash.update(data)
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self.fd, view) :]
        except OSError as error:
            raise translated(error) from error
        self.size += len(data)
        if self.size - self._checked >= _SPACE_CHECK_EVERY:
            self._checked = self.size
            self._disk.require_space()
            if self._disk.durable:
                _begin_writing(self.fd)

    @property
    def sha256(self) -> bytes:
        return self._hash.digest()

    def read_at(self, length: int, offset: int) -> bytes:
        return os.pread(self.fd, length, offset)

    def seal(self) -> None:
        try:
            if self._disk.has_umask:
                # nginx reads the files as another user; the umask must not decide over that.
                os.fchmod(self.fd, 0o644)
            if self._disk.durable:
                os.fsync(self.fd)
        except OSError as error:
            raise translated(error) from error

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
            if self.temporary:
                unlink(self.temporary, self.folder)


def _begin_writing(fd: int) -> None:
    """Let the disk begin with what was written, beside the rest of the upload: the sync at its end
    then has little left to wait for. A hint; only Linux knows it."""
    hint = _sync_file_range()
    if hint is not None:
        hint(fd, 0, 0, _WRITE)  # from the beginning to the end of the file


@cache
def _sync_file_range() -> Any:
    """The C library's, None where it has none; looked for by the first large upload."""
    import ctypes

    function = getattr(ctypes.CDLL(None), "sync_file_range", None)
    if function is not None:
        function.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return function


def unlink(name: str, folder: int) -> bool:
    """Remove a name; False when it is gone already."""
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return False
    return True


def translated(error: OSError) -> Exception:
    """NoSpace for what means a full disk."""
    return NoSpace(FULL_MESSAGE) if error.errno in FULL else error
