"""The files in one folder of this machine."""

import errno
import os
import re
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from errors import NoSpace
from space import Gauge
from storage import (
    FULL_MESSAGE,
    MIB,
    NAME_PATTERN,
    NO_THUMBNAIL,
    TEMPORARY_PATTERN,
    THUMBNAIL,
    THUMBNAIL_PATTERN,
    Incoming,
    Link,
    NewThumbnail,
    Partial,
    Room,
    Status,
    Storage,
    Where,
    random_name,
)
from storage_local_files import LocalIncoming, translated, unlink
from storage_local_partial import LocalPartial

_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)
_FOR_MAKING = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_FOR_READING = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class _NewThumbnail(NewThumbnail):
    """A file under a passing name in the folder of thumbnails."""

    def __init__(self, store: "LocalStorage") -> None:
        store.require_space()
        self._store = store
        self._name = random_name(32)
        self.fd = os.open(self._name, _FOR_MAKING, 0o644, dir_fd=store.thumbnails)

    def seal(self, *, is_made: bool) -> None:
        # A power cut may else leave the name without the bytes.
        os.fchmod(self.fd, 0o644)  # for nginx, as the files
        if not is_made:
            os.ftruncate(self.fd, 0)
        elif self._store.durable:
            os.fsync(self.fd)

    def publish(self, name: str) -> None:
        folder = self._store.thumbnails
        os.rename(self._name, name, src_dir_fd=folder, dst_dir_fd=folder)
        self._name = ""

    def close(self) -> None:
        os.close(self.fd)
        if self._name:
            self._store.discard(self._name, where="thumbnails")


