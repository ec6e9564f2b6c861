"""The files: received under no name, published under a random one, brought to disk, deleted."""

import errno
import hashlib
import os
import re
import secrets
import stat
import string
import threading
import unicodedata
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, Self

from errors import NoSpace
from space import Gauge

MIB = 1024 * 1024
NAME_PATTERN = re.compile(r"[A-Za-z0-9]{5,32}(?:\.[a-z0-9]{1,10}){0,2}", re.ASCII)
_TEMPORARY_PATTERN = re.compile(r"[A-Za-z0-9]{32}", re.ASCII)
THUMBNAIL, NO_THUMBNAIL = ".webp", ".none"  # what is appended to the name of the file
_THUMBNAIL_PATTERN = re.compile(
    rf"(?:{NAME_PATTERN.pattern}|_[A-Za-z0-9]{{32}})\.(?:webp|none)|[A-Za-z0-9]{{32}}", re.ASCII
)
# What a random byte becomes in a name. 248 is 4 x 62: the rest of a byte's values would make
# eight letters likelier than the others, so those bytes are dropped.
_LETTERS = (string.ascii_letters + string.digits).encode() * 4 + bytes(8)
_SURPLUS = bytes(range(248, 256))
_SUFFIX = re.compile(r"[A-Za-z0-9]{1,10}", re.ASCII)
BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_SPACE_CHECK_EVERY = 16 * MIB  # bytes received between two looks at the free space
_WRITE = 2  # SYNC_FILE_RANGE_WRITE of sync_file_range(2)
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)
_FOR_MAKING = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_FOR_READING = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
FULL = (errno.ENOSPC, errno.EDQUOT)
FULL_MESSAGE = "There is no space left on this server."


def extension_of(client_name: str) -> str:
    """The extension, with its dot or dots, that a stored name takes over from the client's name.

    The last suffix of the last path component, or the last two when the first of them is `tar`,
    lower-cased; empty when a suffix is not 1 to 10 ASCII letters or digits, or nothing stands
    before it (`.bashrc`).
    """
    stem, dot, suffix = _last_component(client_name).rpartition(".")
    if not dot or not stem.strip(".") or not _SUFFIX.fullmatch(suffix):
        return ""
    before, _, inner = stem.rpartition(".")
    if inner.lower() == "tar" and before.strip("."):
        return f".tar.{suffix.lower()}"
    return f".{suffix.lower()}"


def display_name(client_name: str) -> str:
    """The client's name as it may be shown and offered for download: at most 255 characters.

    Without path, control characters, surrogates, line separators and the bidi controls that make
    `exe.png` of `gnp.exe` (Unicode TR 36).
    """
    kept = "".join(
        char
        for char in _last_component(client_name)
        if char not in BIDI and unicodedata.category(char) not in ("Cc", "Cs", "Zl", "Zp")
    ).strip()
    if len(kept) <= 255:
        return kept
    suffix = extension_of(kept)
    return kept[: 255 - len(suffix)] + suffix


def random_name(length: int, extension: str = "") -> str:
    """A name of `length` random letters and digits, then `extension` (with its dot, or empty)."""
    name = ""
    while len(name) < length:
        name += secrets.token_bytes(2 * length).translate(_LETTERS, _SURPLUS).decode()
    return name[:length] + extension