class LocalStorage(Storage):
    """Files in one folder: public ones flat, the rest in its dot-folders, which are never served.

    Args:
        directory: the folder; made when missing.
        durable: False skips every fsync.

    Attributes:
        thumbnails: a descriptor of the folder of thumbnails, for who makes them.
        has_umask: whether the process' umask would take rights from a file made here.
        resumable: one of the folder of uploads that come in pieces, for who receives them.
    """

    is_remote = False

    def __init__(self, directory: Path, *, durable: bool = True) -> None:
        self.directory = directory
        self.durable = durable
        _make_directory(directory)
        self._root = _open_directory(directory)
        self._space = Gauge(lambda: os.fstatvfs(self._root))
        self._incoming = self._subdirectory(".incoming")
        self._pending = self._subdirectory(".pending")
        self.thumbnails = self._subdirectory(".thumbnails")
        self.resumable = self._subdirectory(".resumable")
        self._unsynced: set[int] = set()
        self._lock = threading.Lock()
        self._syncing = threading.Lock()
        self._anonymous = self._supports_anonymous()
        mask = os.umask(0)
        os.umask(mask)
        self.has_umask = bool(mask & 0o644)

    def close(self) -> None:
        folders = (self._root, self._incoming, self._pending, self.thumbnails, self.resumable)
        for fd in folders:
            os.close(fd)

    # Receiving and publishing

    def open(self, client_name: str = "") -> Incoming:
        return LocalIncoming(self, self._incoming, *self._open_temporary())

    def reserve_name(self) -> str:
        name = random_name(32)
        try:
            os.close(os.open(name, _FOR_MAKING, 0o644, dir_fd=self.resumable))
        except OSError as error:
            raise translated(error) from error
        finally:
            self._touched(self.resumable)
        return name

    def resume(self, name: str, interrupt: Callable[[], None] = lambda: None) -> Partial:
        return LocalPartial(self, self.resumable, name, interrupt)

    def require_space(self, size: int = 0) -> None:
        if not self._space.has_room(size):
            raise NoSpace(FULL_MESSAGE)

    def require_answer(self) -> None:
        self.require_space()

    def room(self) -> Room | None:
        status = os.fstatvfs(self._root)
        unit = status.f_frsize
        return Room(free=status.f_bavail * unit, total=status.f_blocks * unit)

    def publish(self, incoming: Incoming, name: str) -> bool:
        return self._link(incoming, name, self._root)

    def hold(self, incoming: Incoming) -> str:
        while True:
            name = random_name(32)
            if self._link(incoming, name, self._pending):
                return name

    def release(self, pending_name: str, name: str) -> None:
        # Only a crash between release and commit can have left something under a reserved name.
        unlink(name, self._root)
        try:
            os.link(pending_name, name, src_dir_fd=self._pending, dst_dir_fd=self._root)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise translated(error) from error
            os.rename(pending_name, name, src_dir_fd=self._pending, dst_dir_fd=self._root)
        finally:
            self._touched(self._root)

    def withdraw(self, name: str, pending_name: str) -> bool:
        if not self.exists(name):
            return False
        try:
            os.stat(pending_name, dir_fd=self._pending)
        except FileNotFoundError:
            os.rename(name, pending_name, src_dir_fd=self._root, dst_dir_fd=self._pending)
            self._touched(self._root)
            self._touched(self._pending)
            return True
        return self._remove(name, self._root)

    def sync(self) -> None:
        # One at a time: on PostgreSQL several writes end at once, and who finds nothing left to
        # do must not go on before the sync that another has begun.
        with self._syncing:
            with self._lock:
                touched, self._unsynced = self._unsynced, set()
            try:
                for fd in touched if self.durable else ():
                    os.fsync(fd)
            except OSError:
                with self._lock:
                    self._unsynced |= touched
                raise

    # Reading

    def open_file(self, name: str) -> BinaryIO | None:
        return self._read(name, self._root) if NAME_PATTERN.fullmatch(name) else None

    def open_pending(self, pending_name: str) -> BinaryIO | None:
        return self._read(pending_name, self._pending)

    def open_thumbnail(self, key: str) -> BinaryIO | None:
        return self._read(key + THUMBNAIL, self.thumbnails)

    def status(self, file: BinaryIO) -> Status:
        found = os.fstat(file.fileno())
        modified = datetime.fromtimestamp(int(found.st_mtime), UTC)
        return Status(size=found.st_size, modified=modified)

    @contextmanager
    def on_disk(self, file: BinaryIO) -> Iterator[int]:
        yield file.fileno()

    def link(self, name: str, *, where: Where, headers: dict[str, str]) -> Link:
        inner = {"public": f"/_files/{name}", "pending": f"/_pending/{name}"}
        return Link(inner=inner.get(where, ""))

    def exists(self, name: str) -> bool:
        return os.access(name, os.F_OK, dir_fd=self._root, follow_symlinks=False)

    def new_thumbnail(self) -> NewThumbnail:
        return _NewThumbnail(self)

    # For a move

    def open_whole(self, name: str, *, where: Where) -> BinaryIO | None:
        return self._read(name, self._folder(where))

    def bring(self, source: BinaryIO, name: str, *, where: Where) -> tuple[int, bytes]:
        with self.open() as incoming:
            while block := source.read(MIB):
                incoming.write(block)
            incoming.seal()
            if not self._link(incoming, name, self._folder(where)):
                raise FileExistsError(name)
            return incoming.size, incoming.sha256

    def list_sizes(self, *, where: Where) -> Iterator[tuple[str, int]]:
        folder = self._folder(where)
        for name in self.list_public() if where == "public" else self.list_pending():
            with suppress(FileNotFoundError):
                yield name, os.stat(name, dir_fd=folder, follow_symlinks=False).st_size

    # For the sweep

    def list_public(self) -> Iterator[str]:
        return self._list(self._root, NAME_PATTERN)

    def list_pending(self) -> Iterator[str]:
        return self._list(self._pending, TEMPORARY_PATTERN)

    def list_incoming(self) -> Iterator[str]:
        return self._list(self._incoming, TEMPORARY_PATTERN)

    def list_resumable(self) -> Iterator[str]:
        return self._list(self.resumable, TEMPORARY_PATTERN)

    def list_thumbnails(self) -> Iterator[str]:
        return self._list(self.thumbnails, THUMBNAIL_PATTERN)

    def changed(self, name: str, *, where: Where) -> float | None:
        try:
            return os.stat(name, dir_fd=self._folder(where), follow_symlinks=False).st_ctime
        except FileNotFoundError:
            return None

    def discard(self, name: str, *, where: Where) -> bool:
        if where in ("public", "pending"):
            key = name if where == "public" else f"_{name}"
            for suffix in (THUMBNAIL, NO_THUMBNAIL):
                if unlink(key + suffix, self.thumbnails):
                    self._touched(self.thumbnails)
        return self._remove(name, self._folder(where))

    def _remove(self, name: str, folder: int) -> bool:
        try:
            return unlink(name, folder)
        finally:
            # Afterwards, or a sync in between would count as this name's; and for a name that is
            # gone already too, since nobody knows whether its end ever came to disk.
            self._touched(folder)

    def _folder(self, where: Where) -> int:
        return {
            "public": self._root,
            "pending": self._pending,
            "incoming": self._incoming,
            "resumable": self.resumable,
            "thumbnails": self.thumbnails,
        }[where]

    def _list(self, folder: int, pattern: re.Pattern[str]) -> Iterator[str]:
        with os.scandir(folder) as entries:
            for entry in entries:
                if pattern.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                    yield entry.name

    def _read(self, name: str, folder: int) -> BinaryIO | None:
        try:
            fd = os.open(name, _FOR_READING, dir_fd=folder)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ELOOP, errno.ENXIO):
                return None
            raise
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            return None
        return os.fdopen(fd, "rb")

    def _subdirectory(self, name: str) -> int:
        path = self.directory / name
        _make_directory(path)
        return _open_directory(path)

    def _supports_anonymous(self) -> bool:
        """Whether O_TMPFILE works here, so that a crash while receiving leaves nothing behind."""
        flags = getattr(os, "O_TMPFILE", 0)
        if not flags or not os.path.isdir("/proc/self/fd"):
            return False
        try:
            os.close(os.open(".", os.O_RDWR | flags, dir_fd=self._incoming))
        except OSError:
            return False
        return True

    def _open_temporary(self) -> tuple[int, str]:
        """A descriptor, and the name in `.incoming` that it has only without O_TMPFILE."""
        try:
            if self._anonymous:
                flags = os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC
                return os.open(".", flags, 0o644, dir_fd=self._incoming), ""
            name = random_name(32)
            return os.open(name, _FOR_MAKING, 0o644, dir_fd=self._incoming), name
        except OSError as error:
            raise translated(error) from error

    def _link(self, incoming: Incoming, name: str, folder: int) -> bool:
        assert isinstance(incoming, LocalIncoming)
        try:
            if incoming.temporary:
                self._link_named(incoming, name, folder)
            else:
                # AT_SYMLINK_FOLLOW through /proc, see O_TMPFILE in open(2); with dst_dir_fd,
                # since Python links the /proc entry itself (EXDEV) without one.
                source = f"/proc/self/fd/{incoming.fd}"
                os.link(source, name, dst_dir_fd=folder, follow_symlinks=True)
        except FileExistsError:
            return False
        except OSError as error:
            raise translated(error) from error
        finally:
            self._touched(folder)
        return True

    def _link_named(self, incoming: LocalIncoming, name: str, folder: int) -> None:
        temporary, source = incoming.temporary, incoming.folder
        try:
            os.link(temporary, name, src_dir_fd=source, dst_dir_fd=folder)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            # A filesystem without hard links: take the name, then move the bytes over it.
            os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=folder))
            try:
                os.rename(temporary, name, src_dir_fd=source, dst_dir_fd=folder)
            except OSError:
                unlink(name, folder)
                raise

    def _touched(self, folder: int) -> None:
        """Have the next sync bring a folder to disk. After each change and not before it: on
        PostgreSQL another write's sync may come in between, and would count as this one's."""
        with self._lock:
            self._unsynced.add(folder)


def _make_directory(path: Path) -> None:
    """Make a folder through which nginx, another user, reaches the files whose names it knows;
    the umask must not decide over that either. One that is there already stays as it is."""
    if not path.is_dir():
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(0o711)


def _open_directory(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