class Incoming:
    """A file being received: written once, hashed on the way, gone unless published.

    Use as a context manager: leaving it discards whatever was not published.
    """

    def __init__(self, store: "LocalStorage") -> None:
        self._store = store
        self._hash = hashlib.sha256()
        self._checked = 0
        self.size = 0
        self.folder = store._incoming
        self.fd, self.temporary = store._open_temporary()

    def write(self, data: bytes) -> None:
        """Append `data`.

        Raises:
            NoSpace: the disk is full, or the reserve would be touched.
        """
        self._hash.update(data)
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self.fd, view) :]
        except OSError as error:
            raise _translated(error) from error
        self.size += len(data)
        if self.size - self._checked >= _SPACE_CHECK_EVERY:
            self._checked = self.size
            self._store.require_space()
            if self._store.durable:
                _begin_writing(self.fd)

    @property
    def sha256(self) -> bytes:
        """SHA-256 of what was written so far, 32 bytes."""
        return self._hash.digest()

    def seal(self) -> None:
        """Bring the bytes to disk. After this nothing is written.

        Raises:
            OSError: the disk refused; the file must not be published.
        """
        try:
            if self._store.has_umask:
                # nginx reads the files as another user; the umask must not decide over that.
                os.fchmod(self.fd, 0o644)
            if self._store.durable:
                os.fsync(self.fd)
        except OSError as error:
            raise _translated(error) from error

    def close(self) -> None:
        """Discard the file unless it was published. May be called again."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
            if self.temporary:
                _unlink(self.temporary, self.folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class LocalStorage:
    """Files in one folder: public ones flat, the rest in its dot-folders, which are never served.

    Args:
        directory: the folder; made when missing.
        durable: False skips every fsync.

    Attributes:
        thumbnails: a descriptor of the folder of thumbnails, for who makes them.
        has_umask: whether the process' umask would take rights from a file made here.
        resumable: one of the folder of uploads that come in pieces, for who receives them.
    """

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
        self._anonymous = self._supports_anonymous()
        mask = os.umask(0)
        os.umask(mask)
        self.has_umask = bool(mask & 0o644)

    def close(self) -> None:
        """Give the folder's descriptors back."""
        folders = (self._root, self._incoming, self._pending, self.thumbnails, self.resumable)
        for fd in folders:
            os.close(fd)

    # Receiving and publishing

    def open(self) -> Incoming:
        """A place for the bytes of one upload.

        Raises:
            NoSpace: the disk is full.
        """
        return Incoming(self)

    def reserve_name(self) -> str:
        """An empty file for an upload that comes in pieces: its random name, which is on disk
        after the next `sync`.

        Raises:
            NoSpace: the disk is full.
        """
        name = random_name(32)
        self._touched(self.resumable)
        try:
            os.close(os.open(name, _FOR_MAKING, 0o644, dir_fd=self.resumable))
        except OSError as error:
            raise _translated(error) from error
        return name

    def require_space(self, size: int = 0) -> None:
        """See that `size` more bytes leave the reserve free.

        Raises:
            NoSpace: they do not.
        """
        if not self._space.has_room(size):
            raise NoSpace(FULL_MESSAGE)

    def publish(self, incoming: Incoming, name: str) -> bool:
        """Give sealed bytes their public `name`. False when that name is taken; never overwrites.

        Raises:
            NoSpace: the directory has no room for a name.
        """
        return self._link(incoming, name, self._root)

    def hold(self, incoming: Incoming) -> str:
        """Keep sealed bytes out of reach until `release` or `delete_pending`.

        Returns:
            the random name under which they wait.
        """
        while True:
            name = random_name(32)
            if self._link(incoming, name, self._pending):
                return name

    def release(self, pending_name: str, name: str) -> None:
        """Make waiting bytes public as `name`, which their row has reserved.

        The waiting name stays until `delete_pending`, so that a failed commit can be undone.

        Raises:
            FileNotFoundError: nothing waits under `pending_name`.
        """
        # Only a crash between release and commit can have left something under a reserved name.
        _unlink(name, self._root)
        self._touched(self._root)
        try:
            os.link(pending_name, name, src_dir_fd=self._pending, dst_dir_fd=self._root)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise _translated(error) from error
            os.rename(pending_name, name, src_dir_fd=self._pending, dst_dir_fd=self._root)

    def withdraw(self, name: str, pending_name: str) -> bool:
        """Undo a `release` that was not committed. False when there is nothing to undo."""
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

    def delete(self, name: str) -> bool:
        """Remove the public file `name`, its thumbnail first. False when there is none."""
        return self.discard(name, where="public")

    def delete_pending(self, pending_name: str) -> bool:
        """Remove the waiting file `pending_name`, its thumbnail first. False when there is none."""
        return self.discard(pending_name, where="pending")

    def sync(self) -> None:
        """Bring to disk every name that was given or removed since the last call.

        Raises:
            OSError: the disk refused; what depends on those names must be undone.
        """
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
        """The public file `name` for reading, or None. Follows no symbolic link."""
        return self._read(name, self._root) if NAME_PATTERN.fullmatch(name) else None

    def open_pending(self, pending_name: str) -> BinaryIO | None:
        """The waiting file `pending_name` for reading, or None."""
        return self._read(pending_name, self._pending)

    def open_thumbnail(self, key: str) -> BinaryIO | None:
        """A thumbnail for reading, by a public name or `_` and a waiting name; or None."""
        return self._read(key + THUMBNAIL, self.thumbnails)

    def exists(self, name: str) -> bool:
        """Whether a public file of this name lies here."""
        return os.access(name, os.F_OK, dir_fd=self._root, follow_symlinks=False)

    # For the sweep: names of our pattern only, with the moment (seconds since 1970) of their link

    def list_public(self) -> Iterator[str]:
        """The names of all public files, in no order; foreign files are passed over."""
        return self._list(self._root, NAME_PATTERN)

    def list_pending(self) -> Iterator[str]:
        """The names of all waiting files."""
        return self._list(self._pending, _TEMPORARY_PATTERN)

    def list_incoming(self) -> Iterator[str]:
        """The names of what is being received, where the filesystem knows no unnamed files."""
        return self._list(self._incoming, _TEMPORARY_PATTERN)

    def list_resumable(self) -> Iterator[str]:
        """The names of all uploads that come in pieces."""
        return self._list(self.resumable, _TEMPORARY_PATTERN)

    def list_thumbnails(self) -> Iterator[str]:
        """The names of all files in the folder of thumbnails, unfinished ones included."""
        return self._list(self.thumbnails, _THUMBNAIL_PATTERN)

    def changed(self, name: str, *, where: str) -> float | None:
        """When `name` in `where` (public, pending, incoming, resumable, thumbnails) last changed;
        None if it is gone."""
        try:
            return os.stat(name, dir_fd=self._folder(where), follow_symlinks=False).st_ctime
        except FileNotFoundError:
            return None

    def discard(self, name: str, *, where: str) -> bool:
        """Remove `name` in `where`, its thumbnail first; False when it is gone already."""
        if where in ("public", "pending"):
            key = name if where == "public" else f"_{name}"
            for suffix in (THUMBNAIL, NO_THUMBNAIL):
                if _unlink(key + suffix, self.thumbnails):
                    self._touched(self.thumbnails)
        return self._remove(name, self._folder(where))

    def _remove(self, name: str, folder: int) -> bool:
        try:
            return _unlink(name, folder)
        finally:
            # Afterwards, or a sync in between would count as this name's; and for a name that is
            # gone already too, since nobody knows whether its end ever came to disk.
            self._touched(folder)

    def _folder(self, where: str) -> int:
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
            raise _translated(error) from error

    def _link(self, incoming: Incoming, name: str, folder: int) -> bool:
        self._touched(folder)
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
            raise _translated(error) from error
        return True

    def _link_named(self, incoming: Incoming, name: str, folder: int) -> None:
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
                _unlink(name, folder)
                raise

    def _touched(self, folder: int) -> None:
        with self._lock:
            self._unsynced.add(folder)


def _last_component(client_name: str) -> str:
    return re.split(r"[/\\]", client_name)[-1]


def _make_directory(path: Path) -> None:
    """Make a folder through which nginx, another user, reaches the files whose names it knows;
    the umask must not decide over that either. One that is there already stays as it is."""
    if not path.is_dir():
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(0o711)


def _open_directory(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _unlink(name: str, folder: int) -> bool:
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return False
    return True


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


def _translated(error: OSError) -> Exception:
    return NoSpace(FULL_MESSAGE) if error.errno in FULL else error
